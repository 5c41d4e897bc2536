"""`mesh dlq` and `mesh replay`: what is delivered again because a person asks for it; thin doors to dlq.py and replay.py."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import click

from ops.command.options import dir_option, json_option
from ops.settings import load

_dry_run = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
_all = click.option(
    "--all", "is_all", is_flag=True, help="Every waiting letter of the feeds and grants that are named."
)
_reason = click.option("--reason", help="Only letters with this reason, such as sql_23514.")


class _Reports(Protocol):
    def to_json(self) -> dict[str, Any]: ...

    def lines(self) -> list[str]: ...


@click.group()
def dlq() -> None:
    """List, show, retry and drop dead letters: what a hop could not take, single or in bulk.

    A letter is named <feed or grant>@<number>, as `mesh dlq list` prints it.
    """


@dlq.command("list")
@click.argument("owners", nargs=-1)
@click.option("--state", default="waiting", show_default=True, help="waiting, retried, superseded, dropped, or all.")
@dir_option
@json_option
def list_letters(owners: tuple[str, ...], state: str, directory: Path, as_json: bool) -> None:
    """List the letters of OWNERS (feeds, grant ids), or of all; never a value of a row."""
    from ops.redelivery.letter import letters

    found = [each.to_json() for each in letters(load(directory), owners, state=None if state == "all" else state)]
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False, indent=2))
        return
    for each in found:
        click.echo(f"{each['letter']}  {each['state']}  {each['hop']}  {each['reason']}")
    click.echo(f"{len(found)} letters", err=True)


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
    from ops.redelivery import dlq as letters
    from ops.redelivery.letter import chosen

    settings = load(directory)
    found = chosen(settings, names, is_all=is_all, reason=reason)
    _print(letters.retry(settings, found, dry_run=dry_run), as_json=as_json)


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
    from ops.redelivery import dlq as letters
    from ops.redelivery.letter import chosen

    settings = load(directory)
    found = chosen(settings, names, is_all=is_all, reason=reason)
    _print(letters.drop(settings, found, dry_run=dry_run), as_json=as_json)


@click.command()
@click.argument("grants", nargs=-1, required=True)
@click.option("--since", help="From this time on, such as 2026-11-28T08:00 (Shanghai, unless it names a zone).")
@click.option("--from", "position", help="From this position in the source on, as `mesh tail --json` prints it.")
@_dry_run
@dir_option
@json_option
def replay(
    grants: tuple[str, ...], since: str | None, position: str | None, dry_run: bool, directory: Path, as_json: bool
) -> None:
    """Deliver GRANTS again to their subscribers, from the beginning of what their topics have, or from where you say.

    A database takes no row that is older than what it has; a webhook is called again, with the same ids. Audited.
    """
    from ops.redelivery.replay import moment
    from ops.redelivery.replay import replay as ask

    if since is not None and position is not None:
        raise click.UsageError("give --since or --from, not both")
    when = moment(since) if since is not None else None
    _print(ask(load(directory), grants, since=when, position=position, dry_run=dry_run), as_json=as_json)


def _print(outcome: _Reports, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(outcome.to_json(), ensure_ascii=False, indent=2))
    else:
        for line in outcome.lines():
            click.echo(line)
