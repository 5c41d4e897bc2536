"""The subscriber dashboard (订阅方): what each gets by which grant, how late, and how its targets are."""

from __future__ import annotations

from ops.dashboards.link import CONSOLE_LINKS, GRANT_LINKS
from ops.dashboards.panel import Dashboard, Panel, Rows
from ops.dashboards.query import ALARM, GRANT, LAG, SUBSCRIBER, largest, latency, rates
from ops.metrics.metric import DERIVED

_GRANT = f",{SUBSCRIBER},{GRANT}"

ROWS: Rows = {
    "Delivery 交付": (
        Panel(
            title="Delivered by grant 各授权交付",
            description="Changes per second that the subscriber holds durably, by grant.",
            unit="cps",
            queries={"{{grant_id}}": rates("mesh_delivered_total", "grant_id", _GRANT)},
            is_stacked=True,
            links=GRANT_LINKS,
        ),
        Panel(
            title="Delivered bytes by grant 交付字节",
            description="Bytes per second delivered, by grant.",
            unit="Bps",
            queries={"{{grant_id}}": rates("mesh_delivered_bytes_total", "grant_id", _GRANT)},
            is_stacked=True,
        ),
        Panel(
            title="Routed by grant 各授权路由",
            description="Changes per second that a grant lets through, and bytes of them, before they are delivered.",
            unit="cps",
            queries={
                "{{grant_id}}": rates("mesh_routed_total", "grant_id", _GRANT),
                "{{grant_id}} bytes": rates("mesh_routed_bytes_total", "grant_id", _GRANT),
            },
        ),
        Panel(
            title="Suppressed by grant 授权过滤",
            description="Changes per second that a grant's row filter or columns held back from its subscriber.",
            unit="cps",
            queries={"{{grant_id}}": rates("mesh_suppressed_total", "grant_id", _GRANT)},
        ),
        Panel(
            title="Backfill by grant 存量补发",
            description="Changes per second of a feed's past that go to grants which joined later.",
            unit="cps",
            queries={"{{grant_id}}": rates("mesh_backfilled_total", "grant_id", f",{GRANT}")},
        ),
        Panel(
            title="Grants by status 授权状态",
            description="Grants of each subscriber by status: active, suspended, asked for and not answered, over.",
            unit="short",
            queries={"{{subscriber}} {{status}}": largest("mesh_grants", "subscriber, status", f",{SUBSCRIBER}")},
            kind="bargauge",
        ),
    ),
    "Timeliness 时效": (
        Panel(
            title="End-to-end latency 端到端时延",
            description="From the commit in the department's database to the subscriber's acknowledgement, captured feeds.",
            unit="s",
            queries={"p50": latency(0.5), "p95": latency(0.95), "p99": latency(0.99)},
        ),
        Panel(
            title="Latency of derived feeds 派生数据时延",
            description="The same of what flows derive, which may wait for evidence on purpose.",
            unit="s",
            queries={"p50": latency(0.5, DERIVED), "p99": latency(0.99, DERIVED)},
        ),
        Panel(
            title="Delivery lag by grant 交付滞后",
            description="Age of the oldest change of each grant that the subscriber does not hold yet.",
            unit="s",
            queries={"{{grant_id}}": largest("mesh_delivery_lag_seconds", "grant_id", f",{GRANT}")},
            thresholds=LAG,
            links=GRANT_LINKS,
        ),
        Panel(
            title="Of the promised freshness 占承诺时效",
            description="The lag of each grant as a part of what its feed's contract promises; from 1 on the promise is missed.",
            unit="percentunit",
            queries={
                "{{grant_id}}": largest("mesh_delivery_lag_seconds", "grant_id", f",{GRANT}")
                + " / "
                + largest("mesh_promised_seconds", "grant_id", _GRANT)
            },
            thresholds=((None, "green"), (0.5, "yellow"), (1.0, "red")),
        ),
        Panel(
            title="Kept and missed promises 时效承诺",
            description="Deliveries per second (a sample of large batches) within the promised freshness of their feed, or later.",
            unit="cps",
            queries={
                "{{subscriber}} kept: {{kept}}": rates("mesh_promised_total", "subscriber, kept", f",{SUBSCRIBER}")
            },
        ),
        Panel(
            title="Budget burnt 错误预算消耗",
            description="Share of captured changes slower than a second over the last five minutes, hour and six hours.",
            unit="percentunit",
            queries={
                "{{subscriber}} 5m": f"mesh:slow:ratio5m{{{SUBSCRIBER}}}",
                "{{subscriber}} 1h": f"mesh:slow:ratio1h{{{SUBSCRIBER}}}",
                "{{subscriber}} 6h": f"mesh:slow:ratio6h{{{SUBSCRIBER}}}",
            },
            thresholds=((None, "green"), (0.01, "yellow"), (0.06, "red")),
        ),
    ),
    "Targets 目标": (
        Panel(
            title="Parked targets 暂停的目标",
            description="1 while a sink is parked because its target refuses or does not answer; its changes are kept.",
            unit="short",
            queries={"{{subscriber}}/{{sink}}": largest("mesh_parked", "subscriber, sink", f",{SUBSCRIBER}")},
            thresholds=ALARM,
            links=CONSOLE_LINKS,
        ),
        Panel(
            title="Retries 重试",
            description="Batches given to a sink again per second.",
            unit="cps",
            queries={"{{subscriber}}/{{sink}}": rates("mesh_retries_total", "subscriber, sink", f",{SUBSCRIBER}")},
        ),
        Panel(
            title="Held on purpose 人工暂停",
            description="1 while a person, or quiet hours, hold a grant's delivery.",
            unit="short",
            queries={"{{grant_id}}": largest("mesh_paused", "grant_id", f",{GRANT}")},
            thresholds=((None, "green"), (1.0, "yellow")),
        ),
        Panel(
            title="Days left of grants 授权剩余天数",
            description="Days until the validity of each active grant ends, where it does.",
            unit="d",
            queries={
                "{{grant_id}}": "("
                + largest("mesh_grant_ends_timestamp_seconds", "grant_id", _GRANT)
                + " - time()) / 86400"
            },
            kind="bargauge",
            thresholds=((None, "red"), (7.0, "yellow"), (30.0, "green")),
            links=GRANT_LINKS,
        ),
    ),
}

DASHBOARD = Dashboard(
    name="subscriber",
    title="pearlmesh · subscribers and grants 订阅方",
    description="What each subscriber gets by which grant, how late, how much of what was promised, and how its targets are.",
    rows=ROWS,
    variables=("subscriber", "grant"),
)
