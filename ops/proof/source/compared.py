"""Compared: what `mesh verify --source` found, in counts and in keys that nobody can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ops.command.terminal import report_console
from schemas.position import Position

KEYS_SHOWN = 20
_BY = {
    "checksums": "ranges compared by the database's checksums",
    "sums": "ranges compared by sums of rows that were read whole",
    "rows": "ranges compared row by row",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferingKey:
    """A key that differs: its keyed hash, how (`missing`, `surplus` or `different`), and where its row stands, table or topic."""

    hash: str
    how: str
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedSource:
    """Counts of rows, of the source's table and of the feed up to the fence.

    `missing` are in the table only, `surplus` in the feed only. `dead_letters` are rows of the table whose last change capture set
    aside, `partial` those of the feed of which the source did not send every column: they are compared by key. `unreadable` and
    `foreign` name records, as partition and offset, that nobody can read, and with a position that the source has not reached.
    `sent` rows were sent as hashes, or encoded here (`how`).
    """

    feed: str
    position: Position
    at: str
    how: str
    rows: int
    found: int
    missing: int
    surplus: int
    different: int
    dead_letters: int
    partial: int
    ranges: int
    ranges_differing: int
    sent: int
    records: int
    seconds: float
    keys: Sequence[DifferingKey] = ()
    unreadable: Sequence[tuple[int, int]] = ()
    foreign: Sequence[tuple[int, int]] = ()
    fix: str = ""
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def is_exact(self) -> bool:
        """Whether the feed says of the table what the table says of itself, but for what is told of as a dead letter."""
        return not (self.missing or self.surplus or self.different or self.unreadable or self.foreign)

    def to_json(self) -> Mapping[str, Any]:
        """For scripts."""
        counts = ("rows", "found", "missing", "surplus", "different", "dead_letters", "partial")
        work = ("ranges", "ranges_differing", "sent", "records")
        return {
            "exact": self.is_exact,
            "feed": self.feed,
            "position": list(self.position),
            "compared_by": self.how,
            **{name: getattr(self, name) for name in (*counts, *work)},
            "unreadable": [list(place) for place in self.unreadable],
            "foreign": [list(place) for place in self.foreign],
            "seconds": round(self.seconds, 3),
            "rows_per_second": round(max(self.rows, self.found) / self.seconds) if self.seconds else 0,
            "keys": [{"key": key.hash, "is": key.how, "at": key.place} for key in self.keys],
            "notes": list(self.notes),
            "fix": self.fix,
        }

    def render(self) -> None:
        """For people: the counts, then each differing key."""
        console = report_console()
        verdict = "exact" if self.is_exact else "NOT EXACT"
        console.print(
            f"{verdict}: {self.feed} at {self.at}: {self.rows:,} rows in the table, {self.found:,} in the feed, "
            f"{self.seconds:,.1f} s",
            style="bold" if self.is_exact else "bold red",
            markup=False,
        )
        counts = {
            "missing in the feed": self.missing,
            "too many in the feed": self.surplus,
            "different": self.different,
            "records that nobody can read": len(self.unreadable),
            "records of a position that the source has not reached": len(self.foreign),
        }
        for what, count in counts.items():
            if count:
                console.print(f"  {count:,} {what}", style="red")
        for key in self.keys:
            console.print(f"    {key.how:<10} key {key.hash} at {key.place}", markup=False)
        for partition, offset in (*self.unreadable, *self.foreign)[:KEYS_SHOWN]:
            console.print(f"    not written by capture: partition {partition}, offset {offset}", markup=False)
        for note in self.notes:
            console.print(f"  {note}", markup=False)
        console.print(
            f"  {self.ranges:,} {_BY[self.how]}, {self.ranges_differing:,} differed, {self.sent:,} rows were sent"
        )
        if self.fix:
            console.print(f"  fix: {self.fix}", markup=False)
