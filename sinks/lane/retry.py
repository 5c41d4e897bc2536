"""RetryPolicy: what a lane does about a target that is unwell, and the loop that tries again without leaving the group."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from schemas.backoff import Backoff
from schemas.change import Batch
from schemas.errors import MeshError, Move, Transient, asked_seconds, next_move
from schemas.log.reader import Reader
from sinks.lane.patience import Patience
from sinks.lane.report import LaneReport
from sinks.sink import Gone

ATTEMPTS = Backoff(first_seconds=0.2, longest_seconds=30.0, jitter=0.25)
PARKED = Backoff(first_seconds=30.0, longest_seconds=30.0, jitter=0.25)
DEFERRED = Backoff(first_seconds=0.2, longest_seconds=5.0)


class RetryDecision(NamedTuple):
    """What comes after an error. `is_parked`: it is told that the lane stands still; `gives_up`: nothing is tried any more."""

    wait_seconds: float
    is_parked: bool = False
    gives_up: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """`backoff` is between attempts at a target that is unwell, `parked` until what stands still is tried again.

    `deferred` is for changes, and topics, that wait for others.
    """

    backoff: Backoff = ATTEMPTS
    parked: Backoff = PARKED
    deferred: Backoff = DEFERRED
    parked_after_attempts: int = 5
    restarts_max: int = 5

    def decide(self, error: Exception, failures: int) -> RetryDecision:
        """After so many in a row that called for the same move (1 or more).

        Departs from `next_move` where only the lane is concerned: whose receiver a person gave back begins at once, and what
        nobody foresaw parks the lane and not the process.
        """
        match next_move(error):
            case Move.RETRY:
                wait = self.backoff.after(failures, asked_seconds(error))
                return RetryDecision(wait, is_parked=failures >= self.parked_after_attempts)
            case Move.START_AFRESH:
                return RetryDecision(self.backoff.after(1))
            case Move.STOP if isinstance(error, Gone):
                return RetryDecision(self.backoff.after(1))
            case Move.CRASH if not isinstance(error, MeshError):
                return RetryDecision(self.parked.after(1), is_parked=True, gives_up=failures > self.restarts_max)
            case _:
                return RetryDecision(self.parked.after(1), is_parked=True)


class LaneStoppedError(Exception):
    """The lane was told to stop while it waited."""


class RetryLoop:
    """Tries what a lane does at its target until it is done, and stays in the group meanwhile. For one session."""

    def __init__(self, policy: RetryPolicy, report: LaneReport, patience: Patience, stop: threading.Event) -> None:
        self._policy = policy
        self._patience = patience
        self._report = report
        self._stop = stop
        self.has_progress = False

    def run(self, reader: Reader, act: Callable[[], Sequence[Batch]], pending: Sequence[Batch]) -> Sequence[Batch]:
        """What `act` gives once it raises no Transient. Raises LaneStoppedError, and Gone once patience is over."""
        attempts = 0
        while True:
            try:
                done = act()
            except Transient as error:
                attempts += 1
                self._patience.failed(error, time.monotonic())
                decision = self._policy.decide(error, attempts)
                self._report.retried()
                self._report.behind(pending)
                self._report.unwell(error, attempts, is_parked=decision.is_parked)
                reader.idle(decision.wait_seconds, self._stop)
                reader.follow(self._report.grants.keys(), self._report.held)
                if self._stop.is_set():
                    raise LaneStoppedError from None
            else:
                self.has_progress = True
                self._patience.succeeded()
                self._report.unpark()
                return done
