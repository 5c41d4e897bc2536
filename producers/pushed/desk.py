"""Push desk: where batches wait between the endpoint's threads, which read and answer requests, and the source's, which tells them.

It bounds what is in hand: so many requests at a time, each with its rows in a file. While the batch at the head has waited for Kafka
for longer than an answer may take, others are asked to come again before they are read (back-pressure, PU-04).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from producers.pushed.answer import PushAnswer, again
from schemas.agreement.directory import FeedEntry

PAUSE_SECONDS = 5.0
"""After which a script that was asked to come again is worth listening to."""


@dataclass(slots=True, kw_only=True, eq=False)
class PushedBatch:
    """One request, read and found right. `sum` is that of its key, mode and rows; `path` has the rows, as they were sent."""

    feed: str
    key: str
    sum: str
    is_whole: bool
    path: Path
    at_ms: int
    answer: Future[PushAnswer] = field(default_factory=Future[PushAnswer])

    def resolve(self, answer: PushAnswer) -> None:
        """Answer it, once, and let its rows go."""
        with suppress(InvalidStateError):
            self.answer.set_result(answer)
        self.path.unlink(missing_ok=True)


class PushDesk:
    """Any thread. `now` is a clock that only goes forward."""

    def __init__(self, waiting_max: int, answer_seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self._waiting_max, self._answer_seconds, self._now = waiting_max, answer_seconds, now
        self._lock = threading.Lock()
        self._entered = 0
        self._waiting: dict[str, deque[PushedBatch]] = {}
        self._told: dict[str, tuple[PushedBatch, float]] = {}
        self._is_closed = False
        self.entries: Mapping[str, FeedEntry] = {}
        """The feeds that take rows now."""

    # ── the endpoint's side ──────────────────────────────────────────────────────────────────────────────────────────

    def enter(self, feed: str, key: str) -> PushAnswer | None:
        """Why a request is not even read; None where it is, and is to `leave`."""
        with self._lock:
            if self._is_closed:
                return CLOSED
            if self._entered >= self._waiting_max:
                return again(429, f"{self._entered} requests are in hand", PAUSE_SECONDS)
            head = min((since for _, since in self._told.values()), default=None)
            if head is not None and self._now() - head > self._answer_seconds and not self._has(feed, key):
                waited = int(self._now() - head)
                return again(429, f"Kafka has not taken the batch before it for {waited} s", PAUSE_SECONDS)
            self._entered += 1
            return None

    def leave(self) -> None:
        """A request is answered."""
        with self._lock:
            self._entered -= 1

    def lay(self, batch: PushedBatch) -> PushedBatch:
        """Let it wait for its turn; returns the one whose answer counts: one of the same key that is here already, maybe."""
        with self._lock:
            if self._is_closed:
                batch.resolve(CLOSED)
                return batch
            if (known := self._of_key(batch.feed, batch.key)) is not None:
                return known
            self._waiting.setdefault(batch.feed, deque()).append(batch)
            return batch

    def withdraw(self, batch: PushedBatch) -> bool:
        """Take back what still waits for its turn; whether it did: otherwise it may be told."""
        with self._lock:
            waiting = self._waiting.get(batch.feed, deque())
            if batch not in waiting:
                return False
            waiting.remove(batch)
        batch.resolve(again(429, "Kafka has not taken the batches before it in time", PAUSE_SECONDS))
        return True

    def _has(self, feed: str, key: str) -> bool:
        return self._of_key(feed, key) is not None

    def _of_key(self, feed: str, key: str) -> PushedBatch | None:
        told = [self._told[feed][0]] if feed in self._told else []
        return next((each for each in (*told, *self._waiting.get(feed, ())) if each.key == key), None)

    # ── the source's side ────────────────────────────────────────────────────────────────────────────────────────────

    def take(self, feed: str) -> PushedBatch | None:
        """The next batch of a feed; it is in hand until it is settled."""
        with self._lock:
            waiting = self._waiting.get(feed)
            if not waiting:
                return None
            batch = waiting.popleft()
            self._told[feed] = batch, self._now()
            return batch

    def settle(self, feed: str, asked: str, answer: PushAnswer) -> None:
        """What became of the batch of this sum: to whoever waits for it."""
        with self._lock:
            told = self._told.get(feed)
            found = [each for each in self._waiting.get(feed, ()) if each.sum == asked]
            for each in found:
                self._waiting[feed].remove(each)
            if told is not None and told[0].sum == asked:
                del self._told[feed]
                found.append(told[0])
        for each in found:
            each.resolve(answer)

    def close(self) -> None:
        """Nothing is taken any more; whoever waits is asked to come again."""
        with self._lock:
            self._is_closed = True
            found = [batch for waiting in self._waiting.values() for batch in waiting]
            found += [batch for batch, _ in self._told.values()]
            self._waiting, self._told = {}, {}
        for batch in found:
            batch.resolve(CLOSED)


CLOSED = again(503, "capture is starting over; the batch may be taken or not", PAUSE_SECONDS)
