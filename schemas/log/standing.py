"""Standing: what a partition of a topic has at this moment."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.change import Batch
from schemas.log.kafka import Kafka
from schemas.log.offsets import bounds
from schemas.log.range import read_range


def read_standing(kafka: Kafka, topic: str, partition: int) -> Iterator[Batch]:
    """Everything from a partition's first record to where it ended when asked for. Raises Transient."""
    yield from read_range(kafka, topic, partition, *bounds(kafka, topic, partition))
