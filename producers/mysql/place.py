"""Where a source of the kind `mysql` stands: its record in `Progress`, typed, and the steps from one to the next.

phase     new | ready | resync
epoch     raised by every resync of the source: first part of every position
server    which server's log it is: another one's has other places
gtids     the transactions that are durable downstream, as the server takes them: one `<domain>-<server>-<number>` a domain
place     the last of them in the log: number of its file and the byte where its GTID event ends, in one number
asked     which request to copy a feed, or the source, anew was the last to be taken up
tables    per feed: a CopyPlace
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from producers.mysql.link.catalog import Shape

COPYING, LIVE, STOPPED, GONE = "copying", "live", "stopped", "gone"


def place_in_log(file: str, position: int) -> int:
    """A place as one number; files are counted in their names, such as `binlog.000042`."""
    return int(file.rpartition(".")[2]) << 32 | position


def place_text(place: int) -> str:
    """For people."""
    return f"file {place >> 32}, byte {place & 0xFFFF_FFFF}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyPlace:
    """How far one feed is.

    state       copying | live | stopped: its changes are left out | gone: not in the directory any more
    copy        counts the copies of this table: a mark of a former one counts for nothing, and positions of its rows end with it
    cursor      the key of the last copied row, as the server printed it, in hexadecimal; none before the first
    rows        how many are copied
    since       changes at or before this place are left out: the copy has them
    is_emptied  whether subscribers know that the rows of a former copy are gone
    shape       the columns that its rows are read from, as declared when the copy began
    reason, fix, stopped_at     why it is stopped, what to do, and the place from which on its changes are left out
    """

    state: str = COPYING
    copy: int = 0
    cursor: tuple[str, ...] = ()
    rows: int = 0
    since: int = 0
    is_emptied: bool = True
    shape: Mapping[str, Shape] = field(default_factory=dict[str, Shape])
    reason: str = ""
    fix: str = ""
    stopped_at: int = 0

    def stopped(self, reason: str, fix: str, at: int) -> CopyPlace:
        """Its changes are left out from a place on."""
        at = self.stopped_at if self.state == STOPPED else at
        return replace(self, state=STOPPED, reason=reason, fix=fix, stopped_at=at)

    def anew(self) -> CopyPlace:
        """To be copied from its first row on, once subscribers know that what they have is gone."""
        return CopyPlace(copy=self.copy + 1, is_emptied=False)

    def copied(self, cursor: tuple[str, ...], rows: int, *, is_whole: bool) -> CopyPlace:
        """Further rows are durable."""
        state = LIVE if is_whole and self.state == COPYING else self.state
        return replace(self, state=state, cursor=cursor, rows=self.rows + rows, is_emptied=True)

    def to_json(self) -> dict[str, Any]:
        """For the source's record."""
        return _values(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> CopyPlace:
        """Read it back."""
        values = {name: value for name, value in record.items() if name in cls.__dataclass_fields__}
        return cls(**{**values, "cursor": tuple(record["cursor"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPlace:
    """See the top of this file; `tables` by feed."""

    phase: str = "new"
    epoch: int = 1
    server: str = ""
    gtids: str = ""
    place: int = 0
    asked: Mapping[str, str] = field(default_factory=dict[str, str])
    tables: Mapping[str, CopyPlace] = field(default_factory=dict[str, CopyPlace])

    def table(self, feed: str, place: CopyPlace) -> LogPlace:
        """With another place of one feed."""
        return replace(self, tables={**self.tables, feed: place})

    def begun(self, server: str, gtids: str) -> LogPlace:
        """To be read from here on: the first time, or anew in the next epoch, with all tables copied anew."""
        if self.phase == "new":
            return replace(self, phase="ready", server=server, gtids=gtids, place=0)
        tables = {feed: table.anew() for feed, table in self.tables.items()}
        return replace(self, phase="ready", epoch=self.epoch + 1, server=server, gtids=gtids, place=0, tables=tables)

    def to_json(self) -> dict[str, Any]:
        """The record."""
        return {**_values(self), "tables": {feed: table.to_json() for feed, table in self.tables.items()}}

    @classmethod
    def from_json(cls, record: Mapping[str, Any] | None) -> LogPlace:
        """Read it back."""
        if record is None:
            return cls()
        values = {name: value for name, value in record.items() if name in cls.__dataclass_fields__}
        values["tables"] = {feed: CopyPlace.from_json(table) for feed, table in record["tables"].items()}
        return cls(**values)


def is_feed_copied(record: Mapping[str, Any] | None, feed: str, request: str) -> bool:
    """Whether the feed was copied as the request asked for, and is live."""
    place = LogPlace.from_json(record)
    table = place.tables.get(feed)
    return place.asked.get(feed) == request and table is not None and table.state == LIVE


def _values(place: CopyPlace | LogPlace) -> dict[str, Any]:
    return {name: getattr(place, name) for name in place.__dataclass_fields__}
