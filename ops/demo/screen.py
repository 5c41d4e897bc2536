"""The demo's screen: its lines, its progress, and the mesh's status while the city lives."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from ops.settings import Settings
from ops.watch.incidents import IncidentReader
from ops.watch.lag import LagReader
from ops.watch.status import StatusReader
from ops.watch.status_table import reasons, render
from ops.watch.told.last_told import LastTold
from schemas.log.control.follower import Follower

ROWS_SHOWN = 14
LINE_EVERY_SECONDS = 10.0


class Screen:
    """A terminal, or what takes the demo's lines in its place."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, line: str) -> None:
        """A line that stays."""
        self._console.print(line, soft_wrap=True)

    def progress(self) -> Progress:
        """A bar for a part that comes to an end."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        return Progress(*columns, console=self._console)

    @contextmanager
    def status(self, settings: Settings, headline: Callable[[], str]) -> Iterator[Callable[[], None]]:
        """What to call again and again: a live table on a terminal, a line every ten seconds elsewhere."""
        with closing(Follower(settings.kafka)) as directory, closing(LagReader(settings.kafka)) as lags:
            reader = StatusReader(
                settings.directory,
                directory,
                lags.read,
                incidents=IncidentReader(settings.kafka),
                lasts=LastTold(settings.kafka),
            )
            if not self._console.is_terminal:
                told = [time.monotonic()]

                def line() -> None:
                    if time.monotonic() - told[0] >= LINE_EVERY_SECONDS:
                        told[0] = time.monotonic()
                        self.say(headline())
                        for reason in reasons(reader.read()):
                            self._console.print(reason, soft_wrap=True)

                yield line
                return
            with Live(console=self._console, auto_refresh=False, vertical_overflow="crop") as live:

                def table() -> None:
                    head = Text(headline(), style="bold")
                    live.update(Group(head, render(reader.read(), rows_max=ROWS_SHOWN)), refresh=True)

                yield table
