"""What onboarding did, for scripts and for people."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from rich.table import Table as Grid

from ops.command.terminal import report_console
from ops.known_names import few
from ops.lint.report import Report
from ops.settings import Settings
from ops.watch.lag import LagReader

TELL_SECONDS = 5.0
LOOK_SECONDS = 0.2

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Onboarded:
    """What onboarding did.

    `first_record_seconds`: for each new feed whose table has rows, from the call to its first record; None if none came in
    time. Empty where nobody waited.
    """

    feeds: Sequence[str]
    first_record_seconds: Mapping[str, float | None]
    grants: Sequence[str]
    notices: Sequence[str]
    report: Report

    @property
    def is_ok(self) -> bool:
        """Whether everything in the folder is now part of the mesh."""
        return not self.report.errors

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        feeds = {feed: {"first_record_seconds": self.first_record_seconds.get(feed)} for feed in self.feeds}
        return {
            "ok": self.is_ok,
            "feeds": feeds,
            "grants": list(self.grants),
            "notices": list(self.notices),
            "check": self.report.to_json(),
        }

    def render(self) -> None:
        """For people."""
        if not self.is_ok:
            self.report.render()
            return
        console = report_console()
        table = Grid("feed", "first record after", box=None, header_style="bold", padding=(0, 2, 0, 0))
        for feed, seconds in self.first_record_seconds.items():
            table.add_row(feed, "none yet: see `mesh status`" if seconds is None else f"{seconds:.1f} s")
        if self.first_record_seconds:
            console.print(table)
        for notice in self.notices:
            console.print(f"note: {notice}", style="yellow", markup=False, soft_wrap=True)
        console.print(f"onboarded: {len(self.feeds)} feeds, {len(self.grants)} grants")


def first_records(
    settings: Settings, feeds: Sequence[str], started: float, wait_seconds: float, say: Say
) -> dict[str, float | None]:
    """How long each feed took from the call to its first record on the broker; None where none came in time."""
    first: dict[str, float | None] = dict.fromkeys(feeds)
    deadline, told = started + wait_seconds, started
    with closing(LagReader(settings.kafka)) as brokers:  # one client, however often it asks
        while missing := [feed for feed, seconds in first.items() if seconds is None]:
            now = time.monotonic()
            first |= dict.fromkeys(brokers.first_at_ms(missing), now - started)
            if now >= deadline:
                break
            if now - told > TELL_SECONDS:
                told = now
                say(f"waiting for the first records of {few(missing, 5)}")
            time.sleep(LOOK_SECONDS)
    return first
