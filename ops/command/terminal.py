"""Terminal: where reports are printed, and how wide they may be."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from rich.console import Console

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
