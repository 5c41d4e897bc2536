"""Group position: how far a consumer group has read, asked again and again by somebody who waits for it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from confluent_kafka import KafkaException

from ops.watch.offsets.group_offsets import GroupOffsets
from schemas.change import Partition
from schemas.errors import Transient
from schemas.log.kafka import Kafka
from schemas.trace import described

ANSWER_SECONDS = 10.0


class GroupPosition:
    """While the broker does not answer, the position is as it was; `say` is told so."""

    def __init__(self, kafka: Kafka, group: str, say: Callable[[str], None]) -> None:
        self._kafka = kafka
        self._group = group
        self._say = say
        self._offsets = GroupOffsets(kafka, ANSWER_SECONDS)
        self._read: Mapping[Partition, int] = {}

    def look(self, places: Collection[Partition]) -> Mapping[Partition, int]:
        """The next offset of those of the partitions that it has read from."""
        try:
            committed = self._offsets.committed([self._group])[self._group]
        except (KafkaException, Transient) as error:
            self._say(f"how far {self._group} is, is asked again: {described(error)}")
            # librdkafka finds a group's coordinator never again once the broker was away, as in ops/watch/lag.py.
            self._offsets = GroupOffsets(self._kafka, ANSWER_SECONDS)
        else:
            self._read = {place: offset for place, offset in committed.items() if place in places}
        return self._read
