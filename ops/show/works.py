"""Works: a city's key works (政府重点工作), as far as a running mesh carries them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from ops.command.terminal import report_console
from ops.onboarding.work import Work, load_works
from ops.settings import Settings
from ops.watch.lag import LagReader
from schemas.log.control.follower import read_directory


@dataclass(frozen=True, slots=True)
class Works:
    """The works of a city as a running mesh has them: work, feeds without rows, subscribers."""

    entries: Sequence[tuple[Work, Sequence[str], Sequence[str]]]

    def to_json(self) -> dict[str, Any]:
        """The report of `mesh works --json`; the fields' names are stable."""
        return {
            "works": [
                {
                    "work": work.code,
                    "name": work.name,
                    "name_en": work.name_en,
                    "aliases": list(work.aliases),
                    "by": work.by,
                    "parameters": dict(work.parameters),
                    "feeds": list(work.feeds),
                    "waits_for": list(missing),
                    "is_active": not missing,
                    "subscribers": list(subscribers),
                }
                for work, missing, subscribers in self.entries
            ]
        }

    def render(self) -> None:
        """Print the table."""
        table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
        for name in ("work", "name 名称", "by", "feeds", "waits for", "subscribers 订阅方"):
            table.add_column(name)
        for work, missing, subscribers in self.entries:
            name = " = ".join([work.name, *work.aliases])
            cells = (", ".join(work.feeds), ", ".join(missing), ", ".join(subscribers))
            table.add_row(work.code, name, work.by, *cells)
        console = report_console()
        console.print(table)
        active = sum(not missing for _, missing, _ in self.entries)
        console.print(f"{len(self.entries)} works, {active} of them with rows in every feed", style="bold")


def works_of(settings: Settings, city: Path) -> Works:
    """The works of a city's folder, as far as the running mesh carries them. Raises Transient."""
    directory = read_directory(settings.kafka)
    with closing(LagReader(settings.kafka)) as reader:
        filled = reader.newest_at_ms(directory.feeds)
    now = datetime.now(UTC)
    return Works(
        [
            (work, [feed for feed in work.feeds if feed not in filled], work.subscribers(directory, now))
            for work in load_works(city)
        ]
    )
