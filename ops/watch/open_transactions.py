"""Open transactions: one that does not end holds up every reader of its partitions, who sees nothing there, and no error.

Kafka ends what its owner left open after a minute. It can leave one open for ever: 4.4 counts a transaction as committed without
a mark in those partitions that had no leader at that moment, as when all brokers went at once. Only a person ends such a one.
"""

from __future__ import annotations

from collections.abc import Mapping

from ops.watch.lag import TopicLag
from schemas.incident import Incidents
from schemas.log.kafka import Kafka

OPEN_SECONDS = 150.0
"""Longer than any transaction of ours may be open (schemas/log/transaction.py), and than Kafka takes to find it."""


class OpenTransactions:
    """Says of one group what holds it up. Not shared between threads."""

    def __init__(self, incidents: Incidents, name: str, kafka: Kafka) -> None:
        self._incidents = incidents
        self._name = f"{name} transactions"
        self._kafka = kafka

    def look(self, lags: Mapping[str, TopicLag]) -> None:
        """Take the group's lag as of now, by topic."""
        present = {
            (topic, number, offset): lag.by_partition[number][1]
            for topic, lag in lags.items()
            for number, offset in lag.held_up.items()
        }
        lasting = sorted(place for place, seconds in present.items() if seconds > OPEN_SECONDS)
        if not lasting:
            self._incidents.end("process", self._name)
            return
        topic, number, offset = lasting[0]
        others = f", and {len(lasting) - 1} more" if len(lasting) > 1 else ""
        reason = f"a transaction in {topic}, partition {number}, does not end{others}: nothing behind it is read"
        place = f"--topic {topic} --partition {number} --start-offset {offset}"
        tool = f"`kafka-transactions.sh --bootstrap-server {self._kafka} abort {place}`"
        fix = f"end it with Kafka's own {tool}; what it wrote is left out then: copy the feed anew by `mesh resync`"
        self._incidents.begin("process", self._name, state="stopped", reason=reason, fix=fix)
