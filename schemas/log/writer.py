"""The log: the one writer to Kafka.

A `Log` has one idempotent producer. Whoever writes through it does so on a `Lane`: lanes share the connection, the queue
and the batches, but each has its own watermark and its own failure, so that one source's trouble is not another's
(invariant 8). A lane that failed stays so, or its watermark would be a lie; what lives long therefore never keeps one for life:
it starts over on a new lane, and gets another producer with it when the first one is dead for good. `Log.write` does that for
single records, `Log.append` and `Log.flush` for whoever fills and then flushes.

The watermark. Deliveries of different partitions are reported out of order, so the highest delivered record says nothing;
what may be confirmed upstream is the contiguous prefix (invariant 1, PG-01). Every record carries a delivery
callback that counts down the run of records it was appended in, and the watermark is the end of the leading runs that
are complete. Measured with librdkafka 2.16 at 450-byte values: produce alone 0.8 us, with this callback 1.1 us,
`produce_batch` with it 1.0 us; the 0.3 us buy a proof that needs no assumption about partitions.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from schemas.errors import MeshError, Misconfigured, Rejected, Transient
from schemas.log.kafka import Kafka

RUN_RECORDS = 512
"""Records per run: the grain of the watermark between two looks at it."""

SETTINGS: Mapping[str, str | int | bool] = {
    "enable.idempotence": True,  # KF-01: implies acks=all and order within a partition
    "partitioner": "murmur2_random",  # KF-02: the Java clients' choice, so one key has one partition for everybody
    "compression.type": "lz4",
    "batch.size": 1_000_000,
    "batch.num.messages": 20_000,
    "queue.buffering.max.messages": 200_000,
    "queue.buffering.max.kbytes": 131_072,  # PG-42: the byte budget; above it append holds its caller back
    "delivery.timeout.ms": 120_000,
    "socket.keepalive.enable": True,
}

BULK_SETTINGS: Mapping[str, str | int | bool] = {
    "delivery.report.only.error": True,
    "linger.ms": 50,  # nobody waits for one of its records, and a request costs the broker as much for one as for thousands
    "queue.buffering.max.kbytes": 65_536,  # there are several of these
}

TOPICS_WITHIN_SECONDS = 5.0

Headers = Sequence[tuple[str, bytes]]
Outgoing = tuple[str, bytes | None, bytes | None, int, Headers | None]
"""Topic, key, value, partition (-1 lets the key decide), headers: what `Lane.append` takes."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSetting:
    """How to reach Kafka as a producer; plain values.

    `extra` overrides SETTINGS (a larger `message.max.bytes`, a shorter delivery timeout).
    """

    kafka: Kafka
    client_id: str
    linger_ms: int = 5
    extra: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)

    def producer(self, own: Mapping[str, str | int | bool] | None = None) -> Producer:
        """A producer; `own` comes before SETTINGS. Raises Misconfigured."""
        address = self.kafka.client({"client.id": self.client_id, "linger.ms": self.linger_ms})
        try:
            return Producer({**SETTINGS, **address, **(own or {}), **self.extra}, logger=_logger)
        except KafkaException as error:
            raise Misconfigured(
                "kafka", f"the producer refuses its settings: {error.args[0].str()}", fix="correct the named setting"
            ) from error


class NoTopic(Misconfigured):
    """The topic is not on the broker: never made, or deleted by somebody."""

    def __init__(self, topic: str) -> None:
        super().__init__(f"topic {topic}", "does not exist on the broker", fix="onboard the feed: `mesh onboard`")
        self.topic = topic


class Run:
    """Records appended together. One thread counts what it appended; the polling thread counts what came back."""

    __slots__ = ("_lane", "appended", "delivered", "returned")

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self.appended = 0
        self.delivered = 0
        self.returned = 0

    def on_delivery(self, error: KafkaError | None, message: Message) -> None:
        """The delivery report of one record of this run."""
        if error is None:
            self.delivered += 1
        else:
            self._lane.fail(error, message.topic())
        self.returned += 1


class Line:
    """A producer that lanes share. One thread at a time serves its callbacks, so that a run's counters have a single writer."""

    def __init__(self, producer: Producer) -> None:
        self.producer = producer
        self.lock = threading.Lock()
        self.is_dead = False
        """The client gave up for good, as when the broker has forgotten its sequence: only another producer helps."""


class Lane:
    """One writer's way into the log. Appended to by one thread; `acknowledged` may be asked by any other."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._produce = line.producer.produce
        self._run_lock = threading.Lock()
        self._run = Run(self)
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
                    self._produce(topic, value, key, partition, run.on_delivery)
                else:
                    self._produce(topic, value, key, partition, run.on_delivery, headers=list(headers))
                break
            except BufferError:  # KF-05: hold the caller back; whoever must keep a connection alive has a thread for it
                self._poll(0.05)
                if self._failure is not None:
                    raise self._failure from None
            except KafkaException as error:
                if error.args[0].fatal():
                    self.fail(error.args[0], topic)
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
            run = Run(self)
            self._sealed += self._run.appended
            self._runs.append(run)
            self._run = run

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
                    line.producer.poll(seconds)
            finally:
                line.lock.release()


class Bulk(Lane):
    """The only lane of a producer of its own, for whoever fills topics and then flushes: nothing is known of a record before.

    The client calls us for failed records only, so that a delivery costs no Python; that all others have arrived is known
    when nothing is under way any more.
    """

    def __init__(self, setting: LogSetting) -> None:
        super().__init__(Line(setting.producer(BULK_SETTINGS)))

    def flush(self, within_seconds: float) -> None:
        """See `Lane.flush`. Only this moves what `acknowledged` says."""
        left = self._line.producer.flush(within_seconds)  # the client's own, which does not linger
        if self._failure is not None:
            raise self._failure
        if left:
            raise Transient(f"the broker has not acknowledged {left} records within {within_seconds:g} s")
        self.seal()
        self._runs = deque([self._run])
        self._acknowledged = self.appended

    def settle(self, within_seconds: float) -> bool:
        """See `Lane.settle`; what is not on its way to the broker yet is dropped. The lane is dead then."""
        self._failure = self._failure or Transient("the copy was given up")
        self._line.producer.purge(in_flight=False)
        deadline = time.monotonic() + within_seconds
        while len(self._line.producer):
            if time.monotonic() > deadline:
                return False
            self._poll(0.02)
        return True


class Log:
    """The producer that a process writes through, and one lane of it for whoever needs no lane of their own.

    The arguments are those of a LogSetting, which `setting` then gives away, for a further process to write to the same log.
    """

    def __init__(
        self, kafka: Kafka, *, client_id: str, linger_ms: int = 5, extra: Mapping[str, str] | None = None
    ) -> None:
        self.setting = LogSetting(kafka=kafka, client_id=client_id, linger_ms=linger_ms, extra=extra or {})
        self._renewal = threading.Lock()
        self._line = Line(self.setting.producer())
        self._own = Lane(self._line)

    def lane(self) -> Lane:
        """A new way in, with a watermark and a failure of its own, by another producer if the present one is dead."""
        with self._renewal:
            if self._line.is_dead:
                _logger.warning("%s: its producer is dead; another takes its place", self.setting.client_id)
                with self._line.lock:
                    self._line.producer.purge()  # nothing of the past must overtake what comes now
                self._line = Line(self.setting.producer())
            return Lane(self._line)

    def write(self, records: Iterable[Outgoing], within_seconds: float) -> None:
        """Append records on a lane of their own, and return once they are acknowledged. From any thread; raises as `Lane.flush`."""
        lane = self.lane()
        lane.append_all(records)
        lane.flush(within_seconds)

    def append(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        *,
        partition: int | None = None,
        headers: Headers | None = None,
    ) -> None:
        """Queue one record on the log's own lane, see `Lane.append`. `partition` None lets the key decide.

        Raises the failure of what was appended before and not flushed yet, once; then it goes on.
        """
        try:
            self._own.append(topic, key, value, partition=-1 if partition is None else partition, headers=headers)
        except MeshError:
            if self._own.failure is not None:
                self._own = self.lane()
            raise

    def flush(self, within_seconds: float) -> None:
        """Return once everything appended through the log's own lane since the last flush is acknowledged, see `Lane.flush`."""
        try:
            self._own.flush(within_seconds)
        except MeshError:
            self._own = self.lane()  # what is told as failed is not told again
            raise

    def topics(self) -> set[str]:
        """The topics that the broker has now. Raises Transient."""
        try:
            return set(self._line.producer.list_topics(timeout=TOPICS_WITHIN_SECONDS).topics)
        except KafkaException as error:
            raise Transient(f"the broker does not list its topics ({error.args[0].name()})") from error

    def close(self) -> None:
        """Give records under way a moment to arrive; correctness never depends on it."""
        with self._line.lock:
            self._line.producer.flush(5)


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
