"""The overview dashboard (交换总览). `python -m ops.dashboards.overview` rewrites `overview.json` beside this file.

A panel is an entry in ROWS: title, what it shows, unit, and its queries. The lint of OP-05 is a test
(tests/unit/ops/test_dashboard.py), and so is that the committed JSON is what this file generates.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ops.dashboards import flows
from ops.dashboards.panel import WHO, Panel, dashboard
from ops.dashboards.query import ALARM, FEED, FROM_SOURCES, LAG, SUBSCRIBER, UP, latency, rates
from ops.metrics.metric import DERIVED

OUTPUT = Path(__file__).with_name("overview.json")


ROWS: Mapping[str, Sequence[Panel]] = {
    "Now 当前": (
        Panel(
            title="Captured 采集速率",
            description="Row changes per second that reached the feeds, all sources together.",
            unit="cps",
            queries={"captured": f"sum(rate(mesh_events_total{{{WHO},{FEED},{FROM_SOURCES}}}[$__rate_interval]))"},
            kind="stat",
            width=4,
            height=4,
        ),
        Panel(
            title="Delivered 交付速率",
            description="Changes per second that subscribers hold durably.",
            unit="cps",
            queries={"delivered": f"sum(rate(mesh_delivered_total{{{WHO},{FEED},{SUBSCRIBER}}}[$__rate_interval]))"},
            kind="stat",
            width=4,
            height=4,
        ),
        Panel(
            title="Latency p99 端到端时延",
            description="99 of 100 changes are acknowledged by their subscriber within this time of the commit at the source.",
            unit="s",
            queries={"p99": latency(0.99)},
            kind="stat",
            width=4,
            height=4,
            thresholds=((None, "green"), (0.25, "yellow"), (1.0, "red")),
        ),
        Panel(
            title="Oldest undelivered 最大积压",
            description="Age of the oldest change that some subscriber should have and does not hold yet.",
            unit="s",
            queries={"lag": f"max(mesh_delivery_lag_seconds{{{WHO}}})"},
            kind="stat",
            width=4,
            height=4,
            thresholds=LAG,
        ),
        Panel(
            title="Dead letters 死信",
            description="Changes set aside in the time shown: broken by contract or rule, or refused by a subscriber.",
            unit="short",
            queries={
                "rejected": f"sum(increase(mesh_rejected_total{{{WHO},{FEED}}}[$__range]))",
                "refused": f"sum(increase(mesh_dead_total{{{WHO},{FEED},{SUBSCRIBER}}}[$__range]))",
            },
            kind="stat",
            width=4,
            height=4,
            thresholds=ALARM,
        ),
        Panel(
            title="Unwell 异常",
            description="Sources, grants and sinks that are cut off, parked, or have lag and do not move.",
            unit="short",
            queries={"unwell": f'sum(mesh_entity_health{{{WHO},status=~"stuck|down"}})'},
            kind="stat",
            width=4,
            height=4,
            thresholds=ALARM,
        ),
    ),
    "Volume 流量": (
        Panel(
            title="Captured by feed 各数据源采集",
            description="Row changes per second by feed.",
            unit="cps",
            queries={"{{feed}}": rates("mesh_events_total", "feed", f",{FEED},{FROM_SOURCES}")},
            is_stacked=True,
        ),
        Panel(
            title="Captured bytes by feed 采集字节",
            description="Bytes per second written to each feed, keys and values, before compression.",
            unit="Bps",
            queries={"{{feed}}": rates("mesh_event_bytes_total", "feed", f",{FEED},{FROM_SOURCES}")},
            is_stacked=True,
        ),
        Panel(
            title="Captured by operation 操作类型",
            description="Row changes per second: c insert, u update, d delete, r snapshot row, t truncate.",
            unit="cps",
            queries={"{{op}}": rates("mesh_events_total", "op", f",{FEED},{FROM_SOURCES}")},
            is_stacked=True,
        ),
        Panel(
            title="Delivered by subscriber 各订阅方交付",
            description="Changes per second that each subscriber holds durably.",
            unit="cps",
            queries={"{{subscriber}}": rates("mesh_delivered_total", "subscriber", f",{FEED},{SUBSCRIBER}")},
            is_stacked=True,
        ),
        Panel(
            title="Delivered bytes by subscriber 交付字节",
            description="Bytes per second delivered to each subscriber.",
            unit="Bps",
            queries={"{{subscriber}}": rates("mesh_delivered_bytes_total", "subscriber", f",{FEED},{SUBSCRIBER}")},
            is_stacked=True,
        ),
        Panel(
            title="Suppressed by grant 授权过滤",
            description="Changes per second that a grant's row filter or columns held back from its subscriber.",
            unit="cps",
            queries={"{{grant_id}}": rates("mesh_suppressed_total", "grant_id", f",{FEED},{SUBSCRIBER}")},
        ),
    ),
    "Timeliness 时效": (
        Panel(
            title="End-to-end latency 端到端时延",
            description="From the commit in the department's database to the subscriber's acknowledgement.",
            unit="s",
            queries={
                "p50": latency(0.5),
                "p95": latency(0.95),
                "p99": latency(0.99),
                "p99 of derived feeds": latency(0.99, DERIVED),
            },
        ),
        Panel(
            title="Capture lag by source 采集滞后",
            description="Age of the oldest commit of each source that is not captured yet.",
            unit="s",
            queries={"{{source}}": f"max by (source) (mesh_capture_lag_seconds{{{WHO}}})"},
            thresholds=LAG,
        ),
        Panel(
            title="Streams lag by feed 治理滞后",
            description="Age of the oldest record of each feed that streams have not taken yet.",
            unit="s",
            queries={"{{feed}}": f"max by (feed) (mesh_stream_lag_seconds{{{WHO},{FEED}}})"},
            thresholds=LAG,
        ),
        Panel(
            title="Records behind by feed 治理积压",
            description="Records of each feed that streams have not taken yet.",
            unit="short",
            queries={"{{feed}}": f"max by (feed) (mesh_stream_lag_records{{{WHO},{FEED}}})"},
        ),
        Panel(
            title="Delivery lag by grant 交付滞后",
            description="Age of the oldest change of each grant that its subscriber does not hold yet.",
            unit="s",
            queries={"{{grant_id}}": f"max by (grant_id) (mesh_delivery_lag_seconds{{{WHO}}})"},
            thresholds=LAG,
        ),
    ),
    **flows.ROWS,
    "Trouble 异常": (
        Panel(
            title="Dead letters by reason 死信原因",
            description="Changes set aside per second: at a hop by contract or rule, or because a subscriber refused them.",
            unit="cps",
            queries={
                "{{hop}}: {{reason}}": rates("mesh_rejected_total", "hop, reason", f",{FEED}"),
                "{{subscriber}}: {{reason}}": rates("mesh_dead_total", "subscriber, reason", f",{FEED},{SUBSCRIBER}"),
            },
        ),
        Panel(
            title="Retries and parked sinks 重试与暂停",
            description="Batches given again per second, sinks that are parked because their subscriber is unwell, and grants that a "
            "person or quiet hours hold.",
            unit="short",
            queries={
                "retries {{subscriber}}/{{sink}}": rates("mesh_retries_total", "subscriber, sink", f",{SUBSCRIBER}"),
                "parked {{subscriber}}/{{sink}}": f"max by (subscriber, sink) (mesh_parked{{{WHO},{SUBSCRIBER}}})",
                "paused {{grant_id}}": f"max by (grant_id) (mesh_paused{{{WHO}}}) > 0",
            },
        ),
        Panel(
            title="Incidents 异常事项",
            description="What is stopped, parked, waits or is worth knowing; `mesh status` says why and what to do.",
            unit="short",
            queries={"{{kind}} {{name}}: {{state}}": f"max by (kind, name, state) (mesh_incidents{{{WHO}}}) > 0"},
            thresholds=ALARM,
        ),
        Panel(
            title="Unwell now 当前异常",
            description="What is cut off, parked, or has lag and does not move; empty when all is well.",
            unit="short",
            queries={
                "{{kind}} {{entity}}: {{status}}": "max by (kind, entity, status) "
                f'(mesh_entity_health{{{WHO},status=~"stuck|down"}}) > 0'
            },
            thresholds=ALARM,
        ),
    ),
    "Sources 数据源": (
        Panel(
            title="Capture connected 采集连接",
            description="Whether the change log of each source is being read.",
            unit="none",
            queries={"{{source}}": f"max by (source) (mesh_capture_connected{{{WHO}}})"},
            kind="stat",
            mappings=UP,
            thresholds=((None, "red"), (1.0, "green")),
        ),
        Panel(
            title="Log kept by the source 源端日志保留",
            description="Bytes of change log that each source keeps on its disk until the mesh has captured them.",
            unit="bytes",
            queries={"{{source}}": f"max by (source) (mesh_capture_retained_bytes{{{WHO}}})"},
        ),
        Panel(
            title="Snapshot progress 初始快照进度",
            description="Part of the expected rows of each feed's initial snapshot that has been read.",
            unit="percentunit",
            queries={
                "{{feed}}": f"max by (feed) (mesh_snapshot_rows{{{WHO},{FEED}}}) / "
                f"(max by (feed) (mesh_snapshot_rows_expected{{{WHO},{FEED}}}) > 0)"
            },
            kind="bargauge",
        ),
        Panel(
            title="Processed by streams 治理处理",
            description="Changes per second that streams enriched and routed, by feed.",
            unit="cps",
            queries={"{{feed}}": rates("mesh_processed_total", "feed", f",{FEED}")},
        ),
        Panel(
            title="Backfill by grant 存量补发",
            description="Changes per second of a feed's past that go to grants which joined later.",
            unit="cps",
            queries={"{{grant_id}}": rates("mesh_backfilled_total", "grant_id")},
        ),
        Panel(
            title="CPU by process 进程 CPU",
            description="Processor time of each process of the mesh; 1 is one core.",
            unit="percentunit",
            queries={"{{instance}}": rates("process_cpu_seconds_total", "instance")},
        ),
    ),
}


def generate() -> dict[str, Any]:
    """The dashboard, in Grafana's JSON model."""
    return dashboard(
        "pearlmesh-overview",
        "pearlmesh · exchange overview 交换总览",
        "What moves through the mesh, how late, to whom, and what is unwell.",
        ROWS,
    )


def render() -> str:
    """The text of `overview.json`."""
    return json.dumps(generate(), ensure_ascii=False, indent=2) + "\n"


if __name__ == "__main__":
    OUTPUT.write_text(render())
