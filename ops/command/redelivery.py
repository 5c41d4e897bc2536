"""`mesh dlq` and `mesh replay`: what is delivered again because a person asks for it; thin doors to dlq.py and replay.py."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ops.command.options import dir_option, json_option, print_lines
from ops.command.terminal import progress_bar
from ops.settings import load

_dry_run = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
_all = click.option(
    "--all", "is_all", is_flag=True, help="Every waiting letter of the feeds and grants that are named."
)
_reason = click.option("--reason", help="Only letters with this reason, such as sql_23514.")


@click.group()
def dlq() -> None:
    """List, show, retry and drop dead letters: what a hop could not take, single or in bulk.

    A letter is named <feed or grant>@<number>, as `mesh dlq list` prints it.
    """


@dlq.command("list")
@click.argument("owners", nargs=-1)
@click.option("--state", default="waiting", show_default=True, help="waiting, retried, superseded, dropped, or all.")
@click.option("--by", type=click.Choice(["cause"]), help="Count them by cause instead of listing each.")
@click.option("--limit", default=1_000, show_default=True, help="List so many at most; 0 for all.")
@dir_option
@json_option
def list_letters(
    owners: tuple[str, ...], state: str, by: str | None, limit: int, directory: Path, as_json: bool
) -> None:
    """List the letters of OWNERS (feeds, grant ids), or of all; never a value of a row."""
    from itertools import islice

    from ops.redelivery.dlq import by_cause
    from ops.redelivery.letter import letters

    found = letters(load(directory), owners, state=None if state == "all" else state)
    if by is not None:
        print_lines(by_cause(found), as_json)
        return
    told = [each.to_json() for each in islice(found, limit or None)]
    if as_json:
        click.echo(json.dumps(told, ensure_ascii=False, indent=2))
        return
    for each in told:
        click.echo(f"{each['letter']}  {each['state']}  {each['hop']}  {each['reason']}")
    more = "; there may be more: --limit 0, or --by cause" if limit and len(told) == limit else ""
    click.echo(f"{len(told)} letters{more}", err=True)


@dlq.command()
@click.argument("letter")
@click.option("--reveal", is_flag=True, help="Show columns tagged PII, which are hidden by default; audited.")
@dir_option
@json_option
def show(letter: str, reveal: bool, directory: Path, as_json: bool) -> None:
    """Show one LETTER: why, where, and its row as it may be seen."""
    from ops.redelivery.dlq import shown

    told: Mapping[str, Any] = shown(load(directory), letter, reveal=reveal)
    if as_json:
        click.echo(json.dumps(told, ensure_ascii=False, indent=2, default=str))
        return
    for name, value in told.items():
        text = json.dumps(value, ensure_ascii=False, default=str)
        click.echo(f"{name:<10} " + "".join(char if char.isprintable() else " " for char in text))


@dlq.command()
@click.argument("names", nargs=-1, required=True)
@_all
@_reason
@_dry_run
@dir_option
@json_option
def retry(
    names: tuple[str, ...], is_all: bool, reason: str | None, dry_run: bool, directory: Path, as_json: bool
) -> None:
    """Deliver letters again to their subscriber, in order and never over newer rows: NAMES are letters, or grants with --all."""
    from ops.redelivery.letter import choice
    from ops.redelivery.retry import retry as deliver_again

    chosen = choice(names, is_all=is_all, reason=reason)
    with progress_bar("delivering again") as progress:
        outcome = deliver_again(load(directory), chosen, dry_run=dry_run, progress=progress)
    print_lines(outcome, as_json)


@dlq.command()
@click.argument("names", nargs=-1, required=True)
@_all
@_reason
@_dry_run
@dir_option
@json_option
def drop(
    names: tuple[str, ...], is_all: bool, reason: str | None, dry_run: bool, directory: Path, as_json: bool
) -> None:
    """Settle letters without delivering them: NAMES are letters, or feeds and grants with --all."""
    from ops.redelivery.dlq import drop as settle
    from ops.redelivery.letter import choice

    chosen = choice(names, is_all=is_all, reason=reason)
    with progress_bar("settling") as progress:
        outcome = settle(load(directory), chosen, dry_run=dry_run, progress=progress)
    print_lines(outcome, as_json)


@click.command()
@click.argument("grants", nargs=-1, required=True)
@click.option("--since", help="From this time on, such as 2026-11-28T08:00 (Shanghai, unless it names a zone).")
@click.option(
    "--from", "start", help="From this time or this position in the source on, as `mesh tail --json` prints it."
)
@click.option("--key", help='Only the newest change of this key: one value, or {"column": value} where it has several.')
@_dry_run
@dir_option
@json_option
def replay(
    grants: tuple[str, ...],
    since: str | None,
    start: str | None,
    key: str | None,
    dry_run: bool,
    directory: Path,
    as_json: bool,
) -> None:
    """Deliver GRANTS again to their subscribers, from the beginning of what their topics have, or from where you say.

    GRANTS may be sinks, for all grants through them. A database takes no row that is older than what it has; a webhook is called
    again, with the same ids. It runs beside live changes, for that subscriber alone. Audited.
    """
    from ops.redelivery.replay import moment
    from ops.redelivery.replay import replay as ask

    if len([each for each in (since, start, key) if each is not None]) > 1:
        raise click.UsageError("give one of --since, --from and --key")
    is_position = start is not None and start.startswith("[")
    time = since if since is not None or is_position else start
    outcome = ask(
        load(directory),
        grants,
        since=moment(time) if time is not None else None,
        position=start if is_position else None,
        key=key,
        dry_run=dry_run,
    )
    print_lines(outcome, as_json)
