"""Capture: every source of every agency, each in a thread of its own, into the log.

For each source: read a batch, append it, and once the log has acknowledged what belongs to a mark, confirm that mark
(invariant 1). A source that cannot be reached is opened again after a pause; one that needs a person's decision stops, says so,
and is looked at again now and then; one that trips our own code parks and is opened again ever more seldom. The others flow on
(invariant 8). Whatever its onboarding says anew (feeds, options, address, anchors) a source takes up within seconds.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from producers.kind import SourceKind
from producers.missing_topic import MissingTopics
from producers.oversize import append_or_point
from producers.release import Releases
from producers.source import Source, SourceBatch, SourceObserver, SourceProgress, SourceSetting, StandingBy
from schemas.agreement.agency import Agency, SourceConfig
from schemas.agreement.anchor import Anchor
from schemas.agreement.directory import Directory, FeedEntry
from schemas.agreement.offboarding import Offboarding
from schemas.errors import MeshError, Misconfigured, Move, next_move
from schemas.incident import Incidents, MemoryIncidents, begin_for
from schemas.log.lane import Lane
from schemas.log.writer import Log

LOOK_SECONDS = 1.0
PAUSE_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)
PARK_SECONDS = (5.0, 30.0, 60.0, 300.0)
STOPPED_LOOK_SECONDS = 60.0
SETTLE_SECONDS = 10.0

PAUSE_PER_SOURCE_SECONDS = 0.001
PAUSE_MOST_SECONDS = 0.025
"""All sources of a process together wake about a thousand times a second. A server that holds many databases wakes every
one of its walsenders at each commit in any of them, and each then sends a keepalive: 17 databases at 1,500 commits a second
made 15,000 context switches a second, and half a core of them."""

_logger = logging.getLogger(__name__)


def _keep_no_record(_done: Offboarding) -> None:
    """For a capture that runs by itself."""


class CaptureObserver(SourceObserver, Protocol):
    """What capture reports of its work."""

    def captured(self, *, feed: str, op: str, count: int, size_bytes: int) -> None:
        """Changes appended to a feed."""
        ...

    def rejected(self, *, feed: str, reason: str, count: int) -> None:
        """Rows that went to the feed's dead letters."""
        ...

    def lag(self, *, source: str, seconds: float) -> None:
        """From the commit of the newest change to its appending."""
        ...

    def connected(self, *, source: str, is_connected: bool) -> None:
        """Whether the source is being read."""
        ...


class Capture:
    """Hop 1. `kinds` maps the name of a source's kind to it; `only` limits the work to sources named `<agency>.<source>`.

    `directory` returns the present Directory, the same object while nothing has changed; `address_of(agency, source)` the
    secret address, raising Misconfigured where there is none. `released` keeps that a source gave back what it held after its
    last feed (producers/release.py).
    """

    def __init__(
        self,
        directory: Callable[[], Directory],
        address_of: Callable[[str, str], str],
        log: Log,
        progress: SourceProgress,
        observer: CaptureObserver,
        kinds: Mapping[str, SourceKind],
        only: Collection[str] | None = None,
        incidents: Incidents | None = None,
        released: Callable[[Offboarding], None] = _keep_no_record,
    ) -> None:
        self._directory = directory
        self._address_of = address_of
        self._log = log
        self._progress = progress
        self._observer = observer
        self._kinds = kinds
        self._only = only
        self.incidents: Incidents = incidents or MemoryIncidents()
        self.releases = Releases(directory, address_of, progress, observer, self.incidents, kinds, released)
        self._threads: dict[str, threading.Thread] = {}

    def pause_seconds(self) -> float:
        """How long a source lets changes gather, by how many share this process."""
        return min(PAUSE_PER_SOURCE_SECONDS * len(self._threads), PAUSE_MOST_SECONDS)

    def run(self, stop: threading.Event) -> None:
        """Capture until `stop` is set."""
        ending = threading.Event()
        seen: Directory | None = None
        try:
            while not stop.wait(LOOK_SECONDS if seen else 0):
                directory = self._directory()
                if directory is not seen or not all(thread.is_alive() for thread in self._threads.values()):
                    seen = directory
                    self._begin(directory, ending)
        finally:
            ending.set()
            for thread in self._threads.values():
                thread.join(SETTLE_SECONDS * 3)

    def _begin(self, directory: Directory, ending: threading.Event) -> None:
        """Start a thread for every source that has feeds, or still holds a slot, and none yet; ended ones are forgotten."""
        self._threads = {name: thread for name, thread in self._threads.items() if thread.is_alive()}
        with_feeds = {(entry.contract.agency, entry.contract.source) for entry in directory.feeds.values()}
        wanted = {
            f"{agency.agency}.{config.name}"
            for agency in directory.agencies.values()
            for config in agency.sources
            if not config.is_flow and (agency.agency, config.name) in with_feeds
        }
        for name in sorted(wanted.union(self.releases.due()) - self._threads.keys()):
            if self._only is None or name in self._only:
                agency, _, source = name.partition(".")
                work = _Work(self, agency, source, ending)
                self._threads[name] = threading.Thread(target=work.run, name=f"capture {name}", daemon=True)
                self._threads[name].start()


@dataclass(frozen=True, slots=True)
class _Situation:
    """All that onboarding says of a source: what it was opened with, and whether that is still so."""

    agency: Agency
    config: SourceConfig
    address: str | None
    feeds: Mapping[str, FeedEntry]
    anchors: Mapping[str, Anchor]
    resyncs: Mapping[str, str]

    def opens_like(self, other: _Situation | None) -> bool:
        """Whether a source that was opened in the other situation need not be opened anew."""
        return other is not None and self.config == other.config and self.address == other.address


class _Work:
    """One source from opening to closing, over and over."""

    def __init__(self, capture: Capture, agency: str, source: str, ending: threading.Event) -> None:
        self._capture = capture
        self._agency = agency
        self._source = source
        self._ending = ending
        self._name = f"{agency}.{source}"
        self._seen: Directory | None = None
        self._feeds: Mapping[str, FeedEntry] = {}
        self._missing = MissingTopics(self._name, capture._log, capture.incidents)
        self._served: tuple[object, int, Mapping[str, FeedEntry]] = None, 0, {}
        self._may_leave_out = False
        self._looked_at = 0.0
        self._was_read = False

    def run(self) -> None:
        """The thread's body: ends when the source has gone from the directory and holds nothing any more, or capture ends."""
        observer, incidents = self._capture._observer, self._capture.incidents
        failures = 0
        while not self._ending.is_set() and (situation := self._situation()) is not None and situation.feeds:
            self._was_read = False
            error = self._tried(situation)
            if error is None:
                failures = 0
                continue
            observer.connected(source=self._name, is_connected=False)
            failures = 0 if self._was_read else failures
            if self._may_leave_out and self._missing.take(error, situation.feeds):
                continue
            match next_move(error):
                case Move.RETRY:
                    pause = getattr(error, "retry_after_seconds", None)
                    pause = pause or PAUSE_SECONDS[min(failures, len(PAUSE_SECONDS) - 1)]
                    _logger.warning("%s: tries again in %g s: %s", self._name, pause, error)
                    if failures and isinstance(error, MeshError) and not isinstance(error, StandingBy):
                        begin_for(incidents, "source", self._name, "parked", error)
                case Move.STOP:
                    pause = STOPPED_LOOK_SECONDS
                    _logger.error("%s: stopped: %s", self._name, error)
                    if isinstance(error, MeshError):
                        begin_for(incidents, "source", self._name, "stopped", error)
                case _:  # our code is unwell, and nobody else's feeds are to wait for that
                    pause = PARK_SECONDS[min(failures, len(PARK_SECONDS) - 1)]
                    reason = f"{type(error).__name__} in {_place(error)}"  # its text may quote a row
                    _logger.critical("%s: parked for %g s: %s", self._name, pause, reason)
                    fix = "report it with the place; nothing was lost, and it is tried again"
                    incidents.begin("source", self._name, state="parked", reason=reason, fix=fix)
            failures += 1
            self._rest(situation, pause)
        observer.connected(source=self._name, is_connected=False)
        if not self._ending.is_set():
            incidents.end("source", self._name)
            self._capture.releases.run(self._name, self._ending)

    def _tried(self, situation: _Situation) -> Exception | None:
        """Capture until it ends or fails; what it failed of."""
        try:
            self._once(situation)
        except Exception as error:  # noqa: BLE001 - judged by the caller
            return error
        return None

    def _rest(self, former: _Situation, seconds: float) -> None:
        """Wait, but not on after anything that the source was opened with has changed: what was mended waits for no restart."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if self._ending.wait(min(left, LOOK_SECONDS)) or self._situation() != former:
                return

    def _situation(self) -> _Situation | None:
        """The present one; None once the source is in the directory no more."""
        directory = self._capture._directory()
        agency = directory.agencies.get(self._agency)
        config = agency.source(self._source) if agency else None
        if agency is None or config is None or config.is_flow:
            return None
        try:
            address = self._capture._address_of(self._agency, self._source)
        except Misconfigured:
            address = None
        feeds = self._present_feeds()
        resyncs = {name: directory.resyncs[name] for name in (self._name, *feeds) if name in directory.resyncs}
        return _Situation(agency, config, address, feeds, directory.anchors, resyncs)

    def _present_feeds(self) -> Mapping[str, FeedEntry]:
        """The source's feeds; the same object as long as they are equal."""
        directory = self._capture._directory()
        if directory is not self._seen:
            self._seen = directory
            feeds = _feeds_of(directory, self._agency, self._source)
            if feeds != self._feeds:
                self._feeds = feeds
        return self._feeds

    def _feeds_served(self) -> Mapping[str, FeedEntry]:
        """Those of them that have their topics; the same object as long as nothing has changed."""
        feeds = self._present_feeds()
        if self._served[0] is not feeds or self._served[1] != self._missing.changes:
            self._served = feeds, self._missing.changes, self._missing.without(feeds)
        return self._served[2]

    def _open(self, situation: _Situation) -> Source:
        capture = self._capture
        kind = capture._kinds.get(situation.config.kind)
        if kind is None or kind.open is None:
            raise Misconfigured(
                f"source {self._name}",
                f"kind {situation.config.kind} is unknown",
                fix=f"use one of {', '.join(sorted(capture._kinds))}",
            )
        return kind.open(
            SourceSetting(
                agency=situation.agency,
                config=situation.config,
                address=situation.address or capture._address_of(self._agency, self._source),
                feeds=self._feeds_served,
                progress=capture._progress,
                observer=capture._observer,
                pause_seconds=capture.pause_seconds,
                anchors=lambda: capture._directory().anchors,
                incidents=capture.incidents,
                resyncs=lambda: capture._directory().resyncs,
                log=capture._log.setting,
            )
        )

    def _once(self, situation: _Situation) -> None:
        source = self._open(situation)
        self._may_leave_out = getattr(source, "copies_returning_feeds", False)
        lane = self._capture._log.lane()
        marks: deque[tuple[int, Any]] = deque()

        def confirm(acknowledged: int) -> None:
            while marks and marks[0][0] <= acknowledged:  # invariant 1: the broker has it, and all before it
                source.confirm(marks.popleft()[1])

        try:
            for batch in source.batches():
                self._append(lane, batch, marks)
                confirm(lane.acknowledged())
                if self._ending.is_set() or not self._is_opened_so(situation):
                    break
            lane.flush(SETTLE_SECONDS)
            confirm(lane.acknowledged())
        finally:
            lane.seal()
            if not lane.settle(SETTLE_SECONDS):
                _logger.warning("%s: records are still under way to the broker", self._name)
            source.close()

    def _is_opened_so(self, situation: _Situation) -> bool:
        """Whether the source need not be opened anew; looked at now and then."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_SECONDS:
            return True
        self._looked_at = now
        present = self._situation()
        self._missing.look(self._present_feeds())
        if present is None or not present.feeds:
            return False
        if present.address is None or present.opens_like(situation):
            return True
        _logger.info("%s: is opened anew with what its onboarding says now", self._name)
        return False

    def _append(self, lane: Lane, batch: SourceBatch, marks: deque[tuple[int, Any]]) -> None:
        if lane.failure is not None:  # KF-04: nothing after a lost record may be confirmed
            raise lane.failure
        observer = self._capture._observer
        start = lane.appended
        if batch.records:
            for feed, reason in append_or_point(lane, batch.records):
                observer.rejected(feed=feed, reason=reason, count=1)
            lane.seal()
        marks.extend((start + count, mark) for count, mark in batch.marks)
        for (feed, op), tally in batch.tallies.items():
            observer.captured(feed=feed, op=op, count=tally.count, size_bytes=tally.size_bytes)
        for (feed, reason), count in batch.rejected.items():
            observer.rejected(feed=feed, reason=reason, count=count)
        if batch.committed_at_ms is not None:
            observer.lag(source=self._name, seconds=max(0.0, time.time() - batch.committed_at_ms / 1000))
        elif not batch.records:
            observer.lag(source=self._name, seconds=0.0)
        if not self._was_read:
            self._was_read = True
            observer.connected(source=self._name, is_connected=True)
            self._capture.incidents.end("source", self._name)


def _feeds_of(directory: Directory, agency: str, source: str) -> Mapping[str, FeedEntry]:
    return {
        name: entry
        for name, entry in directory.feeds.items()
        if entry.contract.agency == agency and entry.contract.source == source
    }


def _place(error: BaseException) -> str:
    """File and line where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "an unknown place"
