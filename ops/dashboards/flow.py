"""The flow dashboard (业务流): what the city's systems fold, how far they are behind, and the boards that they publish."""

from __future__ import annotations

from ops.dashboards.panel import Dashboard, Panel, Rows
from ops.dashboards.query import ALARM, FLOW, LAG, board, grown, largest, rates
from ops.dashboards.variable import WHO

ROWS: Rows = {
    "Flows 业务流": (
        Panel(
            title="Changes by flow 各业务流产出",
            description="Row changes per second that each flow wrote to its derived feeds.",
            unit="cps",
            queries={"{{flow}}: {{feed}}": rates("mesh_flow_changes_total", "flow, feed", f",{FLOW}")},
            is_stacked=True,
        ),
        Panel(
            title="Messages by flow 各业务流处理",
            description="Messages to subjects that each flow folded, per second.",
            unit="cps",
            queries={"{{flow}}": rates("mesh_flow_messages_total", "flow", f",{FLOW}")},
        ),
        Panel(
            title="Records behind by flow 业务流积压",
            description="Records that each flow has not folded yet: those of its feeds, and the inbox that all flows share.",
            unit="short",
            queries={"{{flow}}": largest("mesh_flow_lag_records", "flow", f",{FLOW}")},
        ),
        Panel(
            title="Flow lag 业务流滞后",
            description="Age of the oldest record that each flow has not folded yet, and of the oldest message of each task.",
            unit="s",
            queries={
                "{{flow}}": largest("mesh_flow_lag_seconds", "flow", f",{FLOW}"),
                "task {{task}}": largest("mesh_flow_task_lag_seconds", "task"),
            },
            thresholds=LAG,
        ),
        Panel(
            title="Messages behind by task 任务积压",
            description="Messages in the inbox of each task that are not folded yet.",
            unit="short",
            queries={"task {{task}}": largest("mesh_flow_task_lag_records", "task")},
        ),
        Panel(
            title="Waiting for a person 待人工处理",
            description="Items that flows put on their queues in the time shown, by kind: conflicts, escalations, unfit rows.",
            unit="short",
            queries={"{{flow}}: {{kind}}": grown("mesh_flow_queued_total", "flow, kind", f",{FLOW}")},
            kind="bargauge",
        ),
        Panel(
            title="Event clocks 事件时钟",
            description="How far each flow's event time has come.",
            unit="dateTimeAsIso",
            queries={"{{flow}}": largest("mesh_flow_clock_seconds", "flow", f",{FLOW}") + " * 1000"},
            kind="stat",
        ),
        Panel(
            title="State to restore 待恢复状态",
            description="Records of its changelog that each task has still to read back after a move or a start, before it goes on.",
            unit="short",
            queries={
                "task {{task}}": f"max by (task) (mesh_flow_restored_records_expected{{{WHO}}}) - "
                f"max by (task) (mesh_flow_restored_records{{{WHO}}})"
            },
        ),
    ),
    "Boards 业务看板": (
        Panel(
            title="Precision of tax rules 税源预警准确率",
            description="Confirmed warnings of those answered, by rule; a rule under 20 % is proposed for review.",
            unit="percentunit",
            maximum=1,
            queries={
                "{{row}}": f"{board('tax.rule_precision', 'confirmed')} / "
                f"({board('tax.rule_precision', 'confirmed')} + {board('tax.rule_precision', 'false_positives')})"
            },
            kind="bargauge",
            thresholds=((None, "red"), (0.2, "yellow"), (0.5, "green")),
        ),
        Panel(
            title="Unified codes 统一代码覆盖率",
            description="Share of each declared population that has a unified social credit code.",
            unit="percentunit",
            maximum=1,
            queries={
                "{{row}}": f"{board('base.uscc_coverage', 'with_uscc')} / {board('base.uscc_coverage', 'entities')}"
            },
            kind="bargauge",
        ),
        Panel(
            title="Household checks 居民家庭经济状况核对",
            description="Cases accepted, completed and found ineligible, by window, district and kind.",
            unit="short",
            queries={
                "accepted": f"sum({board('check.statistic', 'accepted_cases')})",
                "completed": f"sum({board('check.statistic', 'completed_cases')})",
                "ineligible": f"sum({board('check.statistic', 'ineligible_cases')})",
                "red": f"sum({board('check.statistic', 'is_red')})",
            },
            kind="stat",
        ),
        Panel(
            title="Registration topics 商事登记主题",
            description="Rows of the 134 topics: known at their sources, published, rejected, in flight; topics out of balance.",
            unit="short",
            queries={
                "source": f"sum({board('registration.topic', 'source')})",
                "published": f"sum({board('registration.topic', 'published')})",
                "rejected": f"sum({board('registration.topic', 'rejected')})",
                "in flight": f"sum({board('registration.topic', 'in_flight')})",
                "topics out of balance": f"sum(1 - {board('registration.topic', 'is_balanced')})",
            },
            kind="stat",
        ),
        Panel(
            title="Credit records 公共信用记录",
            description="Records received by source, and those that found no subject or wait.",
            unit="short",
            queries={
                "{{row}}": board("credit.statistic", "received"),
                "{{row}} unmatched": board("credit.statistic", "unmatched"),
            },
            kind="bargauge",
        ),
        Panel(
            title="Silent departments 逾期未答复部门",
            description="Questions that a department has not answered by its deadline, in the time shown.",
            unit="short",
            queries={
                "{{flow}}: {{kind}}": grown(
                    "mesh_flow_queued_total", "flow, kind", f',{FLOW},kind=~"ANSWER_OVERDUE.*|SOURCE_SILENT"'
                )
            },
            kind="bargauge",
            thresholds=ALARM,
        ),
    ),
}

DASHBOARD = Dashboard(
    name="flow",
    title="pearlmesh · flows 业务流",
    description="The city's systems: what each folds and derives, how far it is behind, what waits for a person, and its boards.",
    rows=ROWS,
    variables=("flow",),
)
