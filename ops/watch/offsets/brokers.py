"""Brokers: how many there are, and what is wrong with partitions, as Kafka's own metadata say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Brokers:
    """`partitions` by state: `all`; `offline`, without a leader; `under_replicated`, with fewer replicas in sync than there are."""

    brokers: int
    partitions: Mapping[str, int]

    @classmethod
    def of(cls, metadata: Any) -> Brokers:
        """What the client's `list_topics` gave."""
        partitions = [each for topic in metadata.topics.values() for each in topic.partitions.values()]
        return cls(
            brokers=len(metadata.brokers),
            partitions={
                "all": len(partitions),
                "offline": sum(each.leader < 0 for each in partitions),
                "under_replicated": sum(len(each.isrs) < len(each.replicas) for each in partitions),
            },
        )
