"""Metrics: the observers that the hops call, and the `/metrics` page of a process. The one door to prometheus-client.

A hop's loop calls an observer once per batch; each call is one or two look-ups and additions, about a microsecond.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Generic, TypeVar
from wsgiref.simple_server import WSGIRequestHandler, make_server

import prometheus_client
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import ThreadingWSGIServer

from ops.metrics.metric import CAPTURED, LATENCY_BUCKETS_SECONDS, METRICS, RECENT, origin_of
from ops.metrics.recent import Recent
from ops.prometheus.configuration import Target, register, unregister
from ops.watch.health import STATUSES, Health
from ops.watch.lag import TopicLag
from schemas.agreement.directory import Directory
from schemas.agreement.door import guarded
from schemas.errors import Misconfigured

Child = TypeVar("Child", prometheus_client.Counter, prometheus_client.Gauge)


class _Children(dict[tuple[str, ...], Child], Generic[Child]):
    """The children of one metric by label values, bound once: the look-up of a hot loop."""

    def __init__(self, family: Child) -> None:
        super().__init__()
        self._family = family
        self._lock = threading.Lock()

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
    ("feed", "row", "column"): lambda labels: ("feed", labels[0]),
    ("grant_id",): lambda labels: ("grant", labels[0]),
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


class CaptureMetrics:
    """What capture reports. `source` is `<agency>.<source>`."""

    def __init__(self, exporter: Exporter = EXPORTER) -> None:
        self._events = exporter.counter("mesh_events_total")
        self._bytes = exporter.counter("mesh_event_bytes_total")
        self._rejected = exporter.counter("mesh_rejected_total")
        self._lag = exporter.gauge("mesh_capture_lag_seconds")
        self._connected = exporter.gauge("mesh_capture_connected")
        self._retained = exporter.gauge("mesh_capture_retained_bytes")
        self._snapshot = exporter.gauge("mesh_snapshot_rows")
        self._expected = exporter.gauge("mesh_snapshot_rows_expected")
        self._health = exporter.health

    def captured(self, feed: str, op: str, count: int, size_bytes: int) -> None:
        """So many changes of one kind are durable in the feed."""
        self._events[feed, op, CAPTURED].inc(count)
        self._bytes[feed, CAPTURED].inc(size_bytes)

    def rejected(self, feed: str, reason: str, count: int) -> None:
        """So many rows could not be encoded and are dead letters."""
        self._rejected[feed, "capture", reason].inc(count)

    def lag(self, source: str, seconds: float) -> None:
        """The source's oldest uncaptured commit is so old; 0 when there is none."""
        self._lag[source,].set(seconds)
        self._health.lag("source", source, seconds)

    def snapshot(self, feed: str, done_rows: int, total_rows: int) -> None:
        """The initial snapshot stands here; the total is an estimate until it ends."""
        self._snapshot[feed,].set(done_rows)
        self._expected[feed,].set(total_rows)

    def connected(self, source: str, is_connected: bool) -> None:
        """Whether the source's log is being read."""
        self._connected[source,].set(is_connected)
        self._health.down("source", source, not is_connected)

    def retained(self, source: str, wal_bytes: int) -> None:
        """So much log is kept on the source's disk for us."""
        self._retained[source,].set(wal_bytes)


class _GrantLabels(dict[str, tuple[str, str, str]]):
    """(subscriber, feed, grant id) of a grant id: as the directory says, or as the id reads.

    `origins` has the origin of each feed that was asked for.
    """

    def __init__(self, directory: Callable[[], Directory] | None) -> None:
        super().__init__()
        self._directory = directory
        self.origins: dict[str, str] = {}

    def __missing__(self, grant_id: str) -> tuple[str, str, str]:
        directory = self._directory() if self._directory else Directory()
        entry = directory.grants.get(grant_id)
        if entry is not None:
            labels = (entry.grant.subscriber, entry.grant.feed, grant_id)
        else:
            subscriber, *feed = grant_id.split(".")
            labels = (subscriber, ".".join(feed[:2]), grant_id)
        self[grant_id] = labels
        self.origins[labels[1]] = origin_of(directory, labels[1])
        return labels


class StreamMetrics:
    """What enrich and egress report. With a directory, grants of feeds with more than two name parts are labelled right."""

    def __init__(self, exporter: Exporter = EXPORTER, directory: Callable[[], Directory] | None = None) -> None:
        self._labels = _GrantLabels(directory)
        self._processed = exporter.counter("mesh_processed_total")
        self._rejected = exporter.counter("mesh_rejected_total")
        self._routed = exporter.counter("mesh_routed_total")
        self._suppressed = exporter.counter("mesh_suppressed_total")
        self._bytes = exporter.counter("mesh_routed_bytes_total")
        self._backfilled = exporter.counter("mesh_backfilled_total")
        self._lag_records = exporter.gauge("mesh_stream_lag_records")
        self._lag_seconds = exporter.gauge("mesh_stream_lag_seconds")
        self._health = exporter.health

    def processed(self, feed: str, count: int, size_bytes: int) -> None:  # noqa: ARG002 - the observer's agreed shape
        """So many changes of a feed are done: routed, suppressed or dead-lettered for every grant."""
        self._processed[feed,].inc(count)

    def rejected(self, feed: str, reason: str, count: int) -> None:
        """So many changes failed a data-quality rule, or could not be read, and are dead letters."""
        self._rejected[feed, "streams", reason].inc(count)

    def routed(self, grant_id: str, delivered: int, suppressed: int, size_bytes: int) -> None:
        """What became of a batch for one grant."""
        labels = self._labels[grant_id]
        self._routed[labels].inc(delivered)
        self._suppressed[labels].inc(suppressed)
        self._bytes[labels].inc(size_bytes)

    def backfilled(self, grant_id: str, count: int) -> None:
        """So many of the feed's past changes went to the grant."""
        self._backfilled[grant_id,].inc(count)

    def lags(self, lags: Mapping[str, TopicLag]) -> None:
        """How far streams are behind, by feed."""
        for feed, lag in lags.items():
            self._lag_records[feed,].set(lag.records)
            self._lag_seconds[feed,].set(lag.seconds)
            self._health.lag("feed", feed, lag.seconds)


class DeliveryMetrics:
    """What the delivery lanes report."""

    def __init__(self, exporter: Exporter = EXPORTER, directory: Callable[[], Directory] | None = None) -> None:
        self._labels = _GrantLabels(directory)
        self._delivered = exporter.counter("mesh_delivered_total")
        self._bytes = exporter.counter("mesh_delivered_bytes_total")
        self._dead = exporter.counter("mesh_dead_total")
        self._retries = exporter.counter("mesh_retries_total")
        self._lag = exporter.gauge("mesh_delivery_lag_seconds")
        self._parked = exporter.gauge("mesh_parked")
        self._latencies = exporter.latencies
        self._health = exporter.health

    def delivered(self, grant_id: str, count: int, size_bytes: int, latencies_seconds: Sequence[float]) -> None:
        """So many changes are durable at the subscriber; a latency for each, or for those whose commit time is known."""
        labels = self._labels[grant_id]
        self._delivered[labels].inc(count)
        self._bytes[labels].inc(size_bytes)
        self._latencies.observe((labels[0], self._labels.origins[labels[1]]), latencies_seconds)

    def dead(self, grant_id: str, reason: str, count: int) -> None:
        """The subscriber's sink refused so many changes for good."""
        self._dead[(*self._labels[grant_id], reason)].inc(count)

    def retried(self, subscriber: str, sink: str) -> None:
        """A batch is given to the sink again."""
        self._retries[subscriber, sink].inc()

    def lag(self, grant_id: str, seconds: float) -> None:
        """The grant's oldest undelivered change is so old; 0 when there is none."""
        self._lag[grant_id,].set(seconds)
        self._health.lag("grant", grant_id, seconds)

    def parked(self, subscriber: str, sink: str, is_parked: bool) -> None:
        """Whether the lane has stopped trying for a while (invariant 8: only this lane)."""
        self._parked[subscriber, sink].set(is_parked)
        self._health.down("sink", f"{subscriber}.{sink}", is_parked)


class Page:
    """The `/metrics` page of this process: `port` on the loopback address, until `close`. `/recent`: see ops/metrics/recent.py."""

    def __init__(self, directory: Path, target: Target, server: Any, thread: threading.Thread, recent: Recent) -> None:
        self.port = target.port
        self._directory = directory
        self._target = target
        self._server = server
        self._thread = thread
        self._recent = recent

    def close(self) -> None:
        """Take the page down and its entry off the list of targets."""
        unregister(self._directory, self._target)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._recent.close()


class _Handler(WSGIRequestHandler):
    """Answers without a line in the log for each question."""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def serve(directory: Path, process: str, exporter: Exporter = EXPORTER) -> Page:
    """Serve `/metrics` on a free loopback port (or MESH_METRICS_PORT) and enter it where Prometheus finds it.

    Raises Misconfigured when the port is taken or is no number.
    """
    wish = os.environ.get("MESH_METRICS_PORT", "0")
    recent = Recent(lambda: prometheus_client.generate_latest(exporter.registry.restricted_registry(RECENT)))
    app: Any = guarded(recent.beside(prometheus_client.make_wsgi_app(exporter.registry)))
    try:
        server = make_server("127.0.0.1", int(wish), app, ThreadingWSGIServer, _Handler)
    except (ValueError, OSError, OverflowError) as error:
        raise Misconfigured(
            "MESH_METRICS_PORT",
            f"{wish}: {error}",
            fix="name a free port, or leave it unset: each process then takes a free one",
        ) from error
    recent.start()
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    return Page(directory, register(directory, process, server.server_port), server, thread, recent)
