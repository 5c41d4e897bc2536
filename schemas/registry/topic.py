"""The registry's topic: one fenced writer, one reader.

Fencing is the broker's: the writer is transactional under a name made of the topic's, so a registry that starts later takes
over, and the earlier one can no longer write: its next write ends it. What it read stays true, since it keeps following the
topic. Records are read committed, hence a write cut off half-way was never there (invariant 7).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    ConfigResource,  # pyright: ignore[reportPrivateImportUsage] - re-exported without saying so
    NewTopic,  # pyright: ignore[reportPrivateImportUsage]
    ResourceType,  # pyright: ignore[reportPrivateImportUsage]
)

from schemas.errors import ContractBroken, MeshError, Misconfigured, Transient
from schemas.log.fatal import unwrapped
from schemas.log.kafka import Kafka
from schemas.registry.record import EncodedRecord

CONNECT_SECONDS = 30.0
WRITE_SECONDS = 10.0
TRANSACTION_SECONDS = 20.0
POLL_SECONDS = 0.2

_FENCED = {
    KafkaError._FENCED,
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.FENCED_INSTANCE_ID,
}
_LOST = {
    KafkaError.OFFSET_OUT_OF_RANGE,
    KafkaError._AUTO_OFFSET_RESET,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
}
"""The topic is gone, or what was read of it: going on would give its ids a second time."""

_logger = logging.getLogger(__name__)

Take = Callable[[int, bytes | None, bytes | None], None]
"""Takes one record: offset, key, value. Raises ValueError for one that cannot be ours."""


class Unsettled(Transient):
    """What became of a write is not known: only reading the topic again can tell."""


class SchemaTopic:
    """The topic of one registry. `open`, then `replay`, then `append` from one thread and `follow` from another."""

    def __init__(self, kafka: Kafka, topic: str) -> None:
        self._topic = topic
        self._begun_at = 0.0
        connection = kafka.client({"socket.keepalive.enable": True})
        self._admin = AdminClient(connection, logger=_logger)
        self._producer = Producer(
            {
                **connection,
                "transactional.id": f"{topic}.writer",
                "transaction.timeout.ms": int(TRANSACTION_SECONDS * 1000),
                "linger.ms": 0,
                "message.max.bytes": 1_048_576,
            },
            logger=_logger,
        )
        self._consumer = Consumer(
            {
                **connection,
                "group.id": f"{topic}.reader",  # librdkafka wants a name; nothing is committed under it
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
            },
            logger=_logger,
        )

    def open(self) -> None:
        """Create the topic if it is not there, check that it forgets nothing, and fence any earlier writer.

        Raises Transient when the broker does not answer, Misconfigured when the topic would lose schemas.
        """
        try:
            self._create()
            self._producer.init_transactions(CONNECT_SECONDS)
        except KafkaException as error:
            text = f"topic {self._topic}: {error.args[0].str()}"
            raise Transient(text, fix="check that the broker runs and that we may write there") from error

    def _create(self) -> None:
        if self._topic in self._admin.list_topics(timeout=CONNECT_SECONDS).topics:
            self._check_settings()
            return
        new = NewTopic(self._topic, num_partitions=1, replication_factor=-1, config={"cleanup.policy": "compact"})
        try:
            self._admin.create_topics([new])[self._topic].result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
        deadline = time.monotonic() + CONNECT_SECONDS
        while not self._partitions():
            if time.monotonic() > deadline:
                raise Transient(f"topic {self._topic} was created but has no leader", fix="check the brokers")
            time.sleep(0.1)

    def _partitions(self) -> int:
        """How many partitions can be written to."""
        partitions = self._admin.list_topics(self._topic, timeout=CONNECT_SECONDS).topics[self._topic].partitions
        return sum(partition.leader >= 0 for partition in partitions.values())

    def _check_settings(self) -> None:
        if self._partitions() > 1:
            fix = "name another topic: records of several partitions have no order"
            raise Misconfigured(f"topic {self._topic}", "has more than one partition", fix=fix)
        resource = ConfigResource(ResourceType.TOPIC, self._topic)
        config = self._admin.describe_configs([resource], request_timeout=CONNECT_SECONDS)[resource].result()
        if config["cleanup.policy"].value != "compact":
            raise Misconfigured(
                f"topic {self._topic}",
                f"has cleanup.policy={config['cleanup.policy'].value}, under which schemas are lost",
                fix=f"kafka-configs --alter --topic {self._topic} --add-config cleanup.policy=compact",
            )

    def replay(self, take: Take, stop: threading.Event) -> None:
        """Read everything that is there. Returns at the end of the topic, or when stopped.

        Raises ContractBroken for a record that cannot be one of ours, Transient when the broker stops answering.
        """
        partition = TopicPartition(self._topic, 0, OFFSET_BEGINNING)
        self._consumer.assign([partition])
        try:
            _, end = self._consumer.get_watermark_offsets(partition, timeout=CONNECT_SECONDS)
        except KafkaException as error:
            raise Transient(f"topic {self._topic}: {error.args[0].str()}", fix="check that the broker runs") from error
        deadline = time.monotonic() + CONNECT_SECONDS
        reached = 0
        while reached < end and not stop.is_set():
            # One by one: asking for many waits for many, and every write waits for its record to come back.
            message = self._consumer.poll(POLL_SECONDS)
            if message is not None:
                reached = self._took(message, take, reached)
                deadline = time.monotonic() + CONNECT_SECONDS
            elif time.monotonic() > deadline:
                text = f"topic {self._topic}: reading stopped at offset {reached} of {end}"
                raise Transient(text, fix="check the broker; a transaction may be left open there")

    def follow(self, take: Take, is_over: Callable[[], bool]) -> None:
        """Go on reading until it is over, asked several times a second. Raises as `replay` does."""
        while not is_over():
            message = self._consumer.poll(POLL_SECONDS)
            if message is not None:
                self._took(message, take, 0)

    def _took(self, message: Message, take: Take, reached: int) -> int:
        """Hand one message on; returns the offset up to which the topic was read."""
        error, offset = message.error(), message.offset()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                return max(reached, offset if offset is not None else 0)
            if error.fatal() or error.code() in _LOST:
                raise ContractBroken(
                    self._topic,
                    f"cannot be read on: {error.str()}",
                    fix="restore the topic; start the registry again to read it from its beginning",
                )
            _logger.warning("%s: %s", self._topic, error.str())  # librdkafka reconnects by itself
            return reached
        offset = offset or 0
        try:
            take(offset, message.key(), message.value())
        except ValueError as problem:
            raise ContractBroken(
                self._topic,
                f"the record at offset {offset} {problem}",
                fix="no schema can be trusted after it: restore the topic, or replace that key's record by a good one",
            ) from problem
        return offset + 1

    def append(self, entries: Sequence[EncodedRecord]) -> int:
        """Write all entries or none; returns the offset of the last once they are committed.

        Raises Transient when nothing was written, Misconfigured when another registry took over. Unsettled, and any other
        exception, leaves open whether they were written: the process must end and read again.
        """
        offsets: list[int] = []
        failed: list[KafkaError] = []
        self._begun_at = time.monotonic()

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                failed.append(error)
            else:
                offsets.append(message.offset() or 0)

        try:
            with unwrapped():
                self._producer.begin_transaction()
                for entry in entries:
                    self._producer.produce(self._topic, entry.value, entry.key, 0, on_delivery=delivered)
                is_late = self._producer.flush(WRITE_SECONDS) > 0
            if is_late or failed:
                reason = failed[0].str() if failed else "the broker does not acknowledge"
                self._abort(reason, failed[0] if failed else None)
            with unwrapped():
                self._producer.commit_transaction(WRITE_SECONDS)
        except KafkaException as error:
            problem = error.args[0]
            if not problem.txn_requires_abort():
                raise (self._fenced(problem) or self._unsettled(problem.str())) from error
            self._abort(problem.str(), problem)
        return max(offsets)

    def _abort(self, reason: str, error: KafkaError | None) -> None:
        if error is not None and (fenced := self._fenced(error)) is not None:
            raise fenced
        try:
            with unwrapped():
                self._producer.abort_transaction(WRITE_SECONDS)
        except KafkaException as problem:
            raise (self._fenced(problem.args[0]) or self._unsettled(problem.args[0].str())) from problem
        raise Transient(f"topic {self._topic}: nothing was written: {reason}", fix="check the broker")

    def _fenced(self, error: KafkaError) -> MeshError | None:
        if error.code() not in _FENCED:
            return None
        open_seconds = time.monotonic() - self._begun_at
        if open_seconds >= TRANSACTION_SECONDS:
            # The broker itself ends a transaction that stays open, and then refuses it as if somebody else wrote.
            return self._unsettled(
                f"the broker ended a write that was under way for {open_seconds:.0f} s ({error.str()})"
            )
        return Misconfigured(
            f"topic {self._topic}",
            f"another registry writes there now ({error.str()})",
            fix="run one registry per topic; the one that started last goes on",
        )

    def _unsettled(self, reason: str) -> Unsettled:
        return Unsettled(
            f"topic {self._topic}: the broker did not answer in time, and what became of the write is not known: {reason};"
            " the registry ends, reads its topic again once it is started, and goes on",
            fix="see that Kafka is up; `mesh up` starts the registry again by itself",
        )

    def close(self) -> None:
        """Leave the broker. Nothing is pending, since every append waits."""
        self._consumer.close()
