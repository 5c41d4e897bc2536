"""Start: where a partition goes on that a consumer group has just given to its member."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from schemas.change import Partition
from schemas.log.message import BROKER_WITHIN_SECONDS, gap_at


class Start(NamedTuple):
    """`offset` is where to go on, negative at Kafka's beginning; `committed` what the group was told, negative if nothing.

    The partition has records from `low` up to `high`.
    """

    place: Partition
    offset: int
    committed: int
    low: int
    high: int

    @property
    def is_behind(self) -> bool:
        """Whether the target has less than was confirmed."""
        return self.offset < self.committed

    @property
    def told(self) -> int:
        """What the group need not be told again."""
        return self.offset if self.offset >= 0 else self.low

    def assigned(self) -> TopicPartition:
        """For the consumer. Raises ContractBroken where records that were never delivered are gone."""
        topic, partition = self.place
        if 0 <= self.offset < self.low:
            breach = f"delivered up to {self.offset}, the topic begins at {self.low}"
            raise gap_at(f"{topic} [{partition}]", breach)
        if self.offset > self.high:
            breach = f"delivered up to {self.offset}, the topic ends at {self.high}"
            raise gap_at(f"{topic} [{partition}]", breach)
        return TopicPartition(topic, partition, self.offset)


def starts(consumer: Consumer, partitions: Sequence[TopicPartition], kept: Mapping[Partition, int]) -> Iterator[Start]:
    """Of each partition, by what its target keeps, else by what the group was told. Raises KafkaException."""
    for tp in consumer.committed(list(partitions), BROKER_WITHIN_SECONDS):
        place = (tp.topic, tp.partition)
        low, high = consumer.get_watermark_offsets(tp, BROKER_WITHIN_SECONDS)
        offset = kept.get(place, tp.offset)
        yield Start(place, offset if offset >= 0 else OFFSET_BEGINNING, tp.offset, low, high)
