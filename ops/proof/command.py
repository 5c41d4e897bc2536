"""`mesh verify`: what subscribers hold beside its source, or a feed beside its department's table."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click

from ops.command.options import dir_option, json_option, print_outcome
from ops.command.terminal import progress_bar
from ops.settings import load


@click.command()
@click.argument("name")
@dir_option
@click.option(
    "--within",
    "within_seconds",
    default=30.0,
    show_default=True,
    help="Seconds that what is under way may take to arrive.",
)
@click.option("--source", "is_source", is_flag=True, help="Compare the feed NAME itself with its department's table.")
@json_option
def verify(name: str, directory: Path, within_seconds: float, is_source: bool, as_json: bool) -> None:
    """Compare a subscription with its source, row for row. NAME is a grant's id, or a feed for all its grants.

    With --source: the table at one moment of its log, and the feed NAME folded by key up to there, while both go on changing.
    PostgreSQL computes a checksum for each of 4,096 ranges of hashed keys, and sends only the rows of ranges that differ, as hashes.
    MariaDB's table is read once, whole, and summed here; ALTER TABLE waits that long. Files, polled databases and other meshes have
    no such moment, and are refused with what compares them instead. It needs the rights of capture, writes nothing and leaves
    nothing there. Keys are printed as hashes, each with its row's place.

    Exits 0 if all is exact, 1 otherwise.
    """
    if is_source:
        from ops.proof.source.source import compare_source

        with progress_bar("records") as bar:
            compared = compare_source(load(directory), name, within_seconds=within_seconds, told=_Lines(bar))
        print_outcome(compared, as_json)
        sys.exit(0 if compared.is_exact else 1)
    from ops.proof.verify import verify as compare

    outcome = compare(name, load(directory), within_seconds=within_seconds)
    print_outcome(outcome, as_json)
    sys.exit(0 if outcome.is_exact else 1)


class _Lines:
    """Phases as lines on the error output, and a bar where that is a terminal."""

    def __init__(self, bar: Callable[[int, int], None]) -> None:
        self.count = bar

    def say(self, line: str, /) -> None:
        """See `ops.proof.source.check.Told`."""
        click.echo(line, err=True)
