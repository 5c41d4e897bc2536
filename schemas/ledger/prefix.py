"""Prefix sum: how many records a partition held below an offset, and the sum of their hashes.

Whoever wrote a partition and whoever read it come to the same prefix sum at the same offset, however differently they cut their work
into batches: a record that is missing, doubled or other than it was makes them differ from its offset on. The hash of a record is the
CRC-32 of its value, which holds the row with its key, and of a tombstone's key; sums do not depend on the order, so that several
writers may share a partition.

Two sides rarely stand at the same offset. Each therefore keeps a mark at the newest multiple of every power of two from 64 on:
the newest marks lie close behind its end, the oldest far back, and two sides always have some in common. How it is at two
neighbouring common marks says between which offsets something differs.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from zlib import crc32

from schemas.change import Record

GRAIN = 6
"""The lowest power of two that has a mark."""


def digest_of(key: bytes | None, value: bytes | None) -> int:
    """The hash of one record."""
    return crc32(value) if value is not None else crc32(key or b"")


class Point(NamedTuple):
    """All records of a partition below `offset`, counted from where its sum begins."""

    offset: int
    records: int
    total: int


class PrefixSum:
    """One partition's, by one side. One thread at a time adds; any other may read `end` and `points`."""

    __slots__ = ("_end", "_marks", "begin")

    def __init__(self, begin: int, end: Point | None = None, marks: Sequence[Point] = ()) -> None:
        self.begin = begin
        self._end: tuple[int, int, int] = end or Point(begin, 0, 0)
        self._marks: dict[int, Point] = {}
        for mark in sorted(marks):
            for level in _levels(mark.offset):
                self._marks[level] = mark

    @property
    def end(self) -> Point:
        """Behind the last record."""
        return Point(*self._end)

    def add(self, offset: int, digest: int) -> None:
        """One record, with its hash. One that was counted already is passed over; what lies between it and the end was not ours."""
        end, count, total = self._end
        if offset < end:
            return
        after = offset + 1
        if end >> GRAIN != after >> GRAIN:
            self._mark(end, after, [offset], [digest])
        self._end = (after, count + 1, total + digest)

    def add_digests(self, offset: int, digests: Sequence[int]) -> None:
        """Records with these hashes, which lie from this offset on, one behind the other. See `add`."""
        end, count, total = self._end
        if offset < end:
            digests, offset = digests[end - offset :], end
        if not digests:
            return
        after = offset + len(digests)
        if end >> GRAIN != after >> GRAIN:
            self._mark(end, after, range(offset, after), digests)
        self._end = (after, count + len(digests), total + sum(digests))

    def add_run(self, records: Sequence[Record]) -> None:
        """Records in the order of their offsets; those that were counted already are passed over."""
        end, count, total = self._end
        if records and records[0].offset < end:
            records = records[bisect_left(records, end, key=_offset_of) :]
        if not records:
            return
        digests = list(map(crc32, [record.key or b"" if record.value is None else record.value for record in records]))
        after = records[-1].offset + 1
        if end >> GRAIN != after >> GRAIN:
            self._mark(end, after, [record.offset for record in records], digests)
        self._end = (after, count + len(digests), total + sum(digests))

    def skip_to(self, offset: int) -> None:
        """There is nothing more of ours below this offset."""
        end, count, total = self._end
        if offset > end:
            if end >> GRAIN != offset >> GRAIN:
                self._mark(end, offset, [], [])
            self._end = (offset, count, total)

    def points(self) -> list[Point]:
        """Where the sum begins, its marks and its end, by offset."""
        return sorted({Point(self.begin, 0, 0), *list(self._marks.values()), self.end})

    def _mark(self, end: int, after: int, offsets: Sequence[int], digests: Sequence[int]) -> None:
        _, count, total = self._end
        level, mark = GRAIN, after >> GRAIN << GRAIN
        while mark > end:
            place = bisect_left(offsets, mark)
            self._marks[level] = Point(mark, count + place, total + sum(digests[:place]))
            level += 1
            mark = after >> level << level

    def to_json(self) -> dict[str, Any]:
        """How it is written down."""
        return {
            "begin": self.begin,
            "end": list(self._end),
            "marks": [list(mark) for mark in sorted(set(self._marks.values()))],
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> PrefixSum:
        """Read what `to_json` wrote."""
        return cls(record["begin"], Point(*record["end"]), [Point(*mark) for mark in record["marks"]])


def _offset_of(record: Record) -> int:
    return record.offset


def _levels(offset: int) -> Iterator[int]:
    """The powers of two, from the lowest with a mark on, that the offset is a multiple of."""
    level = GRAIN
    while offset and offset >> level << level == offset:
        yield level
        level += 1
