"""The command `mesh follow`; its work is in follow.py."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from ops.command.options import dir_option, json_option
from ops.settings import load


@click.command()
@click.argument("feed")
@dir_option
@click.option("--table", help="What the table is called now, <schema>.<table>, where it was renamed.")
@click.option("--yes", "is_agreed", is_flag=True, help="Do it. Without it nothing is changed.")
@click.option(
    "--wait",
    "wait_seconds",
    default=60.0,
    show_default=True,
    help="Seconds to wait until the feed is copied and flows.",
)
@click.option("--contract", "is_contract", is_flag=True, help="Print the contract that fits, for the agency's folder.")
@json_option
def follow(
    feed: str,
    directory: Path,
    table: str | None,
    is_agreed: bool,
    wait_seconds: float,
    is_contract: bool,
    as_json: bool,
) -> None:
    """Let a captured FEED follow its table, which was renamed or has columns of other types.

    Shows what differs from the contract that runs, and whom it touches. With --yes the contract gets a successor, which changes
    what the table changed and nothing else; the table is copied anew under it, so nothing that was committed meanwhile is missing.
    Where a type changed, each subscriber that has the column gets all its rows anew with the new type; its table follows.
    Other feeds flow meanwhile. Audited. Exits 1 while the feed does not flow.

    \b
    Show:     mesh follow police.resident
    Do it:    mesh follow police.resident --yes
    Renamed:  mesh follow police.resident --table public.resident_2026 --yes
    """  # noqa: D301 - click's mark for "do not wrap" is the control character
    from ops.onboarding.follow import contract_text
    from ops.onboarding.follow import follow as take

    outcome = take(load(directory), feed, table, is_agreed=is_agreed, wait_seconds=wait_seconds)
    if as_json:
        click.echo(json.dumps(outcome.to_json(), ensure_ascii=False, indent=2))
    elif is_contract:
        click.echo(contract_text(outcome))
    else:
        for line in outcome.lines():
            click.echo(line)
    sys.exit(0 if outcome.is_ok else 1)
