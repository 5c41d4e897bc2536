"""Offsets: how far topics reach, asked without reading them."""

# pyright: reportPrivateImportUsage=false
# confluent_kafka.admin re-exports its documented names without saying so in a way that the type checker reads.

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec

from schemas.change import Partition
from schemas.log.admin import WITHIN_SECONDS, admin_client, partition_counts, results, unwell
from schemas.log.kafka import Kafka


def cluster_id(kafka: Kafka) -> str:
    """The id that a Kafka cluster was given when it was made. Raises Transient."""
    try:
        return admin_client(kafka).list_topics(timeout=WITHIN_SECONDS).cluster_id or ""
    except KafkaException as error:
        raise unwell(error) from error


def bounds(kafka: Kafka, topic: str, partition: int) -> tuple[int, int]:
    """A partition's first offset and the next one to be written. Raises Transient."""
    return bounds_of(kafka, [(topic, partition)])[topic, partition]


def bounds_of(kafka: Kafka, places: Iterable[Partition]) -> dict[Partition, tuple[int, int]]:
    """`bounds` of many partitions at once, all of which exist. Raises Transient."""
    admin = admin_client(kafka)
    asked = [TopicPartition(*place) for place in places]
    specs: list[Any] = [OffsetSpec.earliest(), OffsetSpec.latest()]
    lows, highs = (
        results(admin.list_offsets({place: spec for place in asked}, request_timeout=WITHIN_SECONDS)) if asked else {}
        for spec in specs
    )
    return {(place.topic, place.partition): (lows[place].offset, highs[place].offset) for place in asked}


def partitions_of(kafka: Kafka, topic: str) -> int:
    """How many partitions a topic has, 0 for none of that name. Raises Transient."""
    return partition_counts(admin_client(kafka), [topic]).get(topic, 0)


def offsets_since(kafka: Kafka, topic: str, partitions: Iterable[int], since: datetime) -> dict[int, int]:
    """Per partition the first offset written at this moment or later, the next one to be written where there is none."""
    admin = admin_client(kafka)
    spec: Any = OffsetSpec.for_timestamp(int(since.timestamp() * 1000))
    answers = results(
        admin.list_offsets(
            {TopicPartition(topic, number): spec for number in partitions}, request_timeout=WITHIN_SECONDS
        )
    )
    return {
        place.partition: answer.offset if answer.offset >= 0 else bounds(kafka, topic, place.partition)[1]
        for place, answer in answers.items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """What stands in a partition: its first offset, the first one written at some moment or later, and the next one to be written."""

    first: int
    since: int
    end: int


def extents(kafka: Kafka, topics: Iterable[str], since: datetime) -> dict[Partition, Extent]:
    """The extent of every partition of those topics that exist. Raises Transient."""
    admin = admin_client(kafka)
    places = [(topic, number) for topic, count in partition_counts(admin, topics).items() for number in range(count)]

    def ask(spec: Any) -> dict[Partition, int]:
        wanted = {TopicPartition(*place): spec for place in places}
        answers = results(admin.list_offsets(wanted, request_timeout=WITHIN_SECONDS)) if wanted else {}
        return {(place.topic, place.partition): answer.offset for place, answer in answers.items()}

    moments = ask(OffsetSpec.for_timestamp(int(since.timestamp() * 1000)))
    firsts, ends = ask(OffsetSpec.earliest()), ask(OffsetSpec.latest())
    return {
        place: Extent(first=firsts[place], since=moment if moment >= 0 else ends[place], end=ends[place])
        for place, moment in moments.items()
    }


def written_between(kafka: Kafka, topic: str, moments: Sequence[datetime]) -> list[int]:
    """How many records were written from each moment to the next one; of one that does not exist none. Raises Transient.

    Offsets are counted, those that compaction took since or a transaction's end has among them.
    """
    admin = admin_client(kafka)
    places = [TopicPartition(topic, number) for number in range(partition_counts(admin, [topic]).get(topic, 0))]
    if not places:
        return [0] * (len(moments) - 1)
    specs: list[Any] = [OffsetSpec.for_timestamp(int(moment.timestamp() * 1000)) for moment in moments]
    # All are asked before the first is waited for.
    specs = [*specs, OffsetSpec.latest()]
    asked = [admin.list_offsets({place: spec for place in places}, request_timeout=WITHIN_SECONDS) for spec in specs]
    *found, ends = [results(futures) for futures in asked]
    reached = [
        sum(answers[place].offset if answers[place].offset >= 0 else ends[place].offset for place in places)
        for answers in found
    ]
    return [max(0, later - earlier) for earlier, later in pairwise(reached)]


def end_offsets(kafka: Kafka, topics: Iterable[str]) -> dict[str, int]:
    """Each topic's records ever written, by its end offsets; topics that do not exist are left out. Raises Transient."""
    admin = admin_client(kafka)
    partitions = partition_counts(admin, topics)
    places = [TopicPartition(topic, number) for topic, count in partitions.items() for number in range(count)]
    ends = dict.fromkeys(partitions, 0)
    if places:
        wanted: dict[TopicPartition, Any] = dict.fromkeys(places, OffsetSpec.latest())
        futures = admin.list_offsets(wanted, request_timeout=WITHIN_SECONDS)
        for place, answer in results(futures).items():
            ends[place.topic] += answer.offset
    return ends
