"""Marks: what is durable of the copies of a source's tables once the records before a mark are (invariant 1)."""

from __future__ import annotations

from dataclasses import dataclass

EMPTIED = "emptied"
"""The mark behind the truncates that open a new epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeDone:
    """The mark behind a range's last row: a copy of the feed's table has come to `next_block`, or is whole when that is None."""

    feed: str
    copy: int
    next_block: int | None
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Emptied:
    """The mark behind the truncates that go before a copy of one feed."""

    feed: str
    copy: int
