"""Confirmed: how far consumer groups have confirmed partitions, asked whenever somebody wants to know."""

from __future__ import annotations

from collections.abc import Collection, Mapping

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
        return self.of([group])[group].get(place, -1)

    def of(self, groups: Collection[str]) -> Mapping[str, Mapping[Partition, int]]:
        """The same of everything that each of these groups has confirmed."""
        self._offsets = self._offsets or GroupOffsets(self._kafka, WITHIN_SECONDS)
        try:
            return self._offsets.committed(groups)
        except KafkaException as error:
            self._offsets = None  # librdkafka never finds a group's coordinator again once the broker was away
            raise Transient(f"how far {', '.join(groups)} is: {error.args[0].str()}", fix=AWAY) from error
