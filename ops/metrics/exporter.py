"""The exporter: all metrics of one process by name, and how prometheus-client holds them.

A hop's loop calls an observer once per batch (ops/metrics/hop_metrics.py); each call is one or two look-ups and additions here,
about a microsecond.
"""

from __future__ import annotations

import platform
import threading
import time
from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from typing import Generic, TypeVar

import prometheus_client
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric

from ops.metrics.metric import LATENCY_BUCKETS_SECONDS, METRICS
from ops.watch.health import STATUSES, Health

Child = TypeVar("Child", prometheus_client.Counter, prometheus_client.Gauge)


class _Children(dict[tuple[str, ...], Child], Generic[Child]):
    """The children of one metric by label values, bound once: the look-up of a hot loop."""

    def __init__(self, family: Child) -> None:
        super().__init__()
        self._family = family
        self._lock = threading.Lock()

    def keep(self, values: Mapping[tuple[str, ...], float]) -> None:
        """Of gauges: just these are on the page, with these values."""
        for labels in [labels for labels in list(self) if labels not in values]:
            self.drop(labels)
        for labels, value in values.items():
            child = self[labels]
            assert isinstance(child, prometheus_client.Gauge)
            child.set(value)

    def drop(self, labels: tuple[str, ...]) -> None:
        """Take a child off the page, if it is there."""
        with self._lock:
            if self.pop(labels, None) is not None:
                self._family.remove(*labels)

    def __missing__(self, labels: tuple[str, ...]) -> Child:
        with self._lock:
            child = self[labels] = self._family.labels(*labels)
        return child


_ENTITY: Mapping[tuple[str, ...], Callable[[tuple[str, ...]], tuple[str, str]]] = {
    ("source",): lambda labels: ("source", labels[0]),
    ("feed",): lambda labels: ("feed", labels[0]),
    ("feed", "partition"): lambda labels: ("feed", labels[0]),
    ("feed", "row", "column"): lambda labels: ("feed", labels[0]),
    ("grant_id",): lambda labels: ("grant", labels[0]),
    ("subscriber", "feed", "grant_id"): lambda labels: ("grant", labels[2]),
    ("subscriber", "sink"): lambda labels: ("sink", f"{labels[0]}.{labels[1]}"),
    ("kind", "name", "state"): lambda labels: (labels[0], labels[1]),
}
"""Kind and name of what a gauge with these labels tells of."""


class _Latencies:
    """The latency histogram: whole batches are counted at once, where the library's own takes values one by one."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._buckets: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}

    def observe(self, labels: tuple[str, ...], seconds: Sequence[float]) -> None:
        """Count latencies."""
        tally = Tally(map(partial(bisect_left, LATENCY_BUCKETS_SECONDS), seconds))
        with self._lock:
            buckets = self._buckets.setdefault(labels, [0] * (len(LATENCY_BUCKETS_SECONDS) + 1))
            for index, count in tally.items():
                buckets[index] += count
            self._sums[labels] = self._sums.get(labels, 0.0) + sum(seconds)

    def describe(self) -> Iterable[Metric]:
        """The family without values."""
        yield HistogramMetricFamily(self._name, METRICS[self._name].help, labels=METRICS[self._name].labels)

    def collect(self) -> Iterator[Metric]:
        """The family as it stands."""
        family = HistogramMetricFamily(self._name, METRICS[self._name].help, labels=METRICS[self._name].labels)
        with self._lock:
            for labels, buckets in self._buckets.items():
                upto, total = [], 0
                for bound, count in zip((*LATENCY_BUCKETS_SECONDS, "+Inf"), buckets, strict=True):
                    total += count
                    upto.append((str(bound), float(total)))
                family.add_metric(labels, upto, self._sums[labels])
        yield family


class _HealthPage:
    """`mesh_entity_health`, one-hot over the statuses, judged when the page is read."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def describe(self) -> Iterable[Metric]:
        """The family without values."""
        yield self._family()

    def collect(self) -> Iterable[Metric]:
        """The family as it stands."""
        family = self._family()
        for kind, name, present in self._health.statuses():
            for status in STATUSES:
                family.add_metric([kind, name, status], float(status == present))
        yield family

    def _family(self) -> GaugeMetricFamily:
        exported = METRICS["mesh_entity_health"]
        return GaugeMetricFamily("mesh_entity_health", exported.help, labels=exported.labels)


class Exporter:
    """All metrics of one process. Threads may share it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        prometheus_client.disable_created_metrics()  # a second series per counter that nothing here reads
        self.registry = prometheus_client.CollectorRegistry()
        self.latencies = _Latencies("mesh_delivery_latency_seconds")
        self.health = Health(clock)
        self._counters: dict[str, _Children[prometheus_client.Counter]] = {}
        self._gauges: dict[str, _Children[prometheus_client.Gauge]] = {}
        for name, metric in METRICS.items():
            if name == "mesh_entity_health" or metric.kind == "histogram":
                continue
            if metric.kind == "counter":
                counter = prometheus_client.Counter(name, metric.help, metric.labels, registry=self.registry)
                self._counters[name] = _Children(counter)
            else:
                self._gauges[name] = _Children(
                    prometheus_client.Gauge(name, metric.help, metric.labels, registry=self.registry)
                )
        self.registry.register(self.latencies)
        self.registry.register(_HealthPage(self.health))
        prometheus_client.ProcessCollector(registry=self.registry)
        prometheus_client.GCCollector(registry=self.registry)
        self.gauge("mesh_build_info")[version("pearlmesh"), platform.python_version()].set(1)

    def counter(self, name: str) -> _Children[prometheus_client.Counter]:
        """A counter of METRICS, to be indexed by its label values in order."""
        return self._counters[name]

    def gauge(self, name: str) -> _Children[prometheus_client.Gauge]:
        """A gauge of METRICS, to be indexed by its label values in order."""
        return self._gauges[name]

    def keep_only(self, has: Callable[[str, str], bool]) -> None:
        """Take off the page every gauge, and the health, of a source, feed, sink or grant that `has` (kind, name) denies.

        Counters stay: what was counted was counted.
        """
        for name, children in self._gauges.items():
            if (of := _ENTITY.get(METRICS[name].labels)) is None:
                continue
            for labels in [labels for labels in list(children) if not has(*of(labels))]:
                children.drop(labels)
        self.health.keep_only(has)


EXPORTER = Exporter()
"""The process's own; observers and `serve` use it unless given another."""
