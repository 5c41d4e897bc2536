"""Where a source of the kind `postgres` stands: its record in `Progress`, typed, and the steps from one to the next.

phase       new | creating | ready | resync    a slot may be dropped and made anew in `creating` and `resync` only
epoch       raised by every resync of the source: first part of every position
identity    system, timeline, database, slot, publication: compared at every start (PG-09)
confirmed   the commit end that is durable downstream; stored before the server hears of it (PG-04)
is_emptied  whether the truncates that open the epoch are durable
asked       which request to copy a feed, or the source, anew was the last to be taken up
tables      per feed: a TablePlace
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from producers.postgresql.captured import Captured
from producers.postgresql.stream.pgoutput import lsn_number, lsn_text
from schemas.agreement.directory import FeedEntry

COPYING, LIVE, STOPPED, GONE = "copying", "live", "stopped", "gone"
_FORMAT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class TablePlace:
    """How far one feed is.

    state       copying | live | stopped: its changes are left out | gone: not in the directory any more
    copy        counts the copies of this table: a mark of a former one counts for nothing
    next_block  where the copy goes on, None once it is whole; `filenode` is the file that it counts in, `rows` how many so far
    columns     the columns that the copied rows have
    since       changes that were committed before are left out: the copy has them
    is_emptied  whether subscribers know that the rows of a former copy are gone
    captured    the table as it was when the copy began, or was last found to be no different, and where the log was then (seen_at)
    reason, fix, stopped_at     why it is stopped, what to do, and the commit from which on its changes are left out
    """

    state: str = COPYING
    copy: int = 0
    filenode: int = 0
    next_block: int | None = 0
    rows: int = 0
    columns: tuple[str, ...] = ()
    since: int = 0
    is_emptied: bool = True
    captured: Captured | None = None
    seen_at: int = 0
    reason: str = ""
    fix: str = ""
    stopped_at: int = 0

    def stopped(self, reason: str, fix: str, at: int) -> TablePlace:
        """Its changes are left out from a commit on."""
        at = self.stopped_at if self.state == STOPPED else at
        return replace(self, state=STOPPED, reason=reason, fix=fix, stopped_at=at)

    def anew(self) -> TablePlace:
        """To be copied from its first block on, once subscribers know that what they have is gone."""
        return replace(self.fresh(), is_emptied=False)

    def fresh(self) -> TablePlace:
        """To be copied from its first block on."""
        return replace(self, state=COPYING, copy=self.copy + 1, next_block=0, rows=0, reason="", fix="", stopped_at=0)

    def copied(self, next_block: int | None, rows: int) -> TablePlace:
        """A further range is durable."""
        state = self.state if self.state != COPYING else LIVE if next_block is None else COPYING
        return replace(self, state=state, next_block=next_block, rows=self.rows + rows)

    def to_json(self) -> dict[str, Any]:
        """For the source's record."""
        return {**_values(self), "captured": self.captured and self.captured.to_json()}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> TablePlace:
        """Read it back."""
        captured = record.get("captured")
        values = {name: value for name, value in record.items() if name in cls.__dataclass_fields__}
        values["columns"] = tuple(record["columns"])
        values["captured"] = Captured.from_json(captured) if captured else None
        return cls(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePlace:
    """See the top of this file; `tables` by feed."""

    phase: str = "new"
    epoch: int = 1
    identity: Mapping[str, Any] = field(default_factory=dict[str, Any])
    confirmed: int = 0
    is_emptied: bool = True
    asked: Mapping[str, str] = field(default_factory=dict[str, str])
    tables: Mapping[str, TablePlace] = field(default_factory=dict[str, TablePlace])

    def table(self, feed: str, place: TablePlace) -> SourcePlace:
        """With another place of one feed."""
        return replace(self, tables={**self.tables, feed: place})

    def was_asked(self, name: str, request: str) -> SourcePlace:
        """A request was taken up."""
        return replace(self, asked={**self.asked, name: request})

    def to_json(self) -> dict[str, Any]:
        """The record."""
        tables = {feed: table.to_json() for feed, table in self.tables.items()}
        return {**_values(self), "tables": tables, "format": _FORMAT, "confirmed": lsn_text(self.confirmed)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any] | None, feeds: Mapping[str, FeedEntry]) -> SourcePlace:
        """Read it back; one from before the feed was the unit names tables by `<schema>.<table>`."""
        if record is None:
            return cls()
        values = {name: value for name, value in record.items() if name in cls.__dataclass_fields__}
        names = {entry.contract.table: feed for feed, entry in feeds.items()} if "format" not in record else {}
        values["tables"] = {
            names.get(name, name): TablePlace.from_json(table) for name, table in record["tables"].items()
        }
        values["confirmed"] = lsn_number(record.get("confirmed") or "0/0")
        return cls(**values)


def is_copied(record: Mapping[str, Any] | None, feed: str, request: str) -> bool:
    """Whether the feed was copied as the request asked for, and is live."""
    place = SourcePlace.from_json(record, {})
    table = place.tables.get(feed)
    return place.asked.get(feed) == request and table is not None and table.state == LIVE


def _values(place: TablePlace | SourcePlace) -> dict[str, Any]:
    return {name: getattr(place, name) for name in place.__dataclass_fields__}
