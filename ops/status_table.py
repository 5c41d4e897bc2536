"""The status on a terminal: three tables under one line that says how the mesh is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ops.health import DOWN, OK, STUCK
from ops.status import FeedStatus, ProcessStatus, Status, SubscriptionStatus

Entry = TypeVar("Entry", FeedStatus, SubscriptionStatus)

_COLORS = {OK: "green", "up": "green", STUCK: "red", DOWN: "red", "silent": "red"}


def render(status: Status, *, rows_max: int | None = None) -> RenderableType:
    """The tables; with `rows_max`, of feeds and subscriptions only so many: the unwell first, then the busiest."""
    parts: list[RenderableType] = [
        _headline(status),
        _feeds(status.feeds, rows_max),
        _subscriptions(status.subscriptions, rows_max),
    ]
    parts.append(_processes(status.processes))
    parts.extend(Text(notice, style="yellow") for notice in status.notices)
    return Group(*parts)


def _headline(status: Status) -> Text:
    line = Text("pearlmesh  ", style="bold")
    line.append(
        f"{_count(sum(feed.per_second for feed in status.feeds))}/s captured 采集  "
        f"{_count(sum(entry.per_second for entry in status.subscriptions))}/s delivered 交付  "
        f"commit → acknowledged p50 {_seconds(status.p50_seconds)}, p99 {_seconds(status.p99_seconds)}  "
    )
    line.append("all well" if status.is_well else "unwell: see below", style="green" if status.is_well else "bold red")
    return line


def _feeds(feeds: Sequence[FeedStatus], rows_max: int | None) -> Table:
    table = _table("Feed 数据", ("captured", "/s", "rejected", "lag", "behind", "snapshot"))
    shown = _first(feeds, rows_max)
    for feed in shown:
        table.add_row(
            escape(feed.feed),
            _count(feed.captured),
            _count(feed.per_second),
            _alarming(feed.rejected),
            _seconds(feed.lag_seconds),
            _count(feed.lag_records),
            f"{feed.snapshot:.0%}" if feed.snapshot is not None else "",
            _health(feed.health, feed.reason),
        )
    return _with_rest(table, len(feeds) - len(shown))


def _subscriptions(subscriptions: Sequence[SubscriptionStatus], rows_max: int | None) -> Table:
    table = _table("Subscription 订阅", ("delivered", "/s", "suppressed", "dead", "lag", "behind", "p50", "p99"))
    shown = _first(subscriptions, rows_max)
    for entry in shown:
        table.add_row(
            escape(entry.grant_id),
            _count(entry.delivered),
            _count(entry.per_second),
            _count(entry.suppressed),
            _alarming(entry.dead),
            _seconds(entry.lag_seconds),
            _count(entry.lag_records),
            _seconds(entry.p50_seconds),
            _seconds(entry.p99_seconds),
            _health(entry.health, entry.reason),
        )
    return _with_rest(table, len(subscriptions) - len(shown))


def _processes(processes: Iterable[ProcessStatus]) -> Table:
    table = _table("Process 进程", ("pid", "restarts", "uptime"))
    for process in processes:
        table.add_row(
            escape(process.process),
            str(process.pid) if process.pid is not None else "-",
            _alarming(process.restarts),
            _duration(process.uptime_seconds),
            _health(process.state, ""),
        )
    return table


def _table(subject: str, numbers: Iterable[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column(subject, no_wrap=True, overflow="ellipsis", min_width=24)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("state", overflow="fold")
    return table


def _first(entries: Sequence[Entry], rows_max: int | None) -> Sequence[Entry]:
    if rows_max is None:
        return entries
    return sorted(entries, key=lambda entry: (entry.health == OK, -entry.per_second))[:rows_max]


def _with_rest(table: Table, left_out: int) -> Table:
    if left_out > 0:
        table.add_row(f"… and {left_out} more", style="dim")
    return table


def _health(status: str, reason: str) -> Text:
    return Text(f"{status}: {reason}" if reason else status, style=_COLORS.get(status, "dim"))


def _count(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def _alarming(value: int) -> Text:
    return Text(f"{value:,}", style="yellow" if value else "")


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s" if value < 100 else _duration(value)


def _duration(value: float | None) -> str:
    if value is None:
        return "-"
    minutes, seconds = divmod(int(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02}m" if hours else f"{minutes}m {seconds:02}s" if minutes else f"{seconds}s"
