"""What the flows report, and the figures that they publish: observers like those in ops/metrics/hop_metrics.py."""

from __future__ import annotations

from collections.abc import Iterable

from ops.metrics.exporter import EXPORTER, Exporter
from ops.metrics.metric import DERIVED


class FlowMetrics:
    """What the flows' runner reports."""

    def __init__(self, exporter: Exporter = EXPORTER) -> None:
        self._messages = exporter.counter("mesh_flow_messages_total")
        self._changes = exporter.counter("mesh_flow_changes_total")
        self._events = exporter.counter("mesh_events_total")
        self._bytes = exporter.counter("mesh_event_bytes_total")
        self._queued = exporter.counter("mesh_flow_queued_total")
        self._clock = exporter.gauge("mesh_flow_clock_seconds")
        self._restored = exporter.gauge("mesh_flow_restored_records")
        self._expected = exporter.gauge("mesh_flow_restored_records_expected")
        self._lag_records = exporter.gauge("mesh_flow_lag_records")
        self._lag_seconds = exporter.gauge("mesh_flow_lag_seconds")
        self._task_lag_records = exporter.gauge("mesh_flow_task_lag_records")
        self._task_lag_seconds = exporter.gauge("mesh_flow_task_lag_seconds")
        self._health = exporter.health

    def known(self, flows: Iterable[str]) -> None:
        """Begin at zero what is known, as in CaptureMetrics: by flow, for what a flow derives and queues it says itself."""
        for flow in flows:
            self._messages[flow,].inc(0)

    def lag(self, flow: str, records: int, seconds: float) -> None:
        """So many records wait for the flow, the oldest for so long."""
        self._lag_records[flow,].set(records)
        self._lag_seconds[flow,].set(seconds)
        self._health.lag("flow", flow, seconds)

    def task_lag(self, task: str, records: int, seconds: float) -> None:
        """So many messages wait in the task's partition of the inbox."""
        self._task_lag_records[task,].set(records)
        self._task_lag_seconds[task,].set(seconds)
        for begun in (self._restored, self._expected):  # a task that had nothing to read back has nothing left to read
            begun[task,]

    def taken(self, flow: str, count: int) -> None:
        """So many messages are folded."""
        self._messages[flow,].inc(count)

    def emitted(self, flow: str, feed: str, op: str, count: int, size_bytes: int) -> None:
        """So many changes of one kind are durable on a derived feed: counted as those of any feed, and by flow."""
        self._changes[flow, feed].inc(count)
        self._events[feed, op, DERIVED].inc(count)
        self._bytes[feed, DERIVED].inc(size_bytes)

    def queued(self, flow: str, kind: str, count: int) -> None:
        """So many new items wait for a person."""
        self._queued[flow, kind].inc(count)

    def clock(self, flow: str, event_at: int) -> None:
        """The flow's event clock, microseconds."""
        self._clock[flow,].set(event_at / 1_000_000)

    def restored(self, partition: int, done: int, total: int) -> None:
        """How far a task is read back."""
        self._restored[str(partition),].set(done)
        self._expected[str(partition),].set(total)


class BoardMetrics:
    """The figures of boards: `ops.metrics.board.Gauge`."""

    def __init__(self, exporter: Exporter = EXPORTER) -> None:
        self._figures = exporter.gauge("mesh_board")

    def figure(self, feed: str, row: str, column: str, value: float | None) -> None:
        """The figure stands so; None takes it off the page."""
        if value is None:
            self._figures.drop((feed, row, column))
        else:
            self._figures[feed, row, column].set(value)
