"""Terminal: where reports are printed, and how wide they may be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

PIPE_COLUMNS = 200
SHANGHAI = ZoneInfo("Asia/Shanghai")
"""The zone in which people read times; reports for programs are in UTC."""


def report_console() -> Console:
    """Standard output. A pipe has no width; folding names at the usual 80 columns would hide them from whoever searches."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, PIPE_COLUMNS)
    return console


def moment(at: datetime | None) -> str:
    """A time as people here read it; nothing for none."""
    return f"{at.astimezone(SHANGHAI):%Y-%m-%d %H:%M:%S}" if at else ""


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on the terminal's error output while long work runs; told how much is done, and of how much. None where it is a pipe."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
