"""What is watched beside the hops, as metrics: the ledger's lines and Kafka's brokers."""

from __future__ import annotations

from ops.ledger.balance import Balance
from ops.metrics.exporter import EXPORTER, Exporter
from ops.watch.offsets.brokers import Brokers


class LedgerMetrics:
    """The ledger as it was compared last. A line is a feed's name or a grant's id."""

    def __init__(self, exporter: Exporter = EXPORTER) -> None:
        self._records = exporter.gauge("mesh_ledger_records")
        self._standing = exporter.gauge("mesh_ledger_standing")

    def show(self, balance: Balance) -> None:
        """All lines; those that are no more leave the page."""
        lines = list(balance.lines())
        self._standing.keep({(line.name, line.standing): 1.0 for line in lines})
        read = {(line.name, "read"): float(line.read) for line in lines}
        self._records.keep({**read, **{(line.name, "written"): float(line.written) for line in lines}})


class KafkaMetrics:
    """Kafka as the process sees it that watches the lag of a consumer group."""

    def __init__(self, group: str, exporter: Exporter = EXPORTER) -> None:
        self._group = group
        self._brokers = exporter.gauge("mesh_kafka_brokers")
        self._partitions = exporter.gauge("mesh_kafka_partitions")

    def show(self, brokers: Brokers | None) -> None:
        """None: none answers, and nothing is known of partitions."""
        self._brokers[self._group,].set(brokers.brokers if brokers else 0)
        states = brokers.partitions if brokers else {}
        self._partitions.keep({(self._group, state): float(count) for state, count in states.items()})
