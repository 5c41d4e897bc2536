"""Handover: one partition between the hop that wrote it and the hop that read it, as both say (schemas/ledger/prefix.py).

| standing    | meaning                                                                                             |
|-------------|-----------------------------------------------------------------------------------------------------|
| `balanced`  | wherever both have a mark they agree, up to the end of both                                           |
| `behind`    | they agree as far as the reader has come                                                             |
| `red`       | between two offsets the reader read other records than were written, or more than anybody wrote        |
| `unsettled` | the writer has not said yet what it wrote: it just started, or a copy by several processes is under way |
| `unread`    | nobody reads it                                                                                      |

A derived feed has no writer here: its records are counted as they are read, and `mesh verify` computes them again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from schemas.change import Partition
from schemas.ledger.prefix import Point, PrefixSum

HEARD_AFTER_MS = 3_000
"""A writer that has spoken so long after a reader read something, and has not accounted for it, did not write it."""

Standing = Literal["balanced", "behind", "red", "unsettled", "unread"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What one side says of a partition. `at_ms` is since when its end stands where it is, `heard_at_ms` when its process last spoke.

    `is_open`: false while there may be more than it says.
    """

    sums: PrefixSum
    at_ms: int
    heard_at_ms: int
    is_open: bool
    adopted: int
    counts: Mapping[str, int]

    @property
    def settled(self) -> int:
        """Up to which offset a reader is done with what it read: delivered, or among the dead letters."""
        return self.counts.get("settled", self.sums.end.offset)

    @classmethod
    def from_json(cls, record: Mapping[str, Any], heard_at_ms: int) -> Statement:
        """Read a record of `mesh.ledger`."""
        return cls(
            sums=PrefixSum.from_json(record),
            at_ms=record["moved"],
            heard_at_ms=max(heard_at_ms, record["at"]),
            is_open=record["is_open"],
            adopted=record["adopted"],
            counts=record["counts"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Between two offsets of a partition so many records were written and so many read; equal numbers mean other contents."""

    place: Partition
    start: int
    end: int
    written: int
    read: int

    def __str__(self) -> str:
        topic, partition = self.place
        what = f"{self.written} records were written and {self.read} read"
        if self.written == self.read:
            what = f"{self.read} records were read, and not all are as they were written"
        return f"{topic} [{partition}], offsets {self.start} to {self.end - 1}: {what}"

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        topic, partition = self.place
        return {
            "topic": topic,
            "partition": partition,
            "from": self.start,
            "to": self.end - 1,
            "written": self.written,
            "read": self.read,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """One partition's. `accepted` is the offset below which a person accepted what is different.

    `beside` wrote there what was there before, once more (ops/redelivery/again.py). Where its subscriber reads the topic itself,
    `confirmed` is the next offset of its group; nobody here reads it, and that is all it says.
    """

    place: Partition
    writer: Statement | None
    reader: Statement | None
    accepted: int = 0
    beside: Statement | None = None
    confirmed: int | None = None

    def differences(self) -> list[Difference]:
        """Where the two sides do not agree, between the marks that both have."""
        if self.writer is None or self.reader is None:
            return []
        written = {
            point.offset: Point(point.offset, point.records + more.records, point.total + more.total)
            for point in self.writer.sums.points()
            if point.offset >= self.accepted and (more := self._beside(point.offset)) is not None
        }
        read = {point.offset: point for point in self.reader.sums.points() if point.offset >= self.accepted}
        found: list[Difference] = []
        for start, end in pairwise(sorted(written.keys() & read.keys())):
            wrote, got = _between(written, start, end), _between(read, start, end)
            if wrote != got:
                found.append(Difference(place=self.place, start=start, end=end, written=wrote[0], read=got[0]))
        return found + self._unaccounted()

    def _unaccounted(self) -> list[Difference]:
        """What was read behind everything that the writer says it wrote, though it has spoken since."""
        writer, reader = self.writer, self.reader
        assert writer is not None, "asked for by the caller"
        assert reader is not None, "asked for by the caller"
        end = reader.sums.end
        if not end.records:  # it begins where another one had come to, and has read nothing yet
            return []
        has_spoken = writer.is_open and writer.heard_at_ms >= reader.at_ms + HEARD_AFTER_MS
        start = self._written_to
        if not has_spoken or end.offset <= start:
            return []
        return [Difference(place=self.place, start=start, end=end.offset, written=0, read=end.offset - start)]

    @property
    def confirmed_records(self) -> int:
        """How many of the records that somebody accounts for the subscriber's own group has confirmed."""
        sides = [side.sums for side in (self.writer, self.beside) if side is not None]
        return sum(_records_below(sums, self.confirmed or 0) for sums in sides)

    @property
    def waiting_records(self) -> int:
        """How many it has not."""
        sides = [side.sums for side in (self.writer, self.beside) if side is not None]
        return sum(sums.end.records for sums in sides) - self.confirmed_records

    @property
    def _written_to(self) -> int:
        """Behind everything that somebody accounts for, or accepted."""
        sides = [side for side in (self.writer, self.beside) if side is not None]
        return max(self.accepted, *(side.sums.end.offset for side in sides))

    def _beside(self, offset: int) -> Point | None:
        """What `beside` wrote below an offset; None where it did not say."""
        if self.beside is None or offset <= self.beside.sums.begin:
            return Point(offset, 0, 0)
        if offset >= self.beside.sums.end.offset:
            return self.beside.sums.end
        return next((point for point in self.beside.sums.points() if point.offset == offset), None)

    @property
    def standing(self) -> Standing:
        """See the table above."""
        if self.reader is None and self.confirmed is None:
            return "unread" if self.writer is not None and self.writer.sums.end.records else "balanced"
        if self.writer is None:
            return "unsettled"
        if self.confirmed is not None:
            return "behind" if self.confirmed < self._written_to else "balanced"
        if self.differences():
            return "red"
        assert self.reader is not None, "or its subscriber's group is who reads"
        wrote, got = self._written_to, max(self.reader.sums.end.offset, self.accepted)
        if got < wrote:
            return "behind"
        return "balanced" if got == wrote or not self.reader.sums.end.records else "unsettled"


def _between(points: Mapping[int, Point], start: int, end: int) -> tuple[int, int]:
    return points[end].records - points[start].records, points[end].total - points[start].total


def _records_below(sums: PrefixSum, offset: int) -> int:
    """How many records stand below an offset; between two marks, as if they stood one behind the other from the lower one on."""
    if offset >= sums.end.offset:
        return sums.end.records
    below = [point for point in sums.points() if point.offset <= offset]
    above = min((point for point in sums.points() if point.offset > offset), key=lambda point: point.offset)
    if not below:
        return 0
    lower = max(below, key=lambda point: point.offset)
    return min(lower.records + offset - lower.offset, above.records)
