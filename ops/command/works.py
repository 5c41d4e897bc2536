"""`mesh works`: a city's key works, and a subscriber's folder from the template of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from ops.city.city import GUANGZHOU
from ops.command.options import dir_option, json_option, print_outcome
from ops.command.terminal import report_console
from ops.onboarding.work import Work, find_work, load_works, subscriber_text, write_subscriber
from ops.settings import Settings, load
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


def _values(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> Mapping[str, str]:
    pairs = [text.partition("=") for text in given]
    if any(not value for _, _, value in pairs):
        raise click.BadParameter("write <name>=<value>")
    return {name: value for name, _, value in pairs}


@click.command()
@click.argument("work", required=False)
@dir_option
@click.option("--subscriber", help="Write the folder of this subscriber from the template of WORK.")
@click.option(
    "--set", "values", multiple=True, callback=_values, help="A parameter of the template, such as region=440106."
)
@click.option("--into", type=click.Path(path_type=Path), help="The folder to write to; default: print it.")
@click.option(
    "--city",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=GUANGZHOU,
    help="The city's folder, whose `works` are meant; default: the example city's.",
)
@json_option
def works(
    work: str | None,
    directory: Path,
    subscriber: str | None,
    values: Mapping[str, str],
    into: Path | None,
    city: Path,
    as_json: bool,
) -> None:
    """List the city's key works (政府重点工作): feeds, whether each has rows, subscribers; or take part in one.

    \b
    mesh works                                                      the list, as the running mesh has it
    mesh works floating_population --subscriber grid --set region=440106 --into .
    mesh check grid, mesh onboard grid                              as for any subscriber
    """  # noqa: D301 - click's mark for "do not wrap" is the control character
    if work is None:
        print_outcome(works_of(load(directory), city), as_json)
        return
    if subscriber is None:
        raise click.UsageError("say for whom: --subscriber <code>")
    text = subscriber_text(find_work(city, work), subscriber, values)
    if into is None:
        click.echo(text, nl=False)
    else:
        click.echo(f"wrote {write_subscriber(into, subscriber, text)}; see to its name and sink, then mesh check it")
