"""The dashboard of contracts and onboarding (契约与接入): who provides what, to whom, until when, and what joins now."""

from __future__ import annotations

from ops.dashboards.link import CONSOLE_LINKS, FEED_LINKS, GRANT_LINKS, SUBSCRIBER_LINKS
from ops.dashboards.panel import Dashboard, Panel, Rows
from ops.dashboards.query import AGENCY, ALARM, SUBSCRIBER, largest, rates
from ops.dashboards.variable import WHO

_FEEDS = f"max by (feed, agency, origin, sharing) (mesh_contract_version{{{WHO},{AGENCY}}})"

ROWS: Rows = {
    "Agreed 约定": (
        Panel(
            title="Feeds 信息资源数",
            description="Feeds that are onboarded, captured and derived.",
            unit="short",
            queries={"{{origin}}": f"count by (origin) ({_FEEDS})"},
            kind="stat",
            width=4,
            height=4,
        ),
        Panel(
            title="Agencies 提供部门数",
            description="Agencies that provide at least one feed.",
            unit="short",
            queries={"agencies": f"count(count by (agency) ({_FEEDS}))"},
            kind="stat",
            width=4,
            height=4,
        ),
        Panel(
            title="Active grants 生效授权数",
            description="Grants by which something flows now.",
            unit="short",
            queries={"active": f'sum(max by (subscriber) (mesh_grants{{{WHO},{SUBSCRIBER},status="ACTIVE"}}))'},
            kind="stat",
            width=4,
            height=4,
        ),
        Panel(
            title="Requests overdue 逾期申请",
            description="Requests for grants that nobody answered in time.",
            unit="short",
            queries={"overdue": f'count(max by (name) (mesh_incidents{{{WHO},kind="request"}})) or vector(0)'},
            kind="stat",
            width=4,
            height=4,
            thresholds=ALARM,
            links=CONSOLE_LINKS,
        ),
        Panel(
            title="By sharing class 共享属性",
            description="Feeds by sharing class: unconditional, conditional, not shared.",
            unit="short",
            queries={"{{sharing}}": f"count by (sharing) ({_FEEDS})"},
            kind="bargauge",
            height=4,
        ),
    ),
    "Contracts 契约": (
        Panel(
            title="Feeds by agency 各部门信息资源",
            description="How many feeds each agency provides.",
            unit="short",
            queries={"{{agency}}": f"count by (agency) ({_FEEDS})"},
            kind="bargauge",
        ),
        Panel(
            title="Contract versions 契约版本",
            description="The version of each feed's contract; a step is a successor that was onboarded.",
            unit="none",
            queries={"{{feed}}": f"max by (feed) (mesh_contract_version{{{WHO},{AGENCY}}})"},
            links=FEED_LINKS,
        ),
        Panel(
            title="Contracts changed 契约变更",
            description="Feeds of each agency whose contract got a successor within the last hour.",
            unit="short",
            queries={
                "{{agency}}": "sum by (agency) (max by (feed, agency) "
                f"(changes(mesh_contract_version{{{WHO},{AGENCY}}}[1h])) > bool 0)"
            },
        ),
    ),
    "Grants 授权": (
        Panel(
            title="Grants by status 授权状态",
            description="Grants of each subscriber by status.",
            unit="short",
            queries={"{{subscriber}} {{status}}": largest("mesh_grants", "subscriber, status", f",{SUBSCRIBER}")},
            kind="bargauge",
            links=SUBSCRIBER_LINKS,
        ),
        Panel(
            title="Days left of grants 授权剩余天数",
            description="Days until the validity of each active grant ends, where it does.",
            unit="d",
            queries={
                "{{grant_id}}": "("
                + largest("mesh_grant_ends_timestamp_seconds", "grant_id", f",{SUBSCRIBER}")
                + " - time()) / 86400"
            },
            kind="bargauge",
            thresholds=((None, "red"), (7.0, "yellow"), (30.0, "green")),
            links=GRANT_LINKS,
        ),
        Panel(
            title="Promised freshness 承诺时效",
            description="Within how long a change is promised to each subscriber, the shortest of its grants.",
            unit="s",
            queries={
                "{{subscriber}}": f"min by (subscriber) (mesh_promised_seconds{{{WHO},{SUBSCRIBER}}})",
            },
            kind="bargauge",
            links=SUBSCRIBER_LINKS,
        ),
    ),
    "Onboarding 接入": (
        Panel(
            title="Snapshots under way 进行中的快照",
            description="Feeds whose initial snapshot is not complete yet.",
            unit="short",
            queries={
                "feeds": f"sum(max by (feed) (mesh_snapshot_rows{{{WHO}}}) < bool "
                f"max by (feed) (mesh_snapshot_rows_expected{{{WHO}}}))"
            },
        ),
        Panel(
            title="Snapshot rows per second 快照速率",
            description="Rows that initial snapshots read per second, by feed.",
            unit="cps",
            queries={"{{feed}}": rates("mesh_events_total", "feed", ',op="r"')},
            is_stacked=True,
            links=FEED_LINKS,
        ),
        Panel(
            title="Backfill by grant 存量补发",
            description="Changes per second of a feed's past that go to grants which joined later.",
            unit="cps",
            queries={"{{grant_id}}": rates("mesh_backfilled_total", "grant_id")},
            links=GRANT_LINKS,
        ),
    ),
}

DASHBOARD = Dashboard(
    name="contracts",
    title="pearlmesh · contracts and onboarding 契约与接入",
    description="Who provides what to whom, until when, with which promise, and what joins now.",
    rows=ROWS,
    variables=("agency", "subscriber"),
)
