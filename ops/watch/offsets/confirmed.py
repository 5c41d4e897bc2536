"""Confirmed: how far one consumer group has confirmed one partition, asked whenever somebody wants to know."""

from __future__ import annotations

from confluent_kafka import KafkaException

from ops.watch.offsets.group_offsets import GroupOffsets
from schemas.change import Partition
from schemas.errors import Transient
from schemas.log.entering import AWAY
from schemas.log.kafka import Kafka

WITHIN_SECONDS = 10.0


class Confirmed:
    """Not shared between threads."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self._offsets: GroupOffsets | None = None

    def __call__(self, group: str, place: Partition) -> int:
        """The next offset that the group reads; -1 where it has confirmed nothing. Raises Transient."""
        self._offsets = self._offsets or GroupOffsets(self._kafka, WITHIN_SECONDS)
        try:
            return self._offsets.committed([group])[group].get(place, -1)
        except KafkaException as error:
            self._offsets = None  # librdkafka never finds a group's coordinator again once the broker was away
            raise Transient(f"how far {group} is: {error.args[0].str()}", fix=AWAY) from error
