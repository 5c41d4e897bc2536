"""Transaction: the writer of a stateful task, whose records of one batch appear together or not at all.

A transactional id belongs to one task. Opening fences whoever used it before: what that one had under way is aborted, and
it cannot write any more. Readers of what is written here read committed records only.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from schemas.errors import Transient
from schemas.log.fatal import unwrapped
from schemas.log.kafka import Kafka
from schemas.log.lane import Headers, Outgoing, has_grown
from schemas.log.writer import SETTINGS

TRANSACTION_TIMEOUT_MS = 60_000
WITHIN_SECONDS = 45.0

_logger = logging.getLogger(__name__)


def configuration(kafka: Kafka, transactional_id: str, extra: Mapping[str, str]) -> dict[str, Any]:
    """What a producer takes: a record may wait for the broker for as long as `extra` says, and its transaction no shorter."""
    own = {
        **SETTINGS,
        "client.id": transactional_id,
        "transactional.id": transactional_id,
        "delivery.timeout.ms": TRANSACTION_TIMEOUT_MS,
        "linger.ms": 0,
        **extra,
    }
    longest_ms = max(TRANSACTION_TIMEOUT_MS, int(own["delivery.timeout.ms"]))
    return kafka.client({**own, "transaction.timeout.ms": longest_ms})


class TransactionWriter:
    """One task's writer. Used by one thread; after any error it is closed and opened anew.

    Raises Transient for everything that goes wrong, being fenced included: the task then opens again, reads back what is
    committed, and goes on from there.
    """

    def __init__(self, kafka: Kafka, transactional_id: str, *, extra: Mapping[str, str] | None = None) -> None:
        self._id = transactional_id
        self._producer = Producer(configuration(kafka, transactional_id, extra or {}), logger=_logger)
        try:
            self._producer.init_transactions(WITHIN_SECONDS)
        except KafkaException as error:
            raise self._trouble(error) from error

    def write(self, records: Iterable[Outgoing], last: Outgoing) -> int:
        """Write records, and `last` after them; return the offset of `last` once all of it is committed."""
        place: list[int] = []

        def reported(error: KafkaError | None, message: Message) -> None:
            if error is None:
                place.append(message.offset() or 0)

        producer = self._producer
        try:
            with unwrapped():
                producer.begin_transaction()
                try:
                    for number, (topic, key, value, partition, headers) in enumerate(records):
                        self._produce(topic, key, value, partition, headers)
                        if number % 1000 == 0:
                            producer.poll(0)
                    topic, key, value, partition, _ = last
                    producer.produce(topic, value, key, partition, on_delivery=reported)
                    producer.commit_transaction(WITHIN_SECONDS)
                except BaseException:
                    with suppress(KafkaException), unwrapped():
                        producer.abort_transaction(WITHIN_SECONDS)
                    raise
        except KafkaException as error:
            raise self._trouble(error) from error
        if not place:
            raise Transient(f"{self._id}: the last record of a committed transaction was not reported")
        return place[0]

    def _produce(
        self, topic: str, key: bytes | None, value: bytes | None, partition: int, headers: Headers | None
    ) -> None:
        while True:
            try:
                if headers is None:
                    self._producer.produce(topic, value, key, partition)
                else:
                    self._producer.produce(topic, value, key, partition, headers=list(headers))
            except BufferError:
                self._producer.poll(0.05)
            except KafkaException as error:
                if not has_grown(self._producer, error, topic, partition):
                    raise
            else:
                return

    def close(self) -> None:
        """Let go of the broker; an open transaction is aborted by it in time, or by the next owner of the id at once."""
        self._producer.purge(in_queue=True, in_flight=True)
        with suppress(KafkaException), unwrapped():  # that it was fenced, where nobody was told so yet
            self._producer.poll(0)

    def _trouble(self, error: KafkaException) -> Transient:
        cause: KafkaError = error.args[0]
        return Transient(f"{self._id}: {cause.name()}: {cause.str()}")
