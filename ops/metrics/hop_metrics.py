"""What capture, streams and delivery report: the observers that their loops call, once per batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from ops.metrics.directory_metrics import promised_seconds
from ops.metrics.exporter import EXPORTER, Exporter
from ops.metrics.metric import CAPTURED, origin_of
from ops.watch.lag import TopicLag
from schemas.agreement.directory import Directory
from schemas.agreement.grant import Status

OPS = "cudrt"


def _begin(counters: Mapping[tuple[str, ...], object], known: Iterable[tuple[str, ...]]) -> None:
    """A look-up is enough for a counter to be on the page."""
    for labels in known:
        counters[labels]


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

    def known(self, directory: Directory) -> None:
        """Begin at zero what is known: a series that begins with its first trouble rises from nothing, and no rate sees it."""
        for feed in directory.feeds:
            if not directory.is_derived(feed):
                _begin(self._events, [(feed, op, CAPTURED) for op in OPS])
                _begin(self._bytes, [(feed, CAPTURED)])
                _begin(self._rejected, [(feed, "capture", "not_encodable")])

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

    def promised(self, feed: str) -> float | None:
        """Within how many seconds the feed's contract promises a change; None where it promises nothing."""
        entry = self._directory().feeds.get(feed) if self._directory else None
        return promised_seconds(entry) if entry else None

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
        self._partition_lag = exporter.gauge("mesh_stream_partition_lag_records")
        self._health = exporter.health

    def known(self, directory: Directory) -> None:
        """Begin at zero what is known, as in CaptureMetrics."""
        for feed, entry in directory.feeds.items():
            fatal = [f"rule_{rule.name}" for rule in entry.contract.rules if rule.is_fatal]
            _begin(self._processed, [(feed,)])
            _begin(self._rejected, [(feed, "streams", reason) for reason in ("not_decodable", *fatal)])
        for grant_id in directory.grants:
            labels = self._labels[grant_id]
            for counters in (self._routed, self._suppressed, self._bytes):
                _begin(counters, [labels])
            _begin(self._backfilled, [(grant_id,)])

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
            for partition, (records, _) in lag.by_partition.items():
                self._partition_lag[feed, str(partition)].set(records)
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
        self._paused = exporter.gauge("mesh_paused")
        self._latencies = exporter.latencies
        self._promised = exporter.counter("mesh_promised_total")
        self._replays = exporter.counter("mesh_replays_total")
        self._health = exporter.health

    def known(self, directory: Directory) -> None:
        """Begin at zero what is known, as in CaptureMetrics."""
        for grant_id, entry in directory.grants.items():
            labels, sink = self._labels[grant_id], (entry.grant.subscriber, entry.grant.sink)
            for counters in (self._delivered, self._bytes):
                _begin(counters, [labels])
            _begin(self._dead, [(*labels, "not_decodable")])
            _begin(self._replays, [(grant_id,)])
            _begin(self._retries, [sink])
            self._latencies.observe((labels[0], self._labels.origins[labels[1]]), ())
            if self._labels.promised(labels[1]) is not None:
                _begin(self._promised, [(*labels[:2], kept) for kept in ("yes", "no")])
            if entry.grant.status == Status.ACTIVE:
                _begin(self._parked, [sink])

    def delivered(self, grant_id: str, count: int, size_bytes: int, latencies_seconds: Sequence[float]) -> None:
        """So many changes are durable at the subscriber; a latency for each, or for those whose commit time is known."""
        labels = self._labels[grant_id]
        self._delivered[labels].inc(count)
        self._bytes[labels].inc(size_bytes)
        self._latencies.observe((labels[0], self._labels.origins[labels[1]]), latencies_seconds)
        if (promised := self._labels.promised(labels[1])) is not None and latencies_seconds:
            late = sum(seconds > promised for seconds in latencies_seconds)
            self._promised[*labels[:2], "yes"].inc(len(latencies_seconds) - late)
            self._promised[*labels[:2], "no"].inc(late)

    def replayed(self, grant_id: str) -> None:
        """The grant's target was set back."""
        self._replays[grant_id,].inc()

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

    def paused(self, grant_id: str, by: str) -> None:
        """What holds the grant's delivery on purpose; its lag is then no sign that anything is stuck."""
        self._paused[grant_id,].set(bool(by))
        if by:
            self._health.lag("grant", grant_id, 0.0)
