"""Assigned: who reads what in a consumer group, as its coordinator knows it."""

# pyright: reportPrivateImportUsage=false
# confluent_kafka.admin re-exports its documented names without saying so in a way that the type checker reads.

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from confluent_kafka import KafkaException

from schemas.errors import MeshError
from schemas.log.admin import WITHIN_SECONDS, admin_client, partition_counts
from schemas.log.kafka import Kafka


def unassigned(kafka: Kafka, group: str, topics: Iterable[str]) -> list[str]:
    """The topics of which a partition is nobody's in the group; all of them where nobody can say."""
    wanted = sorted(topics)
    admin = admin_client(kafka)
    try:
        described: Any = admin.describe_consumer_groups([group], request_timeout=WITHIN_SECONDS)[group].result()
        counts = partition_counts(admin, wanted)
    except (KafkaException, MeshError):
        return wanted
    taken = {
        (place.topic, place.partition)
        for member in described.members
        if member.assignment
        for place in member.assignment.topic_partitions
    }
    return [topic for topic in wanted if any((topic, number) not in taken for number in range(counts.get(topic, 0)))]
