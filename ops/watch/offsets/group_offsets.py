"""Group offsets: what consumer groups have confirmed, and from where to where the partitions that they read reach."""

# pyright: reportPrivateImportUsage=false
# confluent_kafka.admin re-exports its documented names without saying so in a way that the type checker reads.

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec

from ops.watch.offsets.brokers import Brokers
from schemas.change import Partition
from schemas.log.admin import admin_client
from schemas.log.kafka import Kafka

_AWAY = frozenset(
    {KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.NOT_COORDINATOR}
)

Numbers = Mapping[str, Collection[int]]
"""Partitions by topic."""


class GroupOffsets:
    """Asks the brokers; raises KafkaException as they refuse. No question takes longer than `within_seconds`."""

    def __init__(self, kafka: Kafka, within_seconds: float) -> None:
        self._admin = admin_client(kafka)
        self._within_seconds = within_seconds

    def partitions(self, topics: Iterable[str]) -> dict[str, list[int]]:
        """The partitions of those of the topics that exist."""
        known = self._admin.list_topics(timeout=self._within_seconds).topics
        return {topic: list(known[topic].partitions) for topic in topics if topic in known}

    def brokers(self) -> Brokers:
        """How many there are, and what is wrong with partitions."""
        return Brokers.of(self._admin.list_topics(timeout=self._within_seconds))

    def topics(self) -> list[str]:
        """Every topic that there is."""
        return list(self._admin.list_topics(timeout=self._within_seconds).topics)

    def ask_bounds(self, partitions: Numbers) -> Callable[[], tuple[dict[Partition, int], dict[Partition, int]]]:
        """Ask where each partition begins and ends; what is returned waits for the answers.

        Asked together: the broker answers the second while the first is on its way.
        """
        asked = [self._asked(partitions, which) for which in (OffsetSpec.earliest(), OffsetSpec.latest())]

        def answered() -> tuple[dict[Partition, int], dict[Partition, int]]:
            starts, ends = ({place: future.result().offset for place, future in each.items()} for each in asked)
            return starts, ends

        return answered

    def stable_ends(self, partitions: Numbers) -> dict[Partition, int]:
        """Up to where a reader of what is committed gets: to the first open transaction."""
        asked = self._asked(partitions, OffsetSpec.latest(), IsolationLevel.READ_COMMITTED)
        return {place: future.result().offset for place, future in asked.items()}

    def newest_at_ms(self, partitions: Numbers) -> dict[Partition, int]:
        """When each partition's newest record was made; without those that have none."""
        asked = self._asked(partitions, OffsetSpec.max_timestamp())
        found = {place: future.result().timestamp or -1 for place, future in asked.items()}
        return {place: at_ms for place, at_ms in found.items() if at_ms >= 0}

    def _asked(
        self,
        partitions: Numbers,
        which: Any,
        isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
    ) -> dict[Partition, Any]:
        asked = {TopicPartition(topic, number): which for topic, numbers in partitions.items() for number in numbers}
        if not asked:
            return {}
        futures = self._admin.list_offsets(asked, isolation_level=isolation, request_timeout=self._within_seconds)
        return {(place.topic, place.partition): future for place, future in futures.items()}

    def committed(self, groups: Collection[str]) -> dict[str, dict[Partition, int]]:
        """What each group has confirmed. All are asked at once, a request each: the broker takes no other."""
        self._wait_for_coordinators(list(groups))
        futures = {
            group: self._admin.list_consumer_group_offsets(
                [ConsumerGroupTopicPartitions(group)], request_timeout=self._within_seconds
            )[group]
            for group in groups
        }
        return {group: _confirmed(future) for group, future in futures.items()}

    def _wait_for_coordinators(self, groups: list[str]) -> None:
        """Return once each group's coordinator answers: on a fresh broker, and after a failover, it takes a moment.

        librdkafka 2.16 does not survive an error of the coordinator to the question for offsets (a segmentation fault, which
        no handler sees); the description of a group brings the same error in one piece.
        """
        deadline = time.monotonic() + self._within_seconds
        while groups:
            away: list[str] = []
            for group, future in self._admin.describe_consumer_groups(
                groups, request_timeout=self._within_seconds
            ).items():
                try:
                    future.result()
                except KafkaException as error:
                    code = error.args[0].code()
                    if code in _AWAY and time.monotonic() < deadline:
                        away.append(group)
                    elif code != KafkaError.GROUP_ID_NOT_FOUND:
                        raise
            groups = away
            if away:
                time.sleep(0.1)


def _confirmed(future: Any) -> dict[Partition, int]:
    try:
        answer = future.result()
    except KafkaException as error:
        if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
            return {}
        raise
    return {(place.topic, place.partition): place.offset for place in answer.topic_partitions if place.offset >= 0}
