"""Metric names: the whole list of what the mesh exports, by name.

`ops/metrics/exporter.py` exports exactly these, and dashboards and alerts are tested against them. Labels are codes of feeds, grants,
subscribers, sources and reasons: bounded, and never a key, an address or a message (OP-01).
"""

from __future__ import annotations

from dataclasses import dataclass

from schemas.agreement.directory import Directory

LATENCY_BUCKETS_SECONDS = (
    *(0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075),
    *(0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75),
    *(1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0),
    *(15.0, 30.0, 60.0, 120.0, 300.0, 600.0),  # what waits for a server that is down, or in a flow for evidence
)


@dataclass(frozen=True, slots=True)
class Exported:
    """One exported metric: counter, gauge or histogram; its labels; what it says."""

    kind: str
    labels: tuple[str, ...]
    help: str


_GRANT = ("subscriber", "feed", "grant_id")

CAPTURED, DERIVED = "captured", "derived"
"""Where a feed comes from: a department's database, or a flow, which may have waited for evidence on purpose."""


def origin_of(directory: Directory, feed: str) -> str:
    """CAPTURED or DERIVED."""
    return DERIVED if directory.is_derived(feed) else CAPTURED


METRICS = {
    # Capture:
    "mesh_events_total": Exported(
        "counter", ("feed", "op", "origin"), "Row changes that reached a feed (c, u, d, r, t), captured or derived by a flow."
    ),
    "mesh_event_bytes_total": Exported("counter", ("feed", "origin"), "Bytes that reached a feed, keys and values."),
    "mesh_rejected_total": Exported("counter", ("feed", "hop", "reason"), "Changes dead-lettered on the way to the grants."),
    "mesh_capture_lag_seconds": Exported("gauge", ("source",), "Age of the oldest commit that is not captured yet."),
    "mesh_capture_connected": Exported("gauge", ("source",), "1 while the change log of the source is being read."),
    "mesh_capture_retained_bytes": Exported("gauge", ("source",), "Log that the source keeps on disk for the mesh."),
    "mesh_snapshot_rows": Exported("gauge", ("feed",), "Rows of the initial snapshot read so far."),
    "mesh_snapshot_rows_expected": Exported("gauge", ("feed",), "Rows that the initial snapshot has to read, as estimated."),
    # Streams:
    "mesh_processed_total": Exported("counter", ("feed",), "Changes of a feed that streams took."),
    "mesh_routed_total": Exported("counter", _GRANT, "Changes routed to a grant."),
    "mesh_suppressed_total": Exported("counter", _GRANT, "Changes that a grant's row filter or columns held back."),
    "mesh_routed_bytes_total": Exported("counter", _GRANT, "Bytes routed to a grant."),
    "mesh_backfilled_total": Exported("counter", ("grant_id",), "Changes routed to a grant while catching up on the feed's past."),
    "mesh_stream_lag_records": Exported("gauge", ("feed",), "Records of a feed that streams have not taken yet."),
    "mesh_stream_lag_seconds": Exported("gauge", ("feed",), "Age of the oldest record of a feed that streams have not taken yet."),
    "mesh_stream_partition_lag_records": Exported("gauge", ("feed", "partition"), "The same by partition of the feed."),
    # Flows:
    "mesh_flow_lag_records": Exported("gauge", ("flow",), "Records that a flow has not folded yet, in its feeds and the inbox."),
    "mesh_flow_lag_seconds": Exported("gauge", ("flow",), "Age of the oldest record that a flow has not folded yet."),
    "mesh_flow_task_lag_records": Exported("gauge", ("task",), "Messages in a task's partition of the inbox, not folded yet."),
    "mesh_flow_task_lag_seconds": Exported("gauge", ("task",), "Age of the oldest of them."),
    "mesh_flow_messages_total": Exported("counter", ("flow",), "Messages to subjects that a flow folded."),
    "mesh_flow_changes_total": Exported("counter", ("flow", "feed"), "Row changes that a flow wrote to a derived feed."),
    "mesh_flow_queued_total": Exported("counter", ("flow", "kind"), "Items that a flow put on its queue, for a person."),
    "mesh_flow_clock_seconds": Exported("gauge", ("flow",), "A flow's event clock, seconds since 1970."),
    "mesh_flow_restored_records": Exported("gauge", ("task",), "Changelog records read while a task's state is restored."),
    "mesh_flow_restored_records_expected": Exported("gauge", ("task",), "Changelog records to read for it."),
    "mesh_board": Exported("gauge", ("feed", "row", "column"), "A figure that a flow publishes on a board (ops/metrics/board.py)."),
    # Delivery:
    "mesh_delivered_total": Exported("counter", _GRANT, "Changes that the subscriber's sink holds durably."),
    "mesh_delivered_bytes_total": Exported("counter", _GRANT, "Bytes of the changes delivered."),
    "mesh_delivery_latency_seconds": Exported(
        "histogram", ("subscriber", "origin"), "Commit at the source to acknowledgement, for captured and for derived feeds."
    ),
    "mesh_dead_total": Exported("counter", (*_GRANT, "reason"), "Changes that a subscriber's sink could not take; dead-lettered."),
    "mesh_retries_total": Exported("counter", ("subscriber", "sink"), "Batches given to a sink again."),
    "mesh_delivery_lag_seconds": Exported("gauge", ("grant_id",), "Age of the oldest change of a grant not delivered yet."),
    "mesh_parked": Exported("gauge", ("subscriber", "sink"), "1 while a sink is parked because its subscriber is unwell."),
    "mesh_paused": Exported("gauge", ("grant_id",), "1 while a person, or quiet hours, hold a grant's delivery: see `mesh status`."),
    "mesh_promised_total": Exported(
        "counter", ("subscriber", "feed", "kept"), "Deliveries (a sample of large batches) within the promised freshness: yes or no."
    ),
    "mesh_promised_seconds": Exported("gauge", _GRANT, "Within how long a feed's contract promises changes."),
    "mesh_replays_total": Exported("counter", ("grant_id",), "Times that a grant was set back, to be delivered again."),
    # What is agreed, told by delivery:
    "mesh_contract_version": Exported("gauge", ("feed", "agency", "origin", "sharing"), "The version of a feed's contract."),
    "mesh_grants": Exported("gauge", ("subscriber", "status"), "Grants of a subscriber, by status."),
    "mesh_grant_ends_timestamp_seconds": Exported("gauge", _GRANT, "When an active grant's validity ends, where it does."),
    # The ledger, compared by the console:
    "mesh_ledger_records": Exported("gauge", ("line", "side"), "Records that a line's writer wrote, or its reader read."),
    "mesh_ledger_standing": Exported("gauge", ("line", "standing"), "1 for a line's present standing: balanced, behind, red …"),
    # Kafka, as streams and flows see it:
    "mesh_kafka_brokers": Exported("gauge", ("group",), "Brokers that whoever watches a group sees; 0 while none answers."),
    "mesh_kafka_partitions": Exported("gauge", ("group", "state"), "Partitions: offline, under_replicated, and all."),
    # Every process, of its host:
    "mesh_disk_free_bytes": Exported("gauge", ("host",), "Free space where the mesh's directory lies."),
    "mesh_disk_size_bytes": Exported("gauge", ("host",), "The size of that file system."),
    "mesh_certificate_ends_timestamp_seconds": Exported(
        "gauge", ("host", "certificate"), "Until when the certificate of our servers, or ours on Kafka, is good."
    ),
    "mesh_hop": Exported("gauge", ("hop",), "1 while a process of this hop runs."),
    # Every process:
    "mesh_incidents": Exported("gauge", ("kind", "name", "state"), "1 for each incident: see `mesh status` for why."),
    "mesh_entity_health": Exported("gauge", ("kind", "entity", "status"), "1 for the present status: ok, stuck or down."),
    "mesh_build_info": Exported("gauge", ("version", "python"), "Always 1; the labels say what runs."),
}  # fmt: skip

RECENT = (
    "mesh_events_total",
    "mesh_processed_total",
    "mesh_delivered_total",
    "mesh_flow_messages_total",
    "mesh_delivery_latency_seconds_bucket",
)
"""What every process keeps of its last seconds (ops/metrics/recent.py): the rates, movements and latencies of `mesh status`."""
