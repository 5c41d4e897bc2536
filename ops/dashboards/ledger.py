"""The ledger's dashboard (对账): whether what each hop wrote is what the next one read."""

from __future__ import annotations

from ops.dashboards.link import CONSOLE_LINKS
from ops.dashboards.panel import Dashboard, Panel, Rows
from ops.dashboards.query import ALARM, FEED, grown, rates
from ops.dashboards.variable import WHO

_LINE = 'line=~".*(?:$feed).*"'
"""Lines of a feed, and of every grant of it: a grant's id has the feed's name in it."""

ROWS: Rows = {
    "Now 当前": (
        Panel(
            title="Red lines 不平",
            description="Feeds and subscriptions where what was written is not what was read: skipped, doubled or changed.",
            unit="short",
            queries={"red": f'count(max by (name) (mesh_incidents{{{WHO},kind="ledger"}})) or vector(0)'},
            kind="stat",
            width=6,
            height=4,
            thresholds=ALARM,
            links=CONSOLE_LINKS,
        ),
        Panel(
            title="Lines by standing 各状态条目",
            description="Lines that are balanced, behind (the reader is under way), unsettled, unread or red.",
            unit="short",
            queries={
                "{{standing}}": f"count by (standing) (max by (line, standing) (mesh_ledger_standing{{{WHO},{_LINE}}}))"
            },
            kind="stat",
            width=18,
            height=4,
        ),
    ),
    "Lines 条目": (
        Panel(
            title="Written and not read yet 待核对",
            description="Records that a line's writer wrote and its reader has not read yet; by itself it goes back to nothing.",
            unit="short",
            queries={
                "{{line}}": f'max by (line) (mesh_ledger_records{{{WHO},{_LINE},side="written"}}) - '
                f'max by (line) (mesh_ledger_records{{{WHO},{_LINE},side="read"}})'
            },
        ),
        Panel(
            title="Records by line 各条目记录数",
            description="Records that each line's writer wrote since the ledger began.",
            unit="short",
            queries={"{{line}}": f'max by (line) (mesh_ledger_records{{{WHO},{_LINE},side="written"}})'},
        ),
        Panel(
            title="Not balanced 未平条目",
            description="How many lines are under way, unsettled, unread or red, over time.",
            unit="short",
            queries={
                "{{standing}}": "count by (standing) (max by (line, standing) "
                f'(mesh_ledger_standing{{{WHO},{_LINE},standing!="balanced"}}))',
                "all lines": f"count(max by (line) (mesh_ledger_standing{{{WHO},{_LINE}}}))",
            },
        ),
    ),
    "What became of the changes 变更去向": (
        Panel(
            title="By hop 各环节",
            description="Changes per second captured, taken by streams, routed to grants, held back by grants, and delivered.",
            unit="cps",
            queries={
                "captured": f'sum(rate(mesh_events_total{{{WHO},{FEED},origin="captured"}}[$__rate_interval]))',
                "taken by streams": f"sum(rate(mesh_processed_total{{{WHO},{FEED}}}[$__rate_interval]))",
                "routed": f"sum(rate(mesh_routed_total{{{WHO},{FEED}}}[$__rate_interval]))",
                "held back": f"sum(rate(mesh_suppressed_total{{{WHO},{FEED}}}[$__rate_interval]))",
                "delivered": f"sum(rate(mesh_delivered_total{{{WHO},{FEED}}}[$__rate_interval]))",
            },
        ),
        Panel(
            title="Held back by grants 授权过滤",
            description="Changes that a grant's row filter or columns held back, in the time shown.",
            unit="short",
            queries={"{{grant_id}}": grown("mesh_suppressed_total", "grant_id", f",{FEED}")},
            kind="bargauge",
        ),
        Panel(
            title="Set aside 死信",
            description="Changes per second that became dead letters, on the way and at subscribers.",
            unit="cps",
            queries={
                "{{feed}} on the way": rates("mesh_rejected_total", "feed", f",{FEED}"),
                "{{feed}} at a subscriber": rates("mesh_dead_total", "feed", f",{FEED}"),
            },
        ),
    ),
}

DASHBOARD = Dashboard(
    name="ledger",
    title="pearlmesh · ledger 对账",
    description="Whether what each hop wrote is what the next one read, line by line, and what became of every change.",
    rows=ROWS,
    variables=("feed",),
)
