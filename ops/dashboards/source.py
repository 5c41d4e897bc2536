"""The source dashboard (数据源): capture of each database, and its feeds up to the streams, by partition."""

from __future__ import annotations

from ops.dashboards.link import CONSOLE_LINKS, FEED_LINKS
from ops.dashboards.panel import Dashboard, Panel, Rows
from ops.dashboards.query import FEED, LAG, SOURCE, UP, grown, largest, rates
from ops.dashboards.variable import WHO

ROWS: Rows = {
    "Capture 采集": (
        Panel(
            title="Capture connected 采集连接",
            description="Whether the change log of each source is being read.",
            unit="none",
            queries={"{{source}}": largest("mesh_capture_connected", "source", f",{SOURCE}")},
            kind="stat",
            mappings=UP,
            thresholds=((None, "red"), (1.0, "green")),
            links=CONSOLE_LINKS,
        ),
        Panel(
            title="Capture lag 采集滞后",
            description="Age of the oldest commit of each source that is not captured yet.",
            unit="s",
            queries={"{{source}}": largest("mesh_capture_lag_seconds", "source", f",{SOURCE}")},
            thresholds=LAG,
        ),
        Panel(
            title="Log kept by the source 源端日志保留",
            description="Bytes of change log that each source keeps on its disk until the mesh has captured them.",
            unit="bytes",
            queries={"{{source}}": largest("mesh_capture_retained_bytes", "source", f",{SOURCE}")},
            thresholds=((None, "green"), (1e9, "yellow"), (4e9, "red")),
        ),
    ),
    "Feeds 数据": (
        Panel(
            title="Changes by feed 各数据变更",
            description="Row changes per second that reached each feed, captured or derived by a flow.",
            unit="cps",
            queries={"{{feed}}": rates("mesh_events_total", "feed", f",{FEED}")},
            is_stacked=True,
            links=FEED_LINKS,
        ),
        Panel(
            title="Changes by operation 操作类型",
            description="Row changes per second: c insert, u update, d delete, r snapshot row, t truncate.",
            unit="cps",
            queries={"{{op}}": rates("mesh_events_total", "op", f",{FEED}")},
            is_stacked=True,
        ),
        Panel(
            title="Bytes by feed 各数据字节",
            description="Bytes per second written to each feed, keys and values, before compression.",
            unit="Bps",
            queries={"{{feed}}": rates("mesh_event_bytes_total", "feed", f",{FEED}")},
            is_stacked=True,
        ),
        Panel(
            title="Snapshot progress 初始快照进度",
            description="Part of the expected rows of each feed's initial snapshot that has been read.",
            unit="percentunit",
            maximum=1,
            queries={
                "{{feed}}": f"max by (feed) (mesh_snapshot_rows{{{WHO},{FEED}}}) / "
                f"(max by (feed) (mesh_snapshot_rows_expected{{{WHO},{FEED}}}) > 0)"
            },
            kind="bargauge",
        ),
        Panel(
            title="Set aside at capture and by rules 死信",
            description="Changes set aside in the time shown, by feed, hop and reason: not encodable, not readable, a fatal rule.",
            unit="short",
            queries={"{{feed}} {{hop}} {{reason}}": grown("mesh_rejected_total", "feed, hop, reason", f",{FEED}")},
            kind="bargauge",
        ),
        Panel(
            title="Processed by streams 治理处理",
            description="Changes per second that streams enriched and routed, by feed.",
            unit="cps",
            queries={"{{feed}}": rates("mesh_processed_total", "feed", f",{FEED}")},
        ),
    ),
    "Partitions 分区": (
        Panel(
            title="Streams lag by feed 治理滞后",
            description="Age of the oldest record of each feed that streams have not taken yet.",
            unit="s",
            queries={"{{feed}}": largest("mesh_stream_lag_seconds", "feed", f",{FEED}")},
            thresholds=LAG,
        ),
        Panel(
            title="Records behind by feed 治理积压",
            description="Records of each feed that streams have not taken yet.",
            unit="short",
            queries={"{{feed}}": largest("mesh_stream_lag_records", "feed", f",{FEED}")},
        ),
        Panel(
            title="Records behind by partition 分区积压",
            description="Records of each partition of a feed that streams have not taken yet.",
            unit="short",
            queries={
                "{{feed}} [{{partition}}]": largest("mesh_stream_partition_lag_records", "feed, partition", f",{FEED}")
            },
        ),
    ),
}

DASHBOARD = Dashboard(
    name="source",
    title="pearlmesh · sources and feeds 数据源",
    description="Capture of each source, its feeds, and how far streams are with every partition of them.",
    rows=ROWS,
    variables=("source", "feed"),
)
