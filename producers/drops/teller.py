"""What files bring along as a stated source: the next whole file of a feed, in turn, and what became of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from producers.drops.folder import DroppedFile, Inbox, Stamp
from producers.drops.options import DropSourceOptions
from producers.drops.register import REFUSED, TAKEN, FileRegister
from producers.drops.statement import FileStatement
from producers.stated.records import StatedRows
from producers.stated.teller import TableStatement
from producers.stated.zone import zone_of
from schemas.agreement.directory import FeedEntry

_logger = logging.getLogger(__name__)


class FileTeller:
    """See `producers.stated.teller.Teller`. `register` is the file that the register of files is kept in."""

    connector = "files"

    def __init__(self, address: str, options: DropSourceOptions, name: str, register: Path) -> None:
        self.policy = options
        self._zone = zone_of(options.time_zone, name)
        self._name = name
        self._folder = Inbox(address, options, name)
        self._register = FileRegister(register)
        self._looked: dict[str, float] = {}
        self._at: dict[str, DroppedFile] = {}

    def rows_of(self, entry: FeedEntry) -> StatedRows:
        """See Teller."""
        return StatedRows(entry, self._zone, is_sheet=True)

    def look(self, entry: FeedEntry, about: Mapping[str, Any]) -> TableStatement | None:
        """See Teller."""
        now = time.monotonic()
        if now - self._looked.get(entry.feed, -self.policy.look_seconds) < self.policy.look_seconds:
            return None
        if about.get("name") and entry.feed not in self._looked:
            self._register.enter(entry.feed, about, TAKEN)  # a kill may have come before
        for file in self._folder.files(table_of(entry)):
            if self._register.knows(entry.feed, file):
                continue
            if self._is_late(entry.feed, file):
                continue
            if not self._folder.is_whole(file):
                break  # those behind it wait: their turn comes after its own
            self._at[entry.feed] = file
            return FileStatement(
                entry.contract, file, self.policy, lambda sha256: self._register.has_taken(entry.feed, sha256)
            )
        self._looked[entry.feed] = now
        return None

    def _is_late(self, feed: str, file: DroppedFile) -> bool:
        """A file whose turn was before that of the last one taken states what was before: it is not taken."""
        if file.turn >= self._register.newest(feed):
            return False
        reason = "it comes after a file whose turn is later"
        _logger.warning("%s: %s, file %s is not taken: %s", self._name, feed, file.name, reason)
        self._register.enter(feed, _about(file), REFUSED, reason)
        return True

    def is_present(self, entry: FeedEntry, about: Mapping[str, Any]) -> bool:
        """See Teller."""
        return any(
            file.name == about["name"] and file.stamp == Stamp(*about["stamp"])
            for file in self._folder.files(table_of(entry))
        )

    def taken(self, entry: FeedEntry, about: Mapping[str, Any]) -> None:
        """See Teller."""
        self._register.enter(entry.feed, about, TAKEN)
        _logger.info("%s: %s has file %s: %s rows", self._name, entry.feed, about["name"], about["rows"])

    def refused(self, entry: FeedEntry, reason: str) -> None:
        """See Teller."""
        file = self._at[entry.feed]
        _logger.error("%s: %s, file %s is refused: %s", self._name, entry.feed, file.name, reason)
        self._register.enter(entry.feed, _about(file), REFUSED, reason)

    def forget(self, entry: FeedEntry) -> None:
        """See Teller."""
        self._register.forget(entry.feed)

    def close(self) -> None:
        """See Teller."""
        self._register.close()


def table_of(entry: FeedEntry) -> str:
    """What names of the feed's files begin with."""
    return entry.contract.table.partition(".")[2]


def _about(file: DroppedFile) -> dict[str, Any]:
    return {"name": file.name, "stamp": list(file.stamp), "turn": list(file.turn)}
