"""The book of one source: where it stands, kept durable, and told to people where a feed stands still."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from producers.postgresql.place import COPYING, GONE, LIVE, STOPPED, SourcePlace, TablePlace
from producers.postgresql.snapshot.mark import EMPTIED, Emptied, RangeDone
from producers.postgresql.stream.pgoutput import lsn_text
from producers.source import SourceSetting
from schemas.agreement.directory import FeedEntry
from schemas.errors import MeshError

SAVE_SECONDS = 1.0
NOTICE_SECONDS = 3_600.0
"""How long it stands in the status that a table was copied anew, counted from the end of the copy."""

_logger = logging.getLogger(__name__)


class Book:
    """Used by the source's own thread."""

    def __init__(self, setting: SourceSetting) -> None:
        self._setting = setting
        self.name = setting.name
        self._incidents = setting.incidents
        self.place = SourcePlace.from_json(setting.progress.load(self.name), setting.feeds())
        self.durable = self.stored = self.place.confirmed
        self.read: set[str] = set()
        """Feeds whose table was read to the end by this process, though not all is acknowledged yet."""
        self._notices: dict[str, float | None] = {}
        self._is_dirty = False
        self._saved_at = 0.0
        for feed, table in self.place.tables.items():
            if table.state == STOPPED:
                self._say_stopped(feed, table)
            else:
                self._incidents.end("feed", feed)

    # ── what there is ────────────────────────────────────────────────────────────────────────────────────────────────

    def table(self, feed: str) -> TablePlace:
        """The place of one feed; one that was never copied has the first."""
        return self.place.tables.get(feed) or TablePlace()

    def is_stopped(self, feed: str) -> bool:
        """Whether its changes are left out until somebody, or something, has mended it."""
        return self.table(feed).state == STOPPED

    def is_copied(self, entry: FeedEntry) -> bool:
        """Whether no row of its table is left to be read, for the columns that its contract has."""
        table = self.place.tables.get(entry.feed)
        if table is not None and table.state == LIVE:
            return columns_of(entry) <= set(table.columns)
        return entry.feed in self.read

    # ── what happens ─────────────────────────────────────────────────────────────────────────────────────────────────

    def set(self, feed: str, table: TablePlace) -> None:
        """Another place of one feed."""
        self.place = self.place.table(feed, table)
        self._is_dirty = True

    def stop(self, feed: str, reason: str, fix: str, at: int) -> None:
        """One feed's changes are left out from here on; the others go on (invariant 10)."""
        former = self.table(feed)
        table = former.stopped(reason, fix, at)
        self.read.discard(feed)
        if table != former:
            self.set(feed, table)
            _logger.error("%s: %s is stopped: %s\n  fix: %s", self.name, feed, reason, fix)
        self._say_stopped(feed, table)

    def _say_stopped(self, feed: str, table: TablePlace) -> None:
        self._notices.pop(feed, None)
        gap = f"; changes from {lsn_text(table.stopped_at)} on are in no feed until it is copied anew"
        self._incidents.begin("feed", feed, state="stopped", reason=table.reason + gap, fix=table.fix)

    def copy_anew(self, feed: str, reason: str) -> None:
        """Subscribers are told that the feed's rows are gone, then get them as they are now, while the others flow."""
        self.read.discard(feed)
        self.set(feed, self.table(feed).anew())
        _logger.warning("%s: copies %s anew: %s", self.name, feed, reason)
        self._notices[feed] = None
        self._incidents.begin("feed", feed, state="notice", reason=f"{reason}; it is copied anew, and then whole")

    def heed(self, resyncs: Mapping[str, str], feeds: Iterable[str]) -> bool:
        """Take up what people asked to be copied anew. Whether that is the whole source, which must be opened anew for it."""
        news = {
            name: request
            for name in (self.name, *feeds)
            if (request := resyncs.get(name)) is not None and self.place.asked.get(name) != request
        }
        for name, request in news.items():
            self.place = self.place.was_asked(name, request)
            if name != self.name and name in self.place.tables:
                self.copy_anew(name, "somebody asked for it")
        if self.name not in news or self.place.phase == "new":
            return False
        _logger.warning("%s: copies all its tables anew: somebody asked for it", self.name)
        self.save(replace(self.place, phase="resync"))
        return True

    def wait(self, feed: str, reason: str) -> None:
        """It goes on by itself once whatever it waits for is over."""
        _logger.warning("%s: %s waits: %s", self.name, feed, reason)
        self._incidents.begin("feed", feed, state="waiting", reason=reason)

    def arrived(self, feed: str) -> None:
        """A copy goes on, or is over: nothing is waited for."""
        if feed not in self._notices:
            self._incidents.end("feed", feed)

    def keep_only(self, feeds: Collection[str]) -> list[str]:
        """Feeds that have gone from the directory: should one come again, it starts over. The ones that went now."""
        gone = [name for name, table in self.place.tables.items() if name not in feeds and table.state != GONE]
        for feed in gone:
            self.set(feed, replace(self.table(feed).anew(), state=GONE))
            self.read.discard(feed)
            self._notices.pop(feed, None)
            self._incidents.end("feed", feed)
        for feed in feeds:
            if self.table(feed).state == GONE:
                self.set(feed, replace(self.table(feed), state=COPYING))
        return gone

    # ── keeping it ───────────────────────────────────────────────────────────────────────────────────────────────────

    def confirm(self, mark: Any) -> None:
        """A mark is a commit end, a copied range, or the truncates before a copy."""
        match mark:
            case RangeDone():
                table = self.place.tables[mark.feed]
                if table.copy == mark.copy:
                    self.set(mark.feed, table.copied(mark.next_block, mark.rows))
            case Emptied():
                table = self.place.tables[mark.feed]
                if table.copy == mark.copy:
                    self.set(mark.feed, replace(table, is_emptied=True))
            case _ if mark is EMPTIED:
                self.place = replace(self.place, is_emptied=True)
                self._is_dirty = True
            case _ if mark > self.durable:
                self.durable = mark
                self._is_dirty = True
            case _:
                pass
        self.save_if_due()

    def save_if_due(self) -> None:
        """Store it now and then; what is of no more interest to people is taken back."""
        now = time.monotonic()
        if self._is_dirty and now - self._saved_at > SAVE_SECONDS:
            self.save(self.place)
        for feed, ends_at in list(self._notices.items()):
            if ends_at is None and self.table(feed).state == LIVE:
                self._notices[feed] = now + NOTICE_SECONDS
            elif ends_at is not None and now > ends_at:
                del self._notices[feed]
                self._incidents.end("feed", feed)

    def save(self, place: SourcePlace) -> None:
        """Store our place first, only then may the server hear of it (PG-04)."""
        durable = self.durable
        self.place = replace(place, confirmed=durable)
        self._setting.progress.save(self.name, self.place.to_json())
        self.stored = durable
        self._saved_at = time.monotonic()
        self._is_dirty = False

    def close(self) -> None:
        """Store what is not stored yet."""
        try:
            if self._is_dirty:
                self.save(self.place)
        except MeshError as error:
            _logger.warning("%s: the last place was not stored; a little comes again: %s", self.name, error)


def columns_of(feed: FeedEntry) -> set[str]:
    """The columns that a feed's contract names."""
    return {field.column for field in feed.contract.fields}
