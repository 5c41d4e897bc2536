"""Lane: one writer's way into the log, and its watermark: how far all that was appended is durable without a hole."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from schemas.errors import MeshError, Misconfigured, Rejected, Transient
from schemas.log.fatal import unwrapped
from schemas.log.reports.reports import Accounts, Reports
from schemas.log.reports.run import AccountedRun, Run

RUN_RECORDS = 512
"""Records per run: the grain of the watermark between two looks at it."""
METADATA_SECONDS = 10.0


Headers = Sequence[tuple[str, bytes]]
Outgoing = tuple[str, bytes | None, bytes | None, int, Headers | None]
"""Topic, key, value, partition (-1 lets the key decide), headers: what `Lane.append` takes."""


_logger = logging.getLogger(__name__)


class NoTopic(Misconfigured):
    """The topic is not on the broker: never made, or deleted by somebody."""

    def __init__(self, topic: str) -> None:
        super().__init__(f"topic {topic}", "does not exist on the broker", fix="onboard the feed: `mesh onboard`")
        self.topic = topic


class Line:
    """A producer that lanes share. One thread at a time serves its callbacks, so that a run's counters have a single writer."""

    def __init__(self, producer: Producer, accounts: Accounts | None = None) -> None:
        self.producer = producer
        self.reports = Reports(accounts) if accounts is not None else None
        self.lock = threading.Lock()
        self.is_dead = False
        """The client gave up for good, as when the broker has forgotten its sequence: only another producer helps."""

    def poll(self, seconds: float) -> None:
        """Serve callbacks, waiting for the first so long. Raises Transient once the client has given up for good."""
        with self._living():
            self.producer.poll(seconds)

    def flush(self, within_seconds: float) -> int:
        """Send what is queued, without lingering, and wait for it; how many records are left. Raises as `poll`."""
        with self._living():
            return self.producer.flush(within_seconds)

    @contextmanager
    def _living(self) -> Iterator[None]:
        try:
            with unwrapped():
                yield
            if self.reports is not None:
                self.reports.settle()
        except KafkaException as error:  # only what is fatal is raised by a wait
            self.is_dead = True
            raise Transient(f"the producer is dead ({error.args[0].name()})") from error


class Lane:
    """One writer's way into the log. Appended to by one thread; `acknowledged` may be asked by any other."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._produce = line.producer.produce
        self._run_lock = threading.Lock()
        self._run = self._new_run()
        self._on_delivery = (
            self._run.on_delivery
        )  # of the run of the moment: a method that is asked for is made each time
        self._runs: deque[Run] = deque([self._run])
        self._acknowledged = 0
        self._sealed = 0
        self._failure: MeshError | None = None

    @property
    def appended(self) -> int:
        """How many records were appended so far."""
        return self._sealed + self._run.appended

    @property
    def failure(self) -> MeshError | None:
        """Why this lane is dead, if it is: its watermark stands still and every append raises."""
        return self._failure

    def append(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        *,
        partition: int = -1,
        headers: Headers | None = None,
    ) -> None:
        """Queue one record; when the queue is full, wait until there is room.

        Raises Rejected("too_large") for a record beyond `message.max.bytes` (KF-06): it was not queued, the lane lives
        on. Raises the lane's failure once any delivery has failed.
        """
        if self._failure is not None:
            raise self._failure
        run = self._run
        while True:
            try:
                if headers is None:
                    self._produce(topic, value, key, partition, self._on_delivery)
                else:
                    listed: Any = headers if headers.__class__ is list else list(headers)
                    self._produce(topic, value, key, partition, self._on_delivery, headers=listed)
                break
            except BufferError:  # KF-05: hold the caller back; whoever must keep a connection alive has a thread for it
                self._poll(0.05)
                if self._failure is not None:
                    raise self._failure from None
            except KafkaException as error:
                if error.args[0].fatal():
                    self.fail(error.args[0], topic)
                elif has_grown(self._line.producer, error, topic, partition):
                    continue
                raise _refused(error.args[0], topic) from error
        run.appended += 1
        if run.appended >= RUN_RECORDS:
            self.seal()
            self._poll(0)

    def append_all(self, records: Iterable[Outgoing]) -> None:
        """`append` for many records of (topic, key, value, partition, headers), in one frame.

        Raises as `append`; what follows a refused record is then not appended: `appended` tells how far it came.
        """
        if self._failure is not None:
            raise self._failure
        produce, run = self._produce, self._run
        on_delivery = run.on_delivery
        for topic, key, value, partition, headers in records:
            try:
                if headers is not None:
                    raise BufferError  # the careful way
                produce(topic, value, key, partition, on_delivery)
                run.appended += 1
                is_full = run.appended >= RUN_RECORDS
            except (BufferError, KafkaException):
                self.append(topic, key, value, partition=partition, headers=headers)
                is_full = run is not self._run
            if is_full:
                if run is self._run:
                    self.seal()
                    self._poll(0)
                run = self._run
                on_delivery = run.on_delivery

    def seal(self) -> None:
        """Let the watermark reach what was appended so far. For the appending thread, whenever it pauses."""
        if self._run.appended:
            run = self._new_run()
            self._sealed += self._run.appended
            self._runs.append(run)
            self._run, self._on_delivery = run, run.on_delivery

    def _new_run(self) -> Run:
        reports = self._line.reports
        return Run(self) if reports is None else AccountedRun(self, reports)

    def acknowledged(self) -> int:
        """How many records, counted from the first appended one, the broker holds without a hole (invariant 1).

        Counts whole sealed runs only. Any thread may ask.
        """
        self._poll(0)
        return self._advance()

    def _advance(self) -> int:
        runs = self._runs
        with self._run_lock:
            while len(runs) > 1 and runs[0].delivered == runs[0].appended:  # the last run is still open
                self._acknowledged += runs.popleft().appended
        return self._acknowledged

    def flush(self, within_seconds: float) -> None:
        """Return once everything appended so far is acknowledged. Raises Transient if it is not in time."""
        self.seal()
        wanted = self.appended
        deadline = time.monotonic() + within_seconds
        while self.acknowledged() < wanted:
            if self._failure is not None:
                raise self._failure
            if time.monotonic() > deadline:
                missing = wanted - self._acknowledged
                raise Transient(f"the broker has not acknowledged {missing} records within {within_seconds:g} s")
            self._poll(0.02, until=wanted)
        if self._failure is not None:
            raise self._failure

    def settle(self, within_seconds: float) -> bool:
        """Wait until no record of this lane is under way any more, delivered or not; whether that was so in time.

        A writer that starts over from an older position does this first, so that nothing of the past overtakes it.
        """
        deadline = time.monotonic() + within_seconds
        while any(run.returned != run.appended for run in list(self._runs)):
            if time.monotonic() > deadline:
                return False
            self._poll(0.02)
        return True

    def fail(self, error: KafkaError, topic: str | None) -> None:
        """Freeze the watermark: called for a delivery that failed for good (KF-04)."""
        if self._failure is None:
            self._failure = _failure(error, topic)
            _logger.error("a record for %s was not delivered: %s", topic, error)
        if error.fatal():
            self._line.is_dead = True

    def _poll(self, seconds: float, *, until: int | None = None) -> None:
        """Serve callbacks; not, after a wait for others who did, if the watermark came to `until` by that."""
        line = self._line
        if line.lock.acquire(blocking=seconds > 0):
            try:
                if until is None or self._advance() < until:
                    line.poll(seconds)
            except Transient as error:
                self._failure = self._failure or error
            finally:
                line.lock.release()


def has_grown(producer: Producer, error: KafkaException, topic: str, partition: int) -> bool:
    """Whether a record was refused only because its partition is newer than what the producer knew, which it knows from here on."""
    if error.args[0].code() != KafkaError._UNKNOWN_PARTITION:
        return False
    try:
        known = producer.list_topics(timeout=METADATA_SECONDS).topics  # by one name, it could be created
    except KafkaException:
        return False
    return topic in known and partition in known[topic].partitions


def _refused(error: KafkaError, topic: str) -> MeshError:
    """What a record means that the producer did not even queue."""
    if error.code() in (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD):
        return Rejected("too_large", f"{topic}: a record is larger than message.max.bytes allows")
    return _failure(error, topic)


def _failure(error: KafkaError, topic: str | None) -> MeshError:
    """What a failed delivery means to the lane: most heal by starting over from the last confirmed position."""
    if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION):
        return NoTopic(topic or "")
    if error.code() in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED):
        return Misconfigured(f"topic {topic}", "may not be written", fix="grant this client Write on the topic")
    if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:  # the producer let it pass: the two limits contradict each other
        return Misconfigured(
            f"topic {topic}",
            "takes smaller records than this producer may send",
            fix="set the topic's max.message.bytes above the producer's message.max.bytes",
        )
    return Transient(f"{topic}: a record was not delivered ({error.name()}: {error.str()})")
