"""The book of one source: where it stands, kept durable, and told to people where a feed stands still."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any

from producers.mysql.place import COPYING, GONE, LIVE, STOPPED, CopyPlace, LogPlace, place_text
from producers.source import SourceSetting
from schemas.errors import MeshError

SAVE_SECONDS = 1.0
NOTICE_SECONDS = 3_600.0
"""How long it stands in the status that a table was copied anew, counted from the end of the copy."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogMark:
    """Transactions up to these are read."""

    gtids: str
    place: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkMark:
    """Rows of one table up to a key are copied."""

    feed: str
    copy: int
    cursor: tuple[str, ...]
    rows: int
    is_whole: bool


class LogBook:
    """Used by the source's own thread."""

    def __init__(self, setting: SourceSetting) -> None:
        self._setting = setting
        self.name = setting.name
        self._incidents = setting.incidents
        self.place = LogPlace.from_json(setting.progress.load(self.name))
        self._notices: dict[str, float | None] = {}
        self._is_dirty = False
        self._saved_at = 0.0
        for feed, table in self.place.tables.items():
            if table.state == STOPPED:
                self._say_stopped(feed, table)
            else:
                self._incidents.end("feed", feed)

    def table(self, feed: str) -> CopyPlace:
        """The place of one feed; one that was never copied has the first."""
        return self.place.tables.get(feed) or CopyPlace()

    def set(self, feed: str, table: CopyPlace) -> None:
        """Another place of one feed."""
        self.place = self.place.table(feed, table)
        self._is_dirty = True

    def stop(self, feed: str, reason: str, fix: str, at: int) -> None:
        """One feed's changes are left out from here on; the others go on (invariant 10)."""
        former = self.table(feed)
        table = former.stopped(reason, fix, at)
        if table != former:
            self.set(feed, table)
            _logger.error("%s: %s is stopped: %s\n  fix: %s", self.name, feed, reason, fix)
        self._say_stopped(feed, table)

    def _say_stopped(self, feed: str, table: CopyPlace) -> None:
        self._notices.pop(feed, None)
        gap = f"; changes from {place_text(table.stopped_at)} of the log on are in no feed until it is copied anew"
        self._incidents.begin("feed", feed, state="stopped", reason=table.reason + gap, fix=table.fix)

    def copy_anew(self, feed: str, reason: str) -> None:
        """Subscribers are told that the feed's rows are gone, then get them as they are now, while the others flow."""
        self.set(feed, self.table(feed).anew())
        _logger.warning("%s: copies %s anew: %s", self.name, feed, reason)
        self._notices[feed] = None
        self._incidents.begin("feed", feed, state="notice", reason=f"{reason}; it is copied anew, and then whole")

    def heed(self, feeds: Iterable[str]) -> bool:
        """Take up what people asked to be copied anew. Whether that is the whole source, which must be opened anew for it."""
        resyncs = self._setting.resyncs()
        news = {
            name: request
            for name in (self.name, *feeds)
            if (request := resyncs.get(name)) is not None and self.place.asked.get(name) != request
        }
        for name, request in news.items():
            self.place = replace(self.place, asked={**self.place.asked, name: request})
            if name != self.name and name in self.place.tables:
                self.copy_anew(name, "somebody asked for it")
        if self.name not in news or self.place.phase == "new":
            return False
        _logger.warning("%s: copies all its tables anew: somebody asked for it", self.name)
        self.place = replace(self.place, phase="resync")
        self.save()
        return True

    def keep_only(self, feeds: Collection[str]) -> None:
        """Feeds that have gone from the directory: should one come again, it starts over."""
        for feed, table in self.place.tables.items():
            if feed not in feeds and table.state != GONE:
                self.set(feed, replace(table.anew(), state=GONE))
                self._notices.pop(feed, None)
                self._incidents.end("feed", feed)
        for feed in feeds:
            if self.table(feed).state == GONE:
                self.set(feed, replace(self.table(feed), state=COPYING))

    def confirm(self, mark: Any) -> None:
        """Take note of a mark that is durable."""
        match mark:
            case ChunkMark():
                table = self.table(mark.feed)
                if table.copy == mark.copy and table.state == COPYING:
                    self.set(mark.feed, table.copied(mark.cursor, mark.rows, is_whole=mark.is_whole))
            case LogMark():
                self.place = replace(self.place, gtids=mark.gtids, place=mark.place)
                self._is_dirty = True
            case _:
                pass
        self.save_if_due()

    def save_if_due(self) -> None:
        """Store it now and then; what is of no more interest to people is taken back."""
        now = time.monotonic()
        if self._is_dirty and now - self._saved_at > SAVE_SECONDS:
            self.save()
        for feed, ends_at in list(self._notices.items()):
            if ends_at is None and self.table(feed).state == LIVE:
                self._notices[feed] = now + NOTICE_SECONDS
            elif ends_at is not None and now > ends_at:
                del self._notices[feed]
                self._incidents.end("feed", feed)

    def save(self) -> None:
        """Store it now."""
        self._setting.progress.save(self.name, self.place.to_json())
        self._saved_at = time.monotonic()
        self._is_dirty = False

    def close(self) -> None:
        """Store what is not stored yet."""
        try:
            if self._is_dirty:
                self.save()
        except MeshError as error:
            _logger.warning("%s: the last place was not stored; a little comes again: %s", self.name, error)
