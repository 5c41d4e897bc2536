"""The plan of copies: which feeds' tables may be copied now, and each from where on."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from dataclasses import replace

from producers.postgresql.admission import Widen, admission
from producers.postgresql.book import Book, columns_of
from producers.postgresql.captured import absent
from producers.postgresql.link.catalog import CatalogTable, SourceTypes, tables
from producers.postgresql.link.link import translated
from producers.postgresql.place import COPYING, TablePlace
from producers.postgresql.slot import Slot
from producers.postgresql.watch import Look, look
from producers.source import SourceBatch, SourceSetting
from schemas.agreement.directory import FeedEntry

LOCK_RETRY_SECONDS = 5.0


class CopyPlan:
    """Of one source; used by its own thread. `widen` may change a table before it is admitted."""

    def __init__(self, setting: SourceSetting, book: Book, slot: Slot, types: SourceTypes, widen: Widen | None) -> None:
        self._setting = setting
        self._name = setting.name
        self._book = book
        self._slot = slot
        self._types = types
        self._widen = widen
        self._retry_at: dict[str, float] = {}

    def news(self, feeds: Mapping[str, FeedEntry]) -> Mapping[str, FeedEntry]:
        """Feeds whose table is not wholly copied, and may be now."""
        now = time.monotonic()
        return {
            feed: entry
            for feed, entry in feeds.items()
            if not (self._book.is_stopped(feed) or self._book.is_copied(entry) or now < self._retry_at.get(feed, 0.0))
        }

    def admitted(
        self, feeds: Mapping[str, FeedEntry], at: int
    ) -> Generator[SourceBatch, None, Mapping[str, FeedEntry]]:
        """Admit what can be, and return it. What cannot is stopped, what is locked waits."""
        found = yield from admission(self._setting, feeds, self._widen)
        for feed, (reason, fix) in {
            **found.refused,
            **self._gone({feed: feeds[feed] for feed in found.refused}),
        }.items():
            self._book.stop(feed, reason, fix, at)
        for feed, reason in found.locked.items():
            self.wait(feed, reason)
        return found.admitted

    def _gone(self, refused: Mapping[str, FeedEntry]) -> Mapping[str, tuple[str, str]]:
        """Reason and fix where the table that was captured before has gone from its name: preflight knows nothing of it."""
        former = {
            feed: was
            for feed, entry in refused.items()
            if (was := self._book.table(feed).captured) is not None and was.name == entry.contract.table
        }
        names, oids = [was.name for was in former.values()], [was.oid for was in former.values()]
        seen = look(self._slot.statements, self._slot.name, names, oids, source=self._name) if former else None
        gone = {feed: absent(feed, was, seen.now(was.name, was.oid)) for feed, was in former.items() if seen}
        return {feed: (why.reason, why.fix) for feed, why in gone.items() if why is not None}

    def wait(self, feed: str, reason: str) -> None:
        """Not before a while has passed."""
        self._retry_at[feed] = time.monotonic() + LOCK_RETRY_SECONDS
        self._book.wait(feed, reason)

    def seen(self, feeds: Mapping[str, FeedEntry]) -> tuple[Look, Mapping[str, CatalogTable]]:
        """The feeds' tables as the catalog has them now, and where the log is."""
        names = [entry.contract.table for entry in feeds.values()]
        statements = self._slot.statements
        seen = look(statements, self._slot.name, names, (), source=self._name)
        with translated(self._name):
            return seen, tables(statements, self._types, names)

    def planned(
        self, feeds: Mapping[str, FeedEntry], seen: Look, present: Mapping[str, CatalogTable]
    ) -> dict[str, FeedEntry]:
        """Note in the book how each table is to be copied; the feeds whose table is there."""
        found: dict[str, FeedEntry] = {}
        for feed, entry in feeds.items():
            captured, table = seen.by_name.get(entry.contract.table), present.get(entry.contract.table)
            if captured is None or table is None:
                continue  # it has gone since it was admitted
            place = self._book.table(feed)
            if not (self._goes_on(place, entry, table) and place.captured and place.captured.oid == captured.oid):
                place = place.fresh()
            since = place.since if place.is_emptied else seen.at
            columns = tuple(sorted(columns_of(entry)))
            place = replace(place, filenode=table.filenode, columns=columns, since=since)
            self._book.set(feed, replace(place, captured=captured, seen_at=seen.at))
            found[feed] = entry
        return found

    def _goes_on(self, place: TablePlace, entry: FeedEntry, table: CatalogTable) -> bool:
        """Not if the file was rewritten, old rows are not logged whole (PG-16), or the contract has further columns."""
        is_same = place.state == COPYING and place.copy > 0 and place.filenode == table.filenode
        return is_same and columns_of(entry) <= set(place.columns) and table.is_whole_row
