"""The source of every stated kind: its feeds' statements, told in turn.

What stands at subscribers is held on disk beside the capturing process (producers/stated/held.py), so that a statement of ten million
rows needs no more memory than one of ten. One process of a source at a time: another one stands by.

A feed's trouble is that feed's (invariant 10): it stops with an incident, is looked at again now and then, and the others go on.
"""

from __future__ import annotations

import fcntl
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from producers.source import SourceBatch, SourceSetting, StandingBy
from producers.stated.held import HeldRows
from producers.stated.place import StatedPlace, places_of, record_of
from producers.stated.teller import Teller
from producers.stated.telling import StatedMark, Telling, row_schema
from schemas.agreement.directory import FeedEntry
from schemas.errors import ContractBroken, MeshError, Misconfigured, Transient
from schemas.wire.envelope import value_schema

WAIT_SECONDS = 0.25
SAVE_SECONDS = 1.0
STOPPED_LOOK_SECONDS = 10.0

_logger = logging.getLogger(__name__)


class StatedSource:
    """See `producers.source.Source`."""

    copies_returning_feeds = True

    def __init__(self, setting: SourceSetting, teller: Teller, folder: Path, lock: IO[bytes]) -> None:
        self._setting = setting
        self._name = setting.name
        self._teller = teller
        self._folder = folder
        self._lock = lock
        self._places = places_of(setting.progress.load(self._name))
        self._tellings: dict[str, Telling] = {}
        self._stopped: dict[str, float] = {}
        self._is_dirty = False
        self._saved_at = time.monotonic()

    def batches(self) -> Iterator[SourceBatch]:
        """See Source."""
        while True:
            given = self._setting.feeds()
            self._open(given.values())
            yield SourceBatch()
            while self._setting.feeds() is given:
                if any(self._is_asked(telling.entry, telling.place) for telling in self._tellings.values()):
                    self._open(given.values())
                moved = False
                for feed in list(self._tellings):
                    for batch in self._of(feed):
                        moved = True
                        self._save_if_due()
                        yield batch
                self._save_if_due()
                if not moved:
                    time.sleep(WAIT_SECONDS)
                    yield SourceBatch()

    def _of(self, feed: str) -> Iterator[SourceBatch]:
        """A feed's batches; one that must stop stops alone."""
        if time.monotonic() < self._stopped.get(feed, 0):
            return
        telling, former = self._tellings[feed], self._tellings[feed].place
        try:
            yield from telling.batches()
        except (ContractBroken, Misconfigured) as error:
            self._stopped[feed] = time.monotonic() + STOPPED_LOOK_SECONDS
            telling.stopped(error)
        except sqlite3.OperationalError as error:  # the disk is full, or gone
            fix = f"make room in {self._folder} of the host that captures: it goes on by itself"
            raise Transient(f"source {self._name}: its rows cannot be kept on disk", fix=fix) from error
        if telling.place is not former:
            self._is_dirty = True

    # ── beginning ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _asked(self, entry: FeedEntry) -> str | None:
        resyncs = self._setting.resyncs()
        return resyncs.get(entry.feed, resyncs.get(self._name))

    def _is_asked(self, entry: FeedEntry, place: StatedPlace) -> bool:
        return self._asked(entry) != place.asked

    def _open(self, given: Any) -> None:
        """Each feed with the rows that stand, or with none where everything is to be stated anew."""
        entries: dict[str, FeedEntry] = {entry.feed: entry for entry in given}
        self._keep()
        self._tellings, self._stopped = {}, {}
        for feed, place in self._places.items():
            if feed not in entries:
                self._places[feed] = StatedPlace(
                    epoch=place.epoch, number=place.number, asked=place.asked, is_gone=True, last=place.last
                )
        for feed, entry in entries.items():
            held = HeldRows(self._folder / feed)
            place = self._begun(entry, held)
            self._tellings[feed] = Telling(entry, self._name, held, place, self._teller, self._setting.incidents)
        self._save()

    def _begun(self, entry: FeedEntry, held: HeldRows) -> StatedPlace:
        place = self._places.get(entry.feed)
        is_whole = place is not None and held.epoch == place.epoch and held.number >= place.number
        if place is None:
            # What was offboarded may have left rows behind: those of this time come above them.
            place = StatedPlace(epoch=held.epoch + 1, is_emptied=held.epoch == 0, asked=self._asked(entry))
        elif self._is_asked(entry, place) or place.is_gone:
            place = place.anew(self._asked(entry))
        elif is_whole and held.fits(row_schema(entry), value_schema(entry.contract)):
            return place if held.number == place.number else place.taken(held.number, place.last)
        else:
            _logger.warning(
                "%s: the rows of %s are not on this disk as they were: all is stated anew", self._name, entry.feed
            )
            place = place.anew(place.asked)
        self._teller.forget(entry)
        # Before the rows: a process that is killed in between finds rows of another epoch, and begins them again.
        self._setting.progress.save(self._name, record_of({**self._places, entry.feed: place}))
        self._places[entry.feed] = place
        held.begin(place.epoch, row_schema(entry))
        return place

    # ── confirming ───────────────────────────────────────────────────────────────────────────────────────────────────

    def confirm(self, mark: Any) -> None:
        """See Source. A mark is a StatedMark."""
        assert isinstance(mark, StatedMark), "a mark of ours"
        telling = self._tellings.get(mark.feed)
        if telling is not None:
            self._is_dirty = True
            if telling.confirm(mark):
                self._save()

    def _keep(self) -> None:
        self._places.update({feed: telling.place for feed, telling in self._tellings.items()})

    def _save_if_due(self) -> None:
        if self._is_dirty and time.monotonic() - self._saved_at > SAVE_SECONDS:
            self._save()

    def _save(self) -> None:
        self._keep()
        self._setting.progress.save(self._name, record_of(self._places))
        self._is_dirty, self._saved_at = False, time.monotonic()

    def close(self) -> None:
        """See Source."""
        try:
            if self._is_dirty:
                self._save()
        except MeshError as error:
            _logger.warning("%s: the last place was not stored; a little comes again: %s", self._name, error)
        self._tellings = {}
        self._teller.close()
        with suppress(OSError):
            self._lock.close()


def open_stated(setting: SourceSetting, teller: Callable[[Path], Teller]) -> StatedSource:
    """The source of a kind; `teller` is made with the source's own folder. Raises StandingBy, and what `teller` raises."""
    folder = _folder_of(setting)
    lock = _locked(folder, setting.name)
    try:
        return StatedSource(setting, teller(folder), folder, lock)
    except BaseException:
        lock.close()
        raise


def _folder_of(setting: SourceSetting) -> Path:
    if setting.state is None:
        fix = "run it as `mesh up` or `mesh run capture` does, with a directory"
        raise Misconfigured(f"source {setting.name}", "capture has no directory to hold its rows in", fix=fix)
    return setting.state / setting.name


def _locked(folder: Path, name: str) -> IO[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder / "lock").open("wb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise StandingBy(f"source {name}: another process of this host captures it") from None
    return lock
