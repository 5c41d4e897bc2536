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

from isal.isal_zlib import crc32

from schemas.change import Record

GRAIN = 6
"""The lowest power of two that has a mark."""


def digests_of(records: Sequence[Record]) -> list[int]:
    """The hashes of records, as schemas/log/reports/reports.py makes them of delivery reports."""
    try:
        return list(map(crc32, [record.value for record in records]))  # pyright: ignore[reportArgumentType] -- see below
    except TypeError:  # a tombstone among them
        return list(map(crc32, [record.key or b"" if record.value is None else record.value for record in records]))


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

    def add(self, offsets: Sequence[int], digests: Sequence[int]) -> None:
        """Records with these hashes lie at these offsets, in their order.

        What was counted already is passed over; what lies between the end and them was not ours.
        """
        if offsets and offsets[0] < self._end[0]:
            new = bisect_left(offsets, self._end[0])
            offsets, digests = offsets[new:], digests[new:]
        if not offsets:
            return
        (end, count, total), after = self._end, offsets[-1] + 1
        if end >> GRAIN != after >> GRAIN:
            self._mark(after, offsets, digests)
        self._end = (after, count + len(digests), total + sum(digests))

    def add_run(self, records: Sequence[Record]) -> None:
        """`add` for records."""
        if records:
            self.add(offsets_of(records), digests_of(records))

    def points(self) -> list[Point]:
        """Where the sum begins, its marks and its end, by offset."""
        return sorted({Point(self.begin, 0, 0), *list(self._marks.values()), self.end})

    def _mark(self, after: int, offsets: Sequence[int], digests: Sequence[int]) -> None:
        end, count, total = self._end
        marks: list[tuple[int, int]] = []
        level, mark = GRAIN, after >> GRAIN << GRAIN
        while mark > end:
            marks.append((level, mark))
            level += 1
            mark = after >> level << level
        before = 0
        for level, mark in reversed(marks):  # by offset, so that each hash is added once
            place = bisect_left(offsets, mark, before)
            total += sum(digests[before:place])
            self._marks[level] = Point(mark, count + place, total)
            before = place

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


def offsets_of(records: Sequence[Record]) -> Sequence[int]:
    """The offsets of records, at least one, in their order; of neighbours without a look at each."""
    first, last = records[0].offset, records[-1].offset
    is_whole = last - first + 1 == len(records)
    return range(first, last + 1) if is_whole else [record.offset for record in records]


def _levels(offset: int) -> Iterator[int]:
    """The powers of two, from the lowest with a mark on, that the offset is a multiple of."""
    level = GRAIN
    while offset and offset >> level << level == offset:
        yield level
        level += 1
