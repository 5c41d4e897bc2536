"""The command `mesh offboard`; its work is in offboard.py."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ops.command.options import dir_option, json_option, print_outcome
from ops.settings import load

if TYPE_CHECKING:
    from ops.offboarding.plan import What


@click.command()
@click.argument("what", type=click.Choice(["agency", "source", "feed", "subscriber"]))
@click.argument("names", nargs=-1, required=True)
@dir_option
@click.option("--yes", "is_agreed", is_flag=True, help="Do it. Without it nothing is changed.")
@click.option(
    "--abandon",
    "is_abandoned",
    is_flag=True,
    help="Do not wait for what is gone for good: leave the slot in the department's database, the rows at the subscriber.",
)
@click.option(
    "--wait",
    "wait_seconds",
    default=60.0,
    show_default=True,
    help="Seconds to wait until slots are dropped and subscribers have confirmed; 0: not at all.",
)
@json_option
def offboard(
    what: What,
    names: tuple[str, ...],
    directory: Path,
    is_agreed: bool,
    is_abandoned: bool,
    wait_seconds: float,
    as_json: bool,
) -> None:
    """Let agencies, sources, feeds or subscribers leave the running mesh for good: the way back from `mesh onboard`.

    Shows what ends with them. With --yes feeds are captured no more; grants on them end, and what they delivered is removed at the
    subscribers, or stays, as each grant's at_end says; a source without feeds has its slot and publication dropped in the
    department's database; a subscriber's login, rights and keys go. Incidents and gauges go with what ended; topics keep
    their records. The names are never used again. No restart; audited; safe to repeat.

    Exits 1 while something of it cannot be done yet, and says what: capture and delivery go on trying by themselves.

    \b
    Show:          mesh offboard agency shop
    Do it:         mesh offboard agency shop --yes
    One table:     mesh offboard feed shop.orders --yes
    One database:  mesh offboard source shop.main --yes
    A receiver:    mesh offboard subscriber bank --yes
    """  # noqa: D301 - click's mark for "do not wrap" is the control character
    from ops.offboarding.offboard import offboard as take

    abandoned = ("subscriber" if what == "subscriber" else "slot",) if is_abandoned else ()
    outcome = take(
        load(directory),
        [(what, name) for name in dict.fromkeys(names)],
        is_agreed=is_agreed,
        wait_seconds=wait_seconds,
        abandoned=abandoned,
    )
    print_outcome(outcome, as_json)
    sys.exit(0 if outcome.is_ok else 1)
