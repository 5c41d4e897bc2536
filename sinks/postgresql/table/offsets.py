# ruff: noqa: S608  -- identifiers are quoted, values are always parameters
"""Offsets: `_mesh_offsets` in a PostgreSQL, and the making of our own tables there (SK-06)."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Mapping, Sequence

from schemas.change import Partition
from schemas.errors import ContractBroken, Fenced, Misconfigured
from sinks.postgresql.neighbour import refuse_captured
from sinks.postgresql.pipe import Pipe, SqlStatement
from sinks.postgresql.table.array import array
from sinks.postgresql.table.row import OIDS, cell
from sinks.postgresql.table.table import move_offsets, own_tables, quote, take_over
from sinks.table.place import OffsetMove, StoredOffset, stored

_TEXT, _INT4, _INT8 = OIDS["text"], OIDS["integer"], OIDS["bigint"]


class PostgresOffsets:
    """See OffsetTable. Without `beside_source`, a database that a mesh captures is refused."""

    def __init__(self, pipe: Pipe, subscriber: str, schema: str, *, beside_source: bool = True) -> None:
        self._pipe = pipe
        self._subscriber = subscriber
        self._schema = schema
        self._beside_source = beside_source
        self._move = move_offsets(schema)

    def make(self) -> None:
        """See OffsetTable."""
        if not self._beside_source:
            refuse_captured(self._pipe, self._subscriber)
        # Look first: `IF NOT EXISTS` asks for rights that an account of a prepared database need not have.
        path = f"{quote(self._schema)}._mesh_tables"
        if self._pipe.rows("SELECT to_regclass(%s)", (path,)) != [(None,)]:
            return
        statements = own_tables(self._schema)
        if self._pipe.rows("SELECT to_regnamespace(%s)", (quote(self._schema),)) != [(None,)]:
            statements = statements[1:]
        try:
            self._pipe.change_tables(statements)
        except ContractBroken:
            fix = f"let the account create tables in schema {self._schema}, or have them made: {'; '.join(statements)}"
            what = f"{self._subscriber}'s database"
            raise Misconfigured(what, "the account may not make the mesh's own tables", fix=fix) from None

    def take(self, partitions: Sequence[Partition]) -> Iterator[tuple[Partition, StoredOffset]]:
        """See OffsetTable."""
        topics, numbers = [topic for topic, _ in partitions], [number for _, number in partitions]
        params = {"topics": topics, "partitions": numbers, "subscriber": self._subscriber}
        for topic, number, next_offset, epoch in self._pipe.rows(take_over(self._schema), params):
            yield (topic, number), stored(next_offset, epoch)

    def read(self, topics: Collection[str]) -> Mapping[Partition, StoredOffset]:
        """See OffsetTable."""
        sql = f"SELECT topic, partition, next_offset, epoch FROM {quote(self._schema)}._mesh_offsets WHERE topic = ANY(%s)"
        return {
            (topic, number): stored(next_offset, epoch)
            for topic, number, next_offset, epoch in self._pipe.rows(sql, (list(topics),))
        }

    def set(self, offsets: Mapping[Partition, StoredOffset]) -> int:
        """See OffsetTable."""
        params = (
            [topic for topic, _ in offsets],
            [number for _, number in offsets],
            [wanted.next_offset for wanted in offsets.values()],
            [wanted.epoch for wanted in offsets.values()],
        )
        moved = self._pipe.rows(
            f"UPDATE {quote(self._schema)}._mesh_offsets o SET next_offset = n.next_offset FROM unnest("
            "%s::text[], %s::int[], %s::bigint[], %s::bigint[]) AS n(topic, partition, next_offset, epoch) "
            "WHERE o.topic = n.topic AND o.partition = n.partition AND o.epoch = n.epoch RETURNING 1",
            params,
        )
        return len(moved)

    def queue(self, moves: Sequence[OffsetMove]) -> None:
        """See OffsetTable."""
        params = [
            array([cell(move.place[0].encode()) for move in moves], _TEXT),
            array([struct.pack(">ii", 4, move.place[1]) for move in moves], _INT4),
            array([struct.pack(">iq", 8, move.next_offset) for move in moves], _INT8),
            array([struct.pack(">iq", 8, move.epoch) for move in moves], _INT8),
            array([struct.pack(">iq", 8, move.former) for move in moves], _INT8),
            str(len(moves)).encode(),
        ]
        self._pipe.queue(SqlStatement("", Fenced), self._move, params, arrays=5)
