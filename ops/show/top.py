"""`mesh top`: the console's overview (运行总览) in a terminal: what moves and how far it is, what stands still and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.text import Text

from ops.command.terminal import moment
from ops.show.overview import Attention, Overview
from ops.show.tail import shown
from ops.watch.status_report import FeedStatus, SubscriptionStatus
from ops.watch.status_table import alarming, count, flow_lines, lasting, lines_of, process_lines, state_text
from schemas.agreement.directory import Directory


def render(seen: Overview, directory: Directory) -> RenderableType:
    """What is on the screen."""
    status = seen.status
    return Group(
        _headline(seen),
        _sums(seen),
        *(Text(f"not known at present: {shown(notice)}", style="yellow") for notice in status.notices),
        *(_lines_of_attention(each) for each in seen.attention),
        _feeds(seen, directory),
        _subscriptions(seen, directory),
        *([flow_lines(status.flows)] if status.flows else []),
        *([process_lines(status.processes)] if status.processes else []),
    )


def _headline(seen: Overview) -> Text:
    grave = len(seen.grave)
    line = Text("pearlmesh 运行总览  ", style="bold")
    line.append(f"{moment(seen.status.at)}  ", style="not bold dim")
    if not grave:
        return line.append("all well: everything moves, or has nothing to do", style="green")
    return line.append(f"{grave} stand{'s' if grave == 1 else ''} still: see below why, and what to do", style="red")


def _sums(seen: Overview) -> Text:
    status = seen.status
    parts = [
        f"{count(seen.volume)}/s captured 采集",
        f"{count(seen.delivered)}/s delivered 交付",
        f"commit → acknowledged p50 {lasting(status.p50_seconds)}, p99 {lasting(status.p99_seconds)}",
        f"{len(status.feeds)} feeds, {seen.moving} moving",
        f"{len(status.subscriptions)} subscriptions, {seen.caught_up} have all",
    ]
    if status.processes:
        parts.append(f"{seen.up} / {len(status.processes)} processes up")
    return Text("  ·  ".join(parts))


def _lines_of_attention(each: Attention) -> Text:
    style = "red" if each.is_grave else "yellow"
    text = Text()
    text.append(f"{each.state} ", style=f"bold {style}").append(f"{each.kind} {each.name}")
    if each.since:
        text.append(f"  since {moment(datetime.fromisoformat(each.since))}", style="dim")
    if each.reason:
        text.append(f"\n  {shown(each.reason)}")
    if each.fix:
        text.append(f"\n  fix: {shown(each.fix)}", style="bold")
    return text


def _feeds(seen: Overview, directory: Directory) -> RenderableType:
    def line(each: FeedStatus) -> tuple[str | Text, ...]:
        copied = f"{each.snapshot:.0%} copied" if each.snapshot is not None and each.snapshot < 1 else ""
        return (
            f"{_title(directory, each.feed)} {each.feed}".strip(),
            count(each.per_second),
            count(each.captured),
            copied or _behind(each.lag_records, each.lag_seconds),
            alarming(each.rejected),
            state_text(each.state or each.health),
        )

    rows = [line(each) for each in seen.feeds]
    return lines_of("Feed 数据", ("/s", "captured", "behind", "rejected"), rows, _left_out(seen.status.feeds, rows))


def _subscriptions(seen: Overview, directory: Directory) -> RenderableType:
    def line(each: SubscriptionStatus) -> tuple[str | Text, ...]:
        subscriber = directory.subscribers.get(each.subscriber)
        return (
            f"{shown(subscriber.name) if subscriber else ''} {each.grant_id}".strip(),
            count(each.per_second),
            count(each.delivered),
            _behind(each.lag_records, each.lag_seconds),
            lasting(each.p99_seconds),
            alarming(each.dead),
            state_text(each.state or each.health),
        )

    rows = [line(each) for each in seen.subscriptions]
    names = ("/s", "delivered", "behind", "p99", "dead")
    return lines_of("Subscription 订阅", names, rows, _left_out(seen.status.subscriptions, rows))


def _left_out(every: Sequence[object], rows: Sequence[object]) -> int:
    return len(every) - len(rows)


def _title(directory: Directory, feed: str) -> str:
    known = directory.feeds.get(feed)
    return shown(known.contract.gov.get("resource") or known.contract.doc) if known else ""


def _behind(records: int | None, seconds: float | None) -> str:
    if records is None:
        return "-"
    return f"{count(records)}, {lasting(seconds)}" if records else "0"
