"""The dashboard of dead letters and replay (死信与重放): what was set aside, why, and what is delivered again."""

from __future__ import annotations

from ops.dashboards.link import CONSOLE_LINKS, FEED_LINKS, GRANT_LINKS
from ops.dashboards.panel import Dashboard, Panel, Rows
from ops.dashboards.query import ALARM, FEED, SUBSCRIBER, grown, providing, rates
from ops.dashboards.variable import WHO

_AT_SUBSCRIBER = f",{FEED},{SUBSCRIBER}"

ROWS: Rows = {
    "Set aside 死信": (
        Panel(
            title="On the way, by reason 途中死信原因",
            description="Changes set aside per second at capture or by streams: not encodable, not readable, a fatal rule.",
            unit="cps",
            queries={"{{hop}}: {{reason}}": rates("mesh_rejected_total", "hop, reason", f",{FEED}")},
        ),
        Panel(
            title="At subscribers, by reason 订阅方拒收原因",
            description="Changes per second that a subscriber's sink refused for good.",
            unit="cps",
            queries={"{{subscriber}}: {{reason}}": rates("mesh_dead_total", "subscriber, reason", _AT_SUBSCRIBER)},
        ),
        Panel(
            title="Share of what was captured 死信比例",
            description="Part of the changes of each feed, in the time shown, that were set aside before they reached a grant.",
            unit="percentunit",
            queries={
                "{{feed}}": grown("mesh_rejected_total", "feed", f",{FEED}")
                + " / ("
                + grown("mesh_events_total", "feed", f",{FEED}")
                + " > 0)"
            },
            thresholds=((None, "green"), (0.001, "yellow"), (0.01, "red")),
            links=FEED_LINKS,
        ),
        Panel(
            title="By feed 各数据死信",
            description="Changes set aside in the time shown, by feed, hop and reason.",
            unit="short",
            queries={"{{feed}} {{hop}} {{reason}}": grown("mesh_rejected_total", "feed, hop, reason", f",{FEED}")},
            kind="bargauge",
            thresholds=ALARM,
            links=FEED_LINKS,
        ),
        Panel(
            title="By grant 各授权死信",
            description="Changes that a subscriber's sink refused for good in the time shown, by grant and reason.",
            unit="short",
            queries={"{{grant_id}} {{reason}}": grown("mesh_dead_total", "grant_id, reason", _AT_SUBSCRIBER)},
            kind="bargauge",
            thresholds=ALARM,
            links=GRANT_LINKS,
        ),
        Panel(
            title="Whose rows whom they do not reach 提供方与订阅方",
            description="Dead letters at subscribers (column) of each providing agency (row) in the time shown.",
            unit="short",
            queries={
                "{{provider}} {{subscriber}}": "sum by (provider, subscriber) ("
                + providing(grown("mesh_dead_total", "feed, subscriber", _AT_SUBSCRIBER))
                + ")"
            },
            kind="table",
            matrix=("provider", "subscriber"),
        ),
    ),
    "Again 重放": (
        Panel(
            title="Retries 重试",
            description="Batches given to a sink again per second.",
            unit="cps",
            queries={"{{subscriber}}/{{sink}}": rates("mesh_retries_total", "subscriber, sink", f",{SUBSCRIBER}")},
        ),
        Panel(
            title="Replays begun 重放次数",
            description="How often each grant's target was set back to be delivered again, in the time shown.",
            unit="short",
            queries={"{{grant_id}}": grown("mesh_replays_total", "grant_id")},
            kind="bargauge",
            links=GRANT_LINKS,
        ),
        Panel(
            title="Backfill by grant 存量补发",
            description="Changes per second of a feed's past that go to grants which joined later or were asked anew.",
            unit="cps",
            queries={"{{grant_id}}": rates("mesh_backfilled_total", "grant_id")},
        ),
        Panel(
            title="Waiting and parked 等待与暂停",
            description="Grants and sinks whose changes wait, are tried now and then, or stopped; the console says why.",
            unit="short",
            queries={
                "{{kind}}: {{state}}": "count by (kind, state) (max by (kind, name, state) "
                f'(mesh_incidents{{{WHO},kind=~"grant|sink"}}))',
                "all": f'count(max by (kind, name) (mesh_incidents{{{WHO},kind=~"grant|sink"}})) or vector(0)',
            },
            thresholds=ALARM,
            links=CONSOLE_LINKS,
            width=24,
        ),
    ),
}

DASHBOARD = Dashboard(
    name="letters",
    title="pearlmesh · dead letters and replay 死信与重放",
    description="What was set aside and why, on the way and at subscribers, and what is delivered again.",
    rows=ROWS,
)
