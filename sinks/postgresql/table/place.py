# ruff: noqa: S608  -- identifiers are quoted, values are always parameters
"""Place: how far one subscriber's database is, by what it says itself; and whether that is still what we left there.

The offsets stand in the database beside the rows (SK-06), so a database that was restored from a backup, or replaced by an empty one,
says so: every transaction moves an offset from where we know it to be, and one that finds it elsewhere changes nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping, Sequence

from schemas.change import Partition
from schemas.errors import ContractBroken, Fenced, Misconfigured
from sinks.postgresql.neighbour import refuse_captured
from sinks.postgresql.pipe import Pipe, SqlStatement
from sinks.postgresql.table.array import array
from sinks.postgresql.table.row import OIDS, cell
from sinks.postgresql.table.table import move_offsets, own_tables, quote, take_over
from sinks.sink import BEGINNING, Moved

_TEXT, _INT4, _INT8 = OIDS["text"], OIDS["integer"], OIDS["bigint"]


class OffsetPlace:
    """The offsets of the partitions that one sink has taken over.

    `at` is where each will be once everything queued is committed, BEGINNING for nothing yet; `epochs` fence other owners.
    """

    def __init__(self, pipe: Pipe, subscriber: str, schema: str, *, beside_source: bool = True) -> None:
        self._pipe = pipe
        self._subscriber = subscriber
        self._schema = schema
        self._beside_source = beside_source
        self._is_ready = False
        self._is_known = True
        self._sure: dict[Partition, int] = {}
        self.at: dict[Partition, int] = {}
        self.epochs: dict[Partition, int] = {}
        self._low_watermarks: dict[Partition, int] = {}
        self._move = move_offsets(schema)

    def take(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """Take partitions over, from whoever had them; where each is."""
        self.prepare()
        topics, numbers = [topic for topic, _ in partitions], [number for _, number in partitions]
        params = {"topics": topics, "partitions": numbers, "subscriber": self._subscriber}
        starts: dict[Partition, int] = {}
        for topic, number, next_offset, epoch in self._pipe.rows(take_over(self._schema), params):
            self.epochs[topic, number] = epoch
            starts[topic, number] = BEGINNING if next_offset is None else next_offset
        self.at.update(starts)
        self._sure.update(starts)
        return starts

    def rewind(self, starts: Mapping[Partition, int]) -> None:
        """Set partitions that are ours back, or on, to these offsets."""
        places = sorted(starts)
        params = (
            [topic for topic, _ in places],
            [number for _, number in places],
            [starts[place] for place in places],
            [self.epochs[place] for place in places],
        )
        moved = self._pipe.rows(
            f"UPDATE {quote(self._schema)}._mesh_offsets o SET next_offset = n.next_offset FROM unnest("
            "%s::text[], %s::int[], %s::bigint[], %s::bigint[]) AS n(topic, partition, next_offset, epoch) "
            "WHERE o.topic = n.topic AND o.partition = n.partition AND o.epoch = n.epoch RETURNING 1",
            params,
        )
        if len(moved) < len(places):
            raise Fenced(f"{self._subscriber}: another process took a partition over")
        self.at.update(starts)
        self._sure.update(starts)

    def set_low_watermark(self, place: Partition, offset: int | None) -> None:
        """See LowWatermarkKeeper."""
        if offset is None:
            self._low_watermarks.pop(place, None)
        else:
            self._low_watermarks[place] = offset

    def send(self, offsets: Mapping[Partition, int]) -> None:
        """Queue that partitions come to these offsets, in the transaction that is open."""
        places, at = sorted(offsets), self.at
        # Never back, and never past the low watermark of what still waits.
        news = {p: max(at[p], min(offsets[p], self._low_watermarks.get(p, offsets[p]))) for p in places}
        params = [
            array([cell(topic.encode()) for topic, _ in places], _TEXT),
            array([struct.pack(">ii", 4, number) for _, number in places], _INT4),
            array([struct.pack(">iq", 8, news[place]) for place in places], _INT8),
            array([struct.pack(">iq", 8, self.epochs[place]) for place in places], _INT8),
            array([struct.pack(">iq", 8, at[place]) for place in places], _INT8),
            str(len(places)).encode(),
        ]
        self._pipe.queue(SqlStatement("", Fenced), self._move, params, arrays=5)
        at.update(news)

    def committed(self, places: Collection[Partition]) -> None:
        """Everything queued for these partitions is committed."""
        self._sure.update({place: self.at[place] for place in places})

    def drop(self, topic: str) -> None:
        """The topic has ended: where it was is of no concern any more."""
        for place in [place for place in self.epochs if place[0] == topic]:
            for known in (self.epochs, self.at, self._sure):
                known.pop(place, None)

    def doubt(self) -> None:
        """A transaction failed: it may be committed or not, and the database may be another one now."""
        self._is_known = self._is_ready = False

    def ensure(self, places: Collection[Partition]) -> None:
        """See that these partitions are ours, and where they are. Raises Fenced and Moved."""
        if unknown := [place for place in places if place not in self.epochs]:
            self.take(unknown)
        if not self._is_known:
            self.check()

    def check(self) -> None:
        """Read anew where the database is. Raises Fenced when another process took over, Moved when it went back."""
        self.prepare()
        sql = (
            f"SELECT topic, partition, coalesce(next_offset, {BEGINNING}), epoch FROM {quote(self._schema)}._mesh_offsets "
            "WHERE topic = ANY(%s)"
        )
        found = {
            (topic, number): (next_offset, epoch)
            for topic, number, next_offset, epoch in self._pipe.rows(sql, ([topic for topic, _ in self.epochs],))
        }
        for place, epoch in self.epochs.items():
            there = found.get(place)
            if there is None or there[0] < self._sure[place]:
                raise Moved(place[0], f"{self._subscriber}'s database is behind what was delivered to it")
            if there[1] != epoch:
                raise Fenced(f"{self._subscriber}: another process took a partition over")
            self.at[place] = self._sure[place] = there[0]
        self._is_known = True

    def prepare(self) -> None:
        """Have our own tables in its schema. Raises Misconfigured for a database that a mesh captures, unless it may be one."""
        if self._is_ready:
            return
        if not self._beside_source:
            refuse_captured(self._pipe, self._subscriber)
        # Look first: `IF NOT EXISTS` asks for rights that an account of a prepared database need not have.
        path = f"{quote(self._schema)}._mesh_tables"
        if self._pipe.rows("SELECT to_regclass(%s)", (path,)) == [(None,)]:
            statements = own_tables(self._schema)
            if self._pipe.rows("SELECT to_regnamespace(%s)", (quote(self._schema),)) != [(None,)]:
                statements = statements[1:]
            try:
                self._pipe.change_tables(statements)
            except ContractBroken:
                fix = f"let the account create tables in schema {self._schema}, or have them made: {'; '.join(statements)}"
                what = f"{self._subscriber}'s database"
                raise Misconfigured(what, "the account may not make the mesh's own tables", fix=fix) from None
        self._is_ready = True
