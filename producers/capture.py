"""Capture: every source of every agency, each in a thread of its own, into the log.

For each source: read a batch, append it, and once the log has acknowledged what belongs to a mark, confirm that mark
(invariant 1). A source that cannot be reached is opened again after a pause; one that needs a person's decision stops, says so,
and is looked at again now and then; the others flow on (invariant 8). What nobody foresaw ends the process (invariant 7).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

from producers.log import Lane, Log
from producers.oversize import append_or_point
from producers.source import OpenSource, Progress, SourceBatch, SourceObserver, SourceSetting
from schemas.agency import Agency, SourceConfig
from schemas.directory import Directory, FeedEntry
from schemas.errors import MeshError, Misconfigured, Move, next_move
from schemas.incident import Incidents, MemoryIncidents, begin_for

LOOK_SECONDS = 1.0
PAUSE_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)
STOPPED_LOOK_SECONDS = 60.0
SETTLE_SECONDS = 10.0

PAUSE_PER_SOURCE_SECONDS = 0.001
PAUSE_MOST_SECONDS = 0.025
"""All sources of a process together wake about a thousand times a second. A server that holds many databases wakes every
one of its walsenders at each commit in any of them, and each then sends a keepalive: 17 databases at 1,500 commits a second
made 15,000 context switches a second, and half a core of them."""

_logger = logging.getLogger(__name__)


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
    """Hop 1. `kinds` maps a source's kind to what opens it; `only` limits the work to sources named `<agency>.<source>`.

    `directory` returns the present Directory, the same object while nothing has changed; `address_of(agency, source)` the
    secret address, raising Misconfigured where there is none.
    """

    def __init__(
        self,
        directory: Callable[[], Directory],
        address_of: Callable[[str, str], str],
        log: Log,
        progress: Progress,
        observer: CaptureObserver,
        kinds: Mapping[str, OpenSource],
        only: Collection[str] | None = None,
        incidents: Incidents | None = None,
    ) -> None:
        self._directory = directory
        self._address_of = address_of
        self._log = log
        self._progress = progress
        self._observer = observer
        self._kinds = kinds
        self._only = only
        self.incidents: Incidents = incidents or MemoryIncidents()
        self._crash: BaseException | None = None
        self._threads: dict[str, threading.Thread] = {}

    def pause_seconds(self) -> float:
        """How long a source lets changes gather, by how many share this process."""
        return min(PAUSE_PER_SOURCE_SECONDS * len(self._threads), PAUSE_MOST_SECONDS)

    def run(self, stop: threading.Event) -> None:
        """Capture until `stop` is set. Raises whatever a source's thread did not foresee."""
        threads = self._threads
        ending = threading.Event()
        seen: Directory | None = None
        try:
            while not stop.wait(LOOK_SECONDS if seen else 0) and self._crash is None:
                directory = self._directory()
                if directory is seen:
                    continue
                seen = directory
                for agency in directory.agencies.values():
                    for config in agency.sources:
                        if config.is_flow:
                            continue
                        name = f"{agency.agency}.{config.name}"
                        if name in threads or (self._only is not None and name not in self._only):
                            continue
                        if _feeds_of(directory, agency, config):
                            work = _Work(self, agency, config, ending)
                            threads[name] = threading.Thread(target=work.run, name=f"capture {name}", daemon=True)
                            threads[name].start()
        finally:
            ending.set()
            for thread in threads.values():
                thread.join(SETTLE_SECONDS * 3)
        if self._crash is not None:
            raise self._crash


class _Work:
    """One source from opening to closing, over and over."""

    def __init__(self, capture: Capture, agency: Agency, config: SourceConfig, ending: threading.Event) -> None:
        self._capture = capture
        self._agency = agency
        self._config = config
        self._ending = ending
        self._name = f"{agency.agency}.{config.name}"
        self._seen: Directory | None = None
        self._feeds: Mapping[str, FeedEntry] = {}
        self._was_read = False

    def run(self) -> None:
        """The thread's body."""
        observer = self._capture._observer
        failures = 0
        while not self._ending.is_set():
            self._was_read = False
            try:
                self._once()
            except Exception as error:
                observer.connected(source=self._name, is_connected=False)
                failures = 0 if self._was_read else failures
                match next_move(error):
                    case Move.RETRY:
                        pause = getattr(error, "retry_after_seconds", None)
                        pause = pause or PAUSE_SECONDS[min(failures, len(PAUSE_SECONDS) - 1)]
                        failures += 1
                        _logger.warning("%s: tries again in %g s: %s", self._name, pause, error)
                        self._ending.wait(pause)
                    case Move.STOP:
                        _logger.error("%s: stopped: %s", self._name, error)  # noqa: TRY400 - a decision is asked for, not a trace
                        if isinstance(error, MeshError):
                            begin_for(self._capture.incidents, "source", self._name, "stopped", error)
                        self._wait_for_a_person()
                    case _:
                        _logger.critical("%s: ends the process", self._name, exc_info=error)
                        self._capture._crash = error
                        return
        observer.connected(source=self._name, is_connected=False)

    def _wait_for_a_person(self) -> None:
        """Look again when the source's feeds or the anchors change, or after a while: what was mended waits for no restart."""
        feeds, anchors = self._present_feeds(), self._capture._directory().anchors
        deadline = time.monotonic() + STOPPED_LOOK_SECONDS
        while time.monotonic() < deadline and self._present_feeds() is feeds:
            if self._capture._directory().anchors != anchors:
                return
            if self._ending.wait(LOOK_SECONDS):
                return

    def _present_feeds(self) -> Mapping[str, FeedEntry]:
        """The source's feeds; the same object as long as they are equal."""
        directory = self._capture._directory()
        if directory is not self._seen:
            self._seen = directory
            feeds = _feeds_of(directory, self._agency, self._config)
            if feeds != self._feeds:
                self._feeds = feeds
        return self._feeds

    def _once(self) -> None:
        capture = self._capture
        opener = capture._kinds.get(self._config.kind)
        if opener is None:
            raise Misconfigured(
                f"source {self._name}",
                f"kind {self._config.kind} is unknown",
                fix=f"use one of {', '.join(sorted(capture._kinds))}",
            )
        setting = SourceSetting(
            agency=self._agency,
            config=self._config,
            address=capture._address_of(self._agency.agency, self._config.name),
            feeds=self._present_feeds,
            progress=capture._progress,
            observer=capture._observer,
            pause_seconds=capture.pause_seconds,
            anchors=lambda: capture._directory().anchors,
            incidents=capture.incidents,
            log=capture._log.setting,
        )
        source = opener(setting)
        lane = capture._log.lane()
        marks: deque[tuple[int, Any]] = deque()

        def confirm(acknowledged: int) -> None:
            while marks and marks[0][0] <= acknowledged:  # invariant 1: the broker has it, and all before it
                source.confirm(marks.popleft()[1])

        try:
            for batch in source.batches():
                self._append(lane, batch, marks)
                confirm(lane.acknowledged())
                if self._ending.is_set():
                    lane.flush(SETTLE_SECONDS)
                    confirm(lane.acknowledged())
                    break
        finally:
            lane.seal()
            if not lane.settle(SETTLE_SECONDS):
                _logger.warning("%s: records are still under way to the broker", self._name)
            source.close()

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


def _feeds_of(directory: Directory, agency: Agency, config: SourceConfig) -> Mapping[str, FeedEntry]:
    return {
        name: entry
        for name, entry in directory.feeds.items()
        if entry.contract.agency == agency.agency and entry.contract.source == config.name
    }
