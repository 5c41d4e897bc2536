# ruff: noqa: S608  -- our own tables' names; values are parameters or literals
"""Offsets: `_mesh_offsets` in a MariaDB or MySQL, and the making of our own tables there (SK-06)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial

from schemas.change import Partition
from schemas.errors import ContractBroken, Fenced, Misconfigured
from sinks.mysql.pipe import MysqlPipe, OpenTransaction
from sinks.mysql.table.cell import literal
from sinks.mysql.table.table import OFFSETS, Joined, own_tables
from sinks.sink import BEGINNING
from sinks.table.place import OffsetMove, StoredOffset, stored

_MOVE = Joined(
    b"UPDATE ",
    f" STRAIGHT_JOIN {OFFSETS} AS o ON o.topic = s.topic AND o.`partition` = s.number SET o.next_offset = s.next_offset "
    f"WHERE o.epoch = s.epoch AND COALESCE(o.next_offset, {BEGINNING}) = s.former".encode(),
    ("topic", "number", "next_offset", "epoch", "former"),
)


class MysqlOffsets:
    """See OffsetTable."""

    def __init__(self, pipe: MysqlPipe, subscriber: str) -> None:
        self._pipe = pipe
        self._subscriber = subscriber

    def make(self) -> None:
        """See OffsetTable."""
        # Look first: an account of a prepared database need not have the right to make any.
        there = self._pipe.rows(
            "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() "
            "AND table_name IN ('_mesh_offsets', '_mesh_removed', '_mesh_tables')"
        )
        if there == [(3,)]:
            return
        statements = own_tables(self._pipe.flavour)
        try:
            self._pipe.change_tables(statements)
        except ContractBroken:
            what = f"{self._subscriber}'s database"
            fix = f"GRANT CREATE, ALTER, … to the account, or have them made: {'; '.join(statements)}"
            raise Misconfigured(what, "the account may not make the mesh's own tables", fix=fix) from None

    def take(self, partitions: Sequence[Partition]) -> Iterator[tuple[Partition, StoredOffset]]:
        """See OffsetTable."""
        if partitions:
            yield from self._pipe.transaction(partial(_take, sorted(partitions), self._subscriber))

    def read(self, topics: Collection[str]) -> Mapping[Partition, StoredOffset]:
        """See OffsetTable."""
        if not topics:
            return {}
        sql = f"SELECT topic, `partition`, next_offset, epoch FROM {OFFSETS} WHERE topic IN %s"
        return {
            (topic, number): stored(next_offset, epoch)
            for topic, number, next_offset, epoch in self._pipe.rows(sql, (list(topics),))
        }

    def set(self, offsets: Mapping[Partition, StoredOffset]) -> int:
        """See OffsetTable."""

        def act(session: OpenTransaction) -> int:
            return sum(
                session.execute(
                    f"UPDATE {OFFSETS} SET next_offset = {wanted.next_offset:d} WHERE ".encode()
                    + _is_place(place)
                    + b" AND epoch = %d" % wanted.epoch
                )
                for place, wanted in offsets.items()
            )

        return self._pipe.transaction(act)

    def queue(self, moves: Sequence[OffsetMove]) -> None:
        """See OffsetTable."""
        self._pipe.queue("", partial(self._move, moves))

    def _move(self, moves: Sequence[OffsetMove], session: OpenTransaction) -> None:
        rows = [
            (literal(topic.encode()), *(b"%d" % number for number in (partition, next_offset, epoch, former)))
            for (topic, partition), former, next_offset, epoch in moves
        ]
        if session.execute(_MOVE.of(rows)) != len(moves):
            raise Fenced(f"{self._subscriber}: another process took a partition over, or its database went back")


def _take(
    partitions: Sequence[Partition], subscriber: str, session: OpenTransaction
) -> list[tuple[Partition, StoredOffset]]:
    who = literal(subscriber.encode())
    rows = b",".join(b"(%s,%d,%s,1)" % (literal(topic.encode()), number, who) for topic, number in partitions)
    session.execute(
        f"INSERT INTO {OFFSETS} (topic, `partition`, subscriber, epoch) VALUES ".encode()
        + rows
        + b" ON DUPLICATE KEY UPDATE epoch = epoch + 1"
    )
    is_one_of_them = b" OR ".join(b"(" + _is_place(place) + b")" for place in partitions)
    found = session.rows(
        f"SELECT topic, `partition`, next_offset, epoch FROM {OFFSETS} WHERE ".encode() + is_one_of_them
    )
    return [((topic, number), stored(next_offset, epoch)) for topic, number, next_offset, epoch in found]


def _is_place(place: Partition) -> bytes:
    return b"topic = %s AND `partition` = %d" % (literal(place[0].encode()), place[1])
