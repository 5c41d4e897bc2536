"""The work on one source: opened, run and closed, over and over, until it has gone from the directory or capture ends.

A source that cannot be reached is opened again after a pause; one that needs a person's decision stops, says so, and is looked at
again now and then; one that trips our own code parks and is opened again ever more seldom. Whatever its onboarding says anew
(feeds, options, address, anchors) it takes up within seconds.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping

from producers.missing_topic import MissingTopics
from producers.release import Releases
from producers.run import CaptureRun
from producers.setting import CaptureSetting
from producers.situation import Onboarded, Situation
from producers.source import Source, SourceSetting, StandingBy
from schemas.agreement.directory import FeedEntry
from schemas.backoff import Backoff
from schemas.errors import MeshError, Misconfigured, Move, asked_seconds, next_move
from schemas.incident import State, begin_for
from schemas.trace import described

LOOK_SECONDS = 1.0
PAUSE = Backoff(first_seconds=1.0, longest_seconds=30.0)
PARK = Backoff(first_seconds=5.0, longest_seconds=300.0)
STOPPED_LOOK_SECONDS = 60.0

_logger = logging.getLogger(__name__)


class SourceWork:
    """`run` is the body of the source's own thread."""

    def __init__(
        self, setting: CaptureSetting, releases: Releases, agency: str, source: str, ending: threading.Event
    ) -> None:
        self._setting = setting
        self._releases = releases
        self._ending = ending
        self._name = f"{agency}.{source}"
        self._onboarded = Onboarded(setting, agency, source)
        self._missing = MissingTopics(self._name, setting.log, setting.incidents)
        self._served: tuple[object, int, Mapping[str, FeedEntry]] = None, 0, {}
        self._may_leave_out = False
        self._looked_at = 0.0
        self._was_read = False

    def run(self) -> None:
        """Ends when the source has gone from the directory and holds nothing any more, or capture ends."""
        observer, incidents = self._setting.observer, self._setting.incidents
        failures = 0
        while not self._ending.is_set() and (situation := self._onboarded.situation()) is not None and situation.feeds:
            self._was_read = False
            error = self._tried(situation)
            if error is None:
                failures = 0
                continue
            observer.connected(source=self._name, is_connected=False)
            failures = 0 if self._was_read else failures
            if self._may_leave_out and self._missing.take(error, situation.feeds):
                continue
            failures += 1
            self._rest(situation, self._judged(error, failures))
        observer.connected(source=self._name, is_connected=False)
        if not self._ending.is_set():
            incidents.end("source", self._name)
            self._releases.run(self._name, self._ending)

    # ── after an error ───────────────────────────────────────────────────────────────────────────────────────────────

    def _judged(self, error: Exception, failures: int) -> float:
        """Say what the error means for the source; how long to wait before it is opened again."""
        match next_move(error):
            case Move.RETRY:
                pause = PAUSE.after(failures, asked_seconds(error))
                _logger.warning("%s: tries again in %g s: %s", self._name, pause, error)
                if failures > 1 and not isinstance(error, StandingBy):
                    self._tell("parked", error)
            case Move.STOP:
                pause = STOPPED_LOOK_SECONDS
                _logger.error("%s: stopped: %s", self._name, error)
                self._tell("stopped", error)
            case _:  # our code is unwell, and nobody else's feeds are to wait for that
                pause = PARK.after(failures)
                reason = described(error)
                _logger.critical("%s: parked for %g s: %s", self._name, pause, reason)
                fix = "report it with the place; nothing was lost, and it is tried again"
                self._setting.incidents.begin("source", self._name, state="parked", reason=reason, fix=fix)
        return pause

    def _tell(self, state: State, error: Exception) -> None:
        assert isinstance(error, MeshError), "what nobody foresaw is a crash"
        begin_for(self._setting.incidents, "source", self._name, state, error)

    def _rest(self, former: Situation, seconds: float) -> None:
        """Wait, but not on after anything that the source was opened with has changed: what was mended waits for no restart."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if self._ending.wait(min(left, LOOK_SECONDS)) or self._onboarded.situation() != former:
                return

    # ── a run ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _tried(self, situation: Situation) -> Exception | None:
        """Capture until it ends or fails; what it failed of."""
        try:
            source = self._open(situation)
            self._may_leave_out = getattr(source, "copies_returning_feeds", False)
            run = CaptureRun(self._name, source, self._setting.log.lane(), self._setting.observer, self._begun)
            run.run(lambda: not self._ending.is_set() and self._is_opened_so(situation))
        except Exception as error:  # noqa: BLE001 - judged by the caller
            return error
        return None

    def _begun(self) -> None:
        """The source is ours, and nothing of it is written yet."""
        self._was_read = True
        feeds = self._feeds_served().values()
        self._setting.ledger.renew((entry.feed, number) for entry in feeds for number in range(entry.partitions))
        self._setting.observer.connected(source=self._name, is_connected=True)
        self._setting.incidents.end("source", self._name)

    def _is_opened_so(self, situation: Situation) -> bool:
        """Whether the source need not be opened anew; looked at now and then."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_SECONDS:
            return True
        self._looked_at = now
        present = self._onboarded.situation()
        self._missing.look(self._onboarded.feeds())
        if present is None or not present.feeds:
            return False
        if present.address is None or present.opens_like(situation):
            return True
        _logger.info("%s: is opened anew with what its onboarding says now", self._name)
        return False

    def _feeds_served(self) -> Mapping[str, FeedEntry]:
        """The source's feeds that have their topics; the same object as long as nothing has changed."""
        feeds = self._onboarded.feeds()
        if self._served[0] is not feeds or self._served[1] != self._missing.changes:
            self._served = feeds, self._missing.changes, self._missing.without(feeds)
        return self._served[2]

    def _open(self, situation: Situation) -> Source:
        setting = self._setting
        kind = setting.kinds.get(situation.config.kind)
        if kind is None or kind.open is None:
            raise Misconfigured(
                f"source {self._name}",
                f"kind {situation.config.kind} is unknown",
                fix=f"use one of {', '.join(sorted(setting.kinds))}",
            )
        return kind.open(
            SourceSetting(
                agency=situation.agency,
                config=situation.config,
                address=situation.address or self._onboarded.address(),
                feeds=self._feeds_served,
                progress=setting.progress,
                observer=setting.observer,
                pause_seconds=setting.pause_seconds,
                anchors=lambda: setting.directory().anchors,
                incidents=setting.incidents,
                resyncs=lambda: setting.directory().resyncs,
                log=setting.log.setting,
                ledger=setting.ledger,
                state=setting.state,
                entrance=setting.entrance,
            )
        )
