"""`mesh kit`: programs by which a subscriber reads what it may read."""

from __future__ import annotations

from pathlib import Path

import click

from ops.command.options import dir_option, json_option, print_lines
from ops.settings import load


@click.command()
@click.argument("subscriber")
@click.option(
    "--sink", "sinks", multiple=True, help="Of this sink only; may be repeated. Default: each that it reads by itself."
)
@click.option(
    "--feed", "feeds", multiple=True, help="Of this feed only; may be repeated. Default: all that it may read."
)
@click.option(
    "--to",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Into this folder, each kit in one of its name; default: here.",
)
@dir_option
@json_option
def kit(
    subscriber: str, sinks: tuple[str, ...], feeds: tuple[str, ...], to: Path, directory: Path, as_json: bool
) -> None:
    """Write the programs by which SUBSCRIBER reads what it may (客户端套件): Python, Java and Flink SQL, or curl for a live feed.

    They work as they are once the secret that was handed over is put where the kit's README says; no kit holds one.
    """
    from ops.kits.kit import Written, kits
    from schemas.log.control.follower import read_directory

    settings = load(directory)
    found = kits(settings, read_directory(settings.kafka), subscriber, sinks=sinks, feeds=feeds)
    print_lines(Written(kits={each.write(to): each for each in found}), as_json)
