"""Log: writes records, each durable once it is acknowledged (transaction.py writes them together).

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
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from confluent_kafka import KafkaException, Producer

from schemas.errors import MeshError, Misconfigured, Transient
from schemas.log.kafka import Kafka
from schemas.log.lane import Headers, Lane, Line, Outgoing
from schemas.log.reports.reports import Accounts

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


class Bulk(Lane):
    """The only lane of a producer of its own, for whoever fills topics and then flushes: nothing is known of a record before.

    The client calls us for failed records only, so that a delivery costs no Python; that all others have arrived is known
    when nothing is under way any more.
    """

    def __init__(self, setting: LogSetting) -> None:
        super().__init__(Line(setting.producer(BULK_SETTINGS)))

    def flush(self, within_seconds: float) -> None:
        """See `Lane.flush`. Only this moves what `acknowledged` says."""
        left = self._line.flush(within_seconds)
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
    `accounts` account for every record.
    """

    def __init__(
        self,
        kafka: Kafka,
        *,
        client_id: str,
        linger_ms: int = 5,
        extra: Mapping[str, str] | None = None,
        accounts: Accounts | None = None,
    ) -> None:
        self.setting = LogSetting(kafka=kafka, client_id=client_id, linger_ms=linger_ms, extra=extra or {})
        self._renewal = threading.Lock()
        self._accounts = accounts
        self._line = Line(self.setting.producer(), accounts)
        self._own = Lane(self._line)

    def lane(self) -> Lane:
        """A new way in, with a watermark and a failure of its own, by another producer if the present one is dead."""
        with self._renewal:
            if self._line.is_dead:
                _logger.warning("%s: its producer is dead; another takes its place", self.setting.client_id)
                with self._line.lock:
                    self._line.producer.purge()  # nothing of the past must overtake what comes now
                if self._accounts is not None:
                    self._accounts.failed(None)
                self._line = Line(self.setting.producer(), self._accounts)
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
        with self._line.lock, suppress(Transient):
            self._line.flush(5)
