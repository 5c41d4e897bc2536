"""The status on a terminal: how the mesh is, what is unwell and why, then a table each of feeds, subscriptions, processes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TypeVar

from rich import box
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ops.command.terminal import SHANGHAI
from ops.known_names import few
from ops.metrics.metric import CAPTURED
from ops.watch.health import DOWN, OK, STUCK
from ops.watch.status_report import (
    AS_IT_SHOULD,
    FeedStatus,
    FlowStatus,
    ProcessStatus,
    Status,
    SubscriptionStatus,
    TaskStatus,
)
from schemas.incident import Incident

Entry = TypeVar("Entry", FeedStatus, SubscriptionStatus)

_COLORS = {OK: "green", "up": "green", STUCK: "red", DOWN: "red", "silent": "red"}


def render(status: Status, *, rows_max: int | None = None) -> RenderableType:
    """The tables; with `rows_max`, of feeds and subscriptions only so many: the unwell first, then the busiest."""
    return Group(
        _headline(status),
        *reasons(status),
        *([_incidents(status.incidents)] if status.incidents else []),
        _feeds(status.feeds, rows_max),
        *(Text(f"  {feed.feed}: {feed.last}", "dim") for feed in _first(status.feeds, rows_max) if feed.last),
        _subscriptions(status.subscriptions, rows_max),
        *([flow_lines(status.flows), _tasks(status.tasks)] if status.flows else []),
        process_lines(status.processes),
    )


def _headline(status: Status) -> Text:
    line = Text("pearlmesh  ", style="bold")
    line.append(
        f"{count(sum(feed.per_second for feed in status.feeds if feed.origin == CAPTURED))}/s captured 采集  "
        f"{count(sum(entry.per_second for entry in status.subscriptions))}/s delivered 交付  "
        f"commit → acknowledged p50 {lasting(status.p50_seconds)}, p99 {lasting(status.p99_seconds)}  ",
        style="not bold",
    )
    line.append("all well" if status.is_well else "unwell:", style="green" if status.is_well else "bold red")
    return line


def reasons(status: Status) -> list[Text]:
    """Each reason once, with what it holds for: one parked sink is one trouble, however many grants it has."""
    concerned: dict[tuple[str, str], list[str]] = {}
    for feed in status.feeds:
        if feed.health not in AS_IT_SHOULD:
            concerned.setdefault((feed.health, feed.reason), []).append(feed.feed)
    for entry in status.subscriptions:
        if entry.health not in AS_IT_SHOULD:
            concerned.setdefault((entry.health, entry.reason), []).append(entry.grant_id)
    for flow in status.flows:
        if flow.health != OK:
            concerned.setdefault((flow.health, flow.reason), []).append(flow.flow)
    for process in status.processes:
        if process.state != "up":
            concerned.setdefault((process.state, "see its log"), []).append(process.process)
    lines = [Text(f"  {health}: {reason}: {few(names, 3)}", "red") for (health, reason), names in concerned.items()]
    return lines + [Text(f"  {notice}", style="yellow") for notice in status.notices]


def _feeds(feeds: Sequence[FeedStatus], rows_max: int | None) -> Table:
    shown = _first(feeds, rows_max)
    rows = [
        (
            feed.feed,
            count(feed.captured),
            count(feed.per_second),
            alarming(feed.rejected),
            lasting(feed.lag_seconds),
            count(feed.lag_records),
            f"{feed.snapshot:.0%}" if feed.snapshot is not None else "",
            state_text(feed.health),
        )
        for feed in shown
    ]
    names = ("captured", "/s", "rejected", "lag", "behind", "snapshot")
    return lines_of("Feed 数据", names, rows, left_out=len(feeds) - len(shown))


def _subscriptions(subscriptions: Sequence[SubscriptionStatus], rows_max: int | None) -> Table:
    shown = _first(subscriptions, rows_max)
    rows = [
        (
            entry.grant_id,
            count(entry.delivered),
            count(entry.per_second),
            count(entry.suppressed),
            alarming(entry.dead),
            lasting(entry.lag_seconds),
            count(entry.lag_records),
            lasting(entry.p50_seconds),
            lasting(entry.p99_seconds),
            state_text(entry.health),
        )
        for entry in shown
    ]
    names = ("delivered", "/s", "suppressed", "dead", "lag", "behind", "p50", "p99")
    return lines_of("Subscription 订阅", names, rows, left_out=len(subscriptions) - len(shown))


def flow_lines(flows: Iterable[FlowStatus]) -> Table:
    """A table of flows."""
    rows = [
        (
            flow.flow,
            count(flow.messages),
            count(flow.per_second),
            lasting(flow.lag_seconds),
            count(flow.lag_records),
            f"{datetime.fromisoformat(flow.clock).astimezone(SHANGHAI):%Y-%m-%d %H:%M}" if flow.clock else "",
            state_text(flow.health),
        )
        for flow in flows
    ]
    return lines_of("Flow 业务流", ("messages", "/s", "lag", "behind", "its time"), rows)


def _tasks(tasks: Iterable[TaskStatus]) -> Table:
    rows = [
        (
            f"task {task.task}",
            lasting(task.lag_seconds),
            count(task.lag_records),
            f"{task.restored:.0%}" if task.restored is not None else "",
            Text(""),
        )
        for task in tasks
    ]
    return lines_of("Task 任务", ("lag", "behind", "restored"), rows)


def _incidents(incidents: Iterable[Incident]) -> Table:
    """What stands still, waits or is worth knowing, since when (in Asia/Shanghai), why, and what to do."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("Incident 异常事项", overflow="fold", min_width=16)
    for name in ("state", "since"):
        table.add_column(name, no_wrap=True)
    table.add_column("reason and what to do", overflow="fold", ratio=1)
    for incident in incidents:
        words = Text(incident.reason)
        if incident.fix:
            words.append(f"\nfix: {incident.fix}", style="bold")
        style = "red" if incident.is_standstill else "yellow"
        since = f"{incident.since.astimezone(SHANGHAI):%m-%d %H:%M:%S}"
        table.add_row(Text(f"{incident.kind} {incident.name}"), Text(incident.state, style=style), since, words)
    return table


def process_lines(processes: Iterable[ProcessStatus]) -> Table:
    """A table of processes."""
    rows = [
        (
            process.process,
            str(process.pid) if process.pid is not None else "-",
            alarming(process.restarts),
            _duration(process.uptime_seconds),
            state_text(process.state),
        )
        for process in processes
    ]
    return lines_of("Process 进程", ("pid", "restarts", "uptime"), rows)


def lines_of(subject: str, numbers: Sequence[str], rows: Sequence[tuple[str | Text, ...]], left_out: int = 0) -> Table:
    """On a narrow terminal the names fold, so that the numbers stay whole."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column(subject, overflow="fold", min_width=16)
    for index, name in enumerate((*numbers, "state"), 1):
        width = max((cell_len(str(row[index])) for row in rows), default=0)
        justify = "left" if name == "state" else "right"
        table.add_column(name, justify=justify, no_wrap=True, min_width=max(width, cell_len(name)))
    for name, *cells in rows:
        table.add_row(Text(str(name)), *cells)
    if left_out > 0:
        table.add_row(f"… and {left_out} more", style="dim")
    return table


def _first(entries: Sequence[Entry], rows_max: int | None) -> Sequence[Entry]:
    if rows_max is None:
        return entries
    return sorted(entries, key=lambda entry: (entry.health == OK, -entry.per_second))[:rows_max]


def state_text(status: str) -> Text:
    """A state in its colour."""
    return Text(status, style=_COLORS.get(status, "dim"))


def count(value: float | None) -> str:
    """A number of things, or of things a second."""
    return "-" if value is None else f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def alarming(value: int) -> Text:
    """A number of things of which none would be well."""
    return Text(f"{value:,}", style="yellow" if value else "")


def lasting(value: float | None) -> str:
    """A time in seconds, as people read it."""
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s" if value < 100 else _duration(value)


def _duration(value: float | None) -> str:
    if value is None:
        return "-"
    minutes, seconds = divmod(int(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02}m" if hours else f"{minutes}m {seconds:02}s" if minutes else f"{seconds}s"
