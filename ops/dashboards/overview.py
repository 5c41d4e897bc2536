"""The overview (交换总览): what moves, from which department to which, how late, and what is unwell."""

from __future__ import annotations

from ops.dashboards.link import CONSOLE_LINKS, FEED_LINKS, FLOW_LINKS, GRANT_LINKS, SOURCE_LINKS, SUBSCRIBER_LINKS
from ops.dashboards.panel import Dashboard, Panel, Rows
from ops.dashboards.query import ALARM, FEED, FROM_SOURCES, LAG, SUBSCRIBER, grown, largest, latency, providing, rates
from ops.dashboards.variable import WHO
from ops.metrics.metric import DERIVED

_SLOW = ((None, "green"), (0.25, "yellow"), (1.0, "red"))
_BURNS = ((None, "green"), (0.01, "yellow"), (0.06, "red"))

ROWS: Rows = {
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
            thresholds=_SLOW,
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
            description="Sources, feeds, flows, grants and sinks that are cut off, parked, or have lag and do not move.",
            unit="short",
            queries={"unwell": f'sum(mesh_entity_health{{{WHO},status=~"stuck|down"}})'},
            kind="stat",
            width=4,
            height=4,
            thresholds=ALARM,
            links=CONSOLE_LINKS,
        ),
    ),
    "From department to department 部门间交换": (
        Panel(
            title="Changes delivered, provider by subscriber 提供方与订阅方",
            description="Changes that each subscriber (column) got of each providing agency (row) in the time shown.",
            unit="short",
            queries={
                "{{provider}} {{subscriber}}": "sum by (provider, subscriber) ("
                + providing(grown("mesh_delivered_total", "feed, subscriber", f",{FEED},{SUBSCRIBER}"))
                + ")"
            },
            kind="table",
            matrix=("provider", "subscriber"),
            width=24,
            height=12,
        ),
        Panel(
            title="Provided by agency 各部门提供",
            description="Changes per second of each providing agency that subscribers got.",
            unit="cps",
            queries={
                "{{provider}}": "sum by (provider) ("
                + providing(rates("mesh_delivered_total", "feed", f",{FEED},{SUBSCRIBER}"))
                + ")"
            },
            is_stacked=True,
        ),
        Panel(
            title="Delivered by subscriber 各订阅方交付",
            description="Changes per second that each subscriber holds durably.",
            unit="cps",
            queries={"{{subscriber}}": rates("mesh_delivered_total", "subscriber", f",{FEED},{SUBSCRIBER}")},
            is_stacked=True,
            links=SUBSCRIBER_LINKS,
        ),
        Panel(
            title="Delivered bytes by subscriber 交付字节",
            description="Bytes per second delivered to each subscriber.",
            unit="Bps",
            queries={"{{subscriber}}": rates("mesh_delivered_bytes_total", "subscriber", f",{FEED},{SUBSCRIBER}")},
            is_stacked=True,
            links=SUBSCRIBER_LINKS,
        ),
    ),
    "Volume 流量": (
        Panel(
            title="Captured by feed 各数据源采集",
            description="Row changes per second by feed.",
            unit="cps",
            queries={"{{feed}}": rates("mesh_events_total", "feed", f",{FEED},{FROM_SOURCES}")},
            is_stacked=True,
            links=FEED_LINKS,
        ),
        Panel(
            title="Captured bytes by feed 采集字节",
            description="Bytes per second written to each feed, keys and values, before compression.",
            unit="Bps",
            queries={"{{feed}}": rates("mesh_event_bytes_total", "feed", f",{FEED},{FROM_SOURCES}")},
            is_stacked=True,
            links=FEED_LINKS,
        ),
        Panel(
            title="Captured by operation 操作类型",
            description="Row changes per second: c insert, u update, d delete, r snapshot row, t truncate.",
            unit="cps",
            queries={"{{op}}": rates("mesh_events_total", "op", f",{FEED},{FROM_SOURCES}")},
            is_stacked=True,
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
            title="Slower than a second 超过一秒的比例",
            description="Share of captured changes that took longer than a second in the last hour; the objective is 1 in 100.",
            unit="percentunit",
            queries={"{{subscriber}}": f"mesh:slow:ratio1h{{{SUBSCRIBER}}}"},
            thresholds=_BURNS,
            links=SUBSCRIBER_LINKS,
        ),
        Panel(
            title="Later than promised 超过承诺时效的比例",
            description="Share of changes that came later than their feed's contract promises, in the last hour, by subscriber.",
            unit="percentunit",
            queries={"{{subscriber}}": f"mesh:late:ratio1h{{{SUBSCRIBER}}}"},
            thresholds=_BURNS,
            links=SUBSCRIBER_LINKS,
        ),
        Panel(
            title="Capture lag by source 采集滞后",
            description="Age of the oldest commit of each source that is not captured yet.",
            unit="s",
            queries={"{{source}}": largest("mesh_capture_lag_seconds", "source")},
            thresholds=LAG,
            links=SOURCE_LINKS,
        ),
        Panel(
            title="Streams lag by feed 治理滞后",
            description="Age of the oldest record of each feed that streams have not taken yet.",
            unit="s",
            queries={"{{feed}}": largest("mesh_stream_lag_seconds", "feed", f",{FEED}")},
            thresholds=LAG,
            links=FEED_LINKS,
        ),
        Panel(
            title="Flow lag 业务流滞后",
            description="Age of the oldest record that each flow has not folded yet.",
            unit="s",
            queries={"{{flow}}": largest("mesh_flow_lag_seconds", "flow")},
            thresholds=LAG,
            links=FLOW_LINKS,
        ),
        Panel(
            title="Delivery lag by grant 交付滞后",
            description="Age of the oldest change of each grant that its subscriber does not hold yet.",
            unit="s",
            queries={"{{grant_id}}": largest("mesh_delivery_lag_seconds", "grant_id")},
            thresholds=LAG,
            links=GRANT_LINKS,
            width=24,
        ),
    ),
    "Trouble 异常": (
        Panel(
            title="Incidents 异常事项",
            description="What is stopped, parked, waits or is worth knowing, by kind and state; the console says why and what to do.",
            unit="short",
            queries={
                "{{kind}}: {{state}}": f"count by (kind, state) (max by (kind, name, state) (mesh_incidents{{{WHO}}}))",
                "all": f"count(max by (kind, name) (mesh_incidents{{{WHO}}})) or vector(0)",
            },
            thresholds=ALARM,
            links=CONSOLE_LINKS,
        ),
        Panel(
            title="Unwell by kind 各类异常",
            description="How many sources, feeds, flows, grants and sinks are cut off (down), or have lag and do not move (stuck).",
            unit="short",
            queries={
                "{{kind}}: {{status}}": "sum by (kind, status) (max by (kind, entity, status) "
                f'(mesh_entity_health{{{WHO},status=~"stuck|down"}}))'
            },
            thresholds=ALARM,
            links=CONSOLE_LINKS,
        ),
        Panel(
            title="Dead letters by feed 各数据死信",
            description="Changes set aside per second on the way to the grants, and at subscribers, by feed.",
            unit="cps",
            queries={
                "{{feed}} on the way": rates("mesh_rejected_total", "feed", f",{FEED}"),
                "{{feed}} at a subscriber": rates("mesh_dead_total", "feed", f",{FEED},{SUBSCRIBER}"),
            },
            links=FEED_LINKS,
        ),
    ),
}

DASHBOARD = Dashboard(
    name="overview",
    title="pearlmesh · exchange overview 交换总览",
    description="What moves through the mesh, from which department to which, how late, and what is unwell.",
    rows=ROWS,
)
