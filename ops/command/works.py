"""`mesh works`: a city's key works, and a subscriber's folder from the template of one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from ops.command.options import dir_option, json_option, print_outcome
from ops.settings import load


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
    help="The city's folder, whose `works` are meant; default: the example city's.",
)
@json_option
def works(
    work: str | None,
    directory: Path,
    subscriber: str | None,
    values: Mapping[str, str],
    into: Path | None,
    city: Path | None,
    as_json: bool,
) -> None:
    """List the city's key works (政府重点工作): feeds, whether each has rows, subscribers; or take part in one.

    \b
    mesh works                                                      the list, as the running mesh has it
    mesh works floating_population --subscriber grid --set region=440106 --into .
    mesh check grid, mesh onboard grid                              as for any subscriber
    """  # noqa: D301 - click's mark for "do not wrap" is the control character
    from ops.city.city import GUANGZHOU
    from ops.onboarding.work import find_work, subscriber_text, write_subscriber
    from ops.show.works import works_of

    city = city or GUANGZHOU
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
