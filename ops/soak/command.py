"""The command `mesh soak`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ops.command.options import dir_option


@click.command()
@dir_option
@click.option(
    "--hours", default=1.0, show_default=True, help="How long; all troubles scale with it, 0.1 is a smoke run."
)
@click.option("--rate", default=300.0, show_default=True, help="Row changes a second in the departments' databases.")
@click.option("--seed", default=20161031, show_default=True, help="Draws the city, and when which trouble comes.")
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), help="Write the figures here as JSON.")
def soak(directory: Path, hours: float, rate: float, seed: int, report: Path | None) -> None:
    """Run the example city for hours with ordinary trouble on the way, and see that nothing is lost, stuck or left.

    \b
    On the way, by the seed: the broker stopped and killed, each database server restarted, a subscriber dead, a table
    renamed and followed, others rewritten, a grant revoked and given again.

    Exits 0 only if in the end all subscribers are equal to their sources, memory of every process is flat, no slot
    keeps log, and no incident is left; otherwise it names what is not.
    """  # noqa: D301 - click's mark for "do not wrap" is the control character
    from ops.soak.soak import soak as endure  # noqa: PLC0415 - the command line loads what it runs

    sys.exit(endure(directory, hours=hours, rate=rate, seed=seed, report=report))
