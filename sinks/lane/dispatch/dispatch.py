"""Dispatch: how a lane delivers through a sink whose receiver answers for each change by itself.

Changes go out as soon as their order allows (buffer.py), as many requests at a time as the sink says. Nothing
here waits for an answer: the lane goes on polling its group, so a slow receiver costs neither its partitions nor a second
delivery, and before every request it is asked anew whether the grant still stands.

| answer                        | what happens                                                                                   |
|-------------------------------|------------------------------------------------------------------------------------------------|
| taken                         | its offset is durable once everything before it is settled                                     |
| Rejected                      | a dead letter, at once; several in one request go one by one first                              |
| Gone                          | the lane stops until a person resumes it                                                       |
| Busy                          | nothing is sent until the time that the receiver asks for                                      |
| anything else, others taken   | the change's key waits and is tried again; when its tries are used up it is a dead letter       |
| anything else, nothing taken  | the receiver is unwell: one change at a time finds out whether it still is; parked after a while |
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from schemas.change import Batch
from schemas.errors import MeshError, Move, Rejected, next_move
from schemas.log.reader import Reader
from sinks.lane.dead_letters import DeadLetters, Tries
from sinks.lane.dispatch.buffer import KeyOrderedBuffer
from sinks.lane.dispatch.buffered import BufferedChange
from sinks.lane.pace import Pace
from sinks.lane.retry import RetryLoop
from sinks.lane.setup import LaneParts, LaneSetup
from sinks.sink import AnsweringSink, Busy, Gone, OfferingSink

Answer = Future[MeshError | None]
GLANCE_SECONDS = 0.01
TELL_EVERY_SECONDS = 1.0
END_WITHIN_SECONDS = 2.0
"""For the answers that are still out when a lane ends; what has none by then is broken off and sent again."""


class Dispatch:
    """One session of such a lane."""

    def __init__(
        self,
        setup: LaneSetup,
        parts: LaneParts,
        *,
        reader: Reader,
        sink: AnsweringSink,
        dead_letters: DeadLetters,
        retries: RetryLoop,
    ) -> None:
        self._config = setup.config
        self._batching = setup.batching
        self._now = setup.now
        self._ledger = setup.ledger
        self._report = parts.report
        self._held = parts.report.held  # others end the session, which first hears the answers that are out
        self._refusals = parts.refusals
        self._endings = parts.endings
        self._stop = parts.stop
        self._reader = reader
        self._sink = sink
        self._offering = sink if isinstance(sink, OfferingSink) else None
        self._dead_letters = dead_letters
        self._retries = retries
        self._buffer = KeyOrderedBuffer(sink.terms.schedule_seconds)
        self._under_way: dict[Answer, list[BufferedChange]] = {}
        self._answers = SimpleQueue[Answer]()
        self._pool = ThreadPoolExecutor(sink.terms.concurrency, thread_name_prefix=f"send {parts.report.name}")
        self._pace = Pace(setup.policy.changes_per_second)
        self._patience = parts.patience
        self._retry = setup.retry
        self._is_full = False
        self._told_at = 0.0

    def run(self, goes_on: Callable[[], bool]) -> None:
        """Deliver while the lane's session goes on. Raises what is not the receiver's: Fenced, ContractBroken for a gap, Gone."""
        try:
            while goes_on():
                self._reader.follow(self._report.grants.keys(), self._held)
                self._collect(GLANCE_SECONDS if self._under_way else 0.0)
                self._keep_ours()
                self._endings.look(self._sink, self._now(), time.monotonic())
                self._send()
                self._confirm()
                self._tell()
                self._read()
        finally:
            self._end()

    def _keep_ours(self) -> None:
        # The grants are those of this moment: a revoked one ends between two requests (invariant 6). They are looked at before
        # `stop`: a lane that ends is first told so, and loses its grants then, and the answers that are out still count.
        grants, reader = self._report.grants, self._reader
        if not self._stop.is_set() and self._buffer.keep(lambda topic, of: topic in grants and reader.owns(topic, of)):
            self._withdraw()

    def _read(self) -> None:
        now = time.monotonic()
        quiet = min(self._config.poll_seconds, max(self._buffer.wait_seconds(now), self._pace.wait_seconds(now)))
        within = 0.0 if self._under_way else quiet
        count, size = self._buffer.count, self._buffer.size_bytes
        share = 0.5 if self._is_full else 1.0  # once full, room is made before more is read
        self._is_full = (
            count >= self._batching.records_max * share
            or size >= self._batching.bytes_max * share
            or self._buffer.is_full_of_settled
        )
        if self._is_full:
            self._reader.idle(within, self._stop)
            return
        records_max, bytes_max = self._batching.records_max - count, self._batching.bytes_max - size
        for batch in self._reader.batches(records_max=records_max, bytes_max=bytes_max, within_seconds=within):
            self._buffer.add(batch)

    def _send(self) -> None:
        terms = self._sink.terms
        while len(self._under_way) < terms.concurrency and (run := self._take(terms.batch_max)):
            messages = []
            for entry in run:
                try:
                    message = self._sink.message(entry.partition.topic, entry.record)
                except Rejected as error:
                    self._dead_letter(entry, error)
                    continue
                if message is None:
                    self._buffer.settle(entry)
                messages.append(message)
            if len(messages) < len(run) or None in messages:
                self._buffer.apart(run)
            else:
                answer = self._ask(run, messages)
                self._under_way[answer] = run
                answer.add_done_callback(self._answers.put)

    def _take(self, count_max: int) -> list[BufferedChange]:
        """The next changes to send in one request, as far as order and the subscriber's pace allow; tries count, too."""
        now = time.monotonic()
        if not (allowed := self._pace.allowed(now)):
            return []
        run = self._buffer.take(now, min(count_max, allowed))
        self._pace.spend(len(run))
        return run

    def _ask(self, run: list[BufferedChange], messages: list[Any]) -> Answer:
        if self._offering is None:
            return self._pool.submit(self._sink.send, messages)
        [entry], [message] = run, messages  # its terms say one change at a time
        return self._offering.offer((entry.partition.topic, entry.partition.number), entry.record.offset, message)

    def _withdraw(self) -> None:
        """What has not gone out yet of partitions that are no longer ours does not go out any more."""
        for answer, run in self._under_way.items():
            if all(entry.partition.is_gone for entry in run):
                answer.cancel()

    def _answered(self, within_seconds: float) -> Iterator[Answer]:
        with suppress(Empty):
            if within_seconds:
                yield self._answers.get(timeout=within_seconds)
            while True:
                yield self._answers.get_nowait()

    def _collect(self, within_seconds: float) -> None:
        taken: list[Batch] = []
        for answer in self._answered(within_seconds):
            run, now = self._under_way.pop(answer), time.monotonic()
            if answer.cancelled():
                self._buffer.apart(run)
                continue
            match error := answer.result():
                case None:
                    taken += [entry.batch for entry in run if not entry.partition.is_gone]
                    self._buffer.accepted(run, now)
                case Gone():
                    self._buffer.failed(run, error, now)
                    raise error
                case Rejected():
                    if len(run) == 1:
                        self._dead_letter(run[0], error, run[0].failures + 1)
                    self._buffer.apart(run)
                case _:
                    self._failed(run, error, now)
        if taken:
            self._retries.has_progress = True
            self._patience.succeeded()
            self._refusals.taken(self._report.group)
            self._ledger.delivered(taken)
            self._report.delivered(taken)
            self._report.unpark()

    def _failed(self, run: list[BufferedChange], error: MeshError, now: float) -> None:
        self._report.retried()
        if isinstance(error, Busy):
            self._buffer.breaker.pause(now + (error.retry_after_seconds or 0.0))
        for entry in self._buffer.failed(run, error, now):
            times = f"{error.problem}, {entry.failures} times, while other changes were taken"
            used_up = Rejected("tries_used_up", times)
            used_up.http_status = error.http_status
            self._dead_letter(entry, used_up, entry.failures)
        refuses_us = next_move(error) is Move.STOP and self._buffer.breaker.is_open
        attempts = self._buffer.breaker.attempts
        is_parked = refuses_us or attempts >= self._retry.parked_after_attempts
        if self._buffer.breaker.is_open:
            self._patience.failed(error, now)
        self._report.unwell(error, attempts, is_parked=is_parked)

    def _dead_letter(self, entry: BufferedChange, error: Rejected, attempts: int = 1) -> None:
        if entry.partition.is_gone:
            return
        grant_id = self._report.grant_of(entry.partition.topic)
        if (broken := self._refusals.count(self._report.group, error, grant_id)) is not None:
            raise broken
        first_at = self._now() - max(0.0, time.monotonic() - entry.first_tried_at)
        self._dead_letters.keep(
            entry.batch, error, Tries(attempts, first_at)
        )  # Invariant 3: awaited before the offset moves.
        self._buffer.settle(entry)

    def _confirm(self) -> None:
        for topic, partition, next_offset in self._buffer.durable():
            self._reader.done(topic, partition, next_offset)  # Invariant 1: the subscriber has everything below.

    def _tell(self) -> None:
        if (now := time.monotonic()) < self._told_at + TELL_EVERY_SECONDS:
            return
        self._told_at = now
        self._report.notices.sweep()
        if not self._buffer.count:
            self._report.caught_up(has_partitions=self._reader.has_partitions)
            return
        self._report.behind(entry.batch for entry in self._buffer.waiting())
        self._report.keys_wait(self._buffer.suspects())

    def _end(self) -> None:
        until = time.monotonic() + END_WITHIN_SECONDS
        while self._under_way and (left := until - time.monotonic()) > 0:
            with suppress(MeshError):
                self._collect(left)
        self._confirm()
        self._pool.shutdown(wait=False, cancel_futures=True)
