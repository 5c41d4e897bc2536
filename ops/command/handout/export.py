"""`mesh export`: what the mesh agreed on, in the forms that others' tools read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from ops.command.options import dir_option
from ops.settings import load
from schemas.errors import Misconfigured

_feeds = click.argument("feeds", nargs=-1)


@click.group()
def export() -> None:
    """Write what the mesh agreed on for others' tools: AsyncAPI, Open Data Contract Standard, OpenLineage.

    It goes to standard output, without addresses of departments' databases and without secrets.
    """


@export.command("asyncapi")
@click.option("--subscriber", default="", help="Only what this subscriber may read by itself, for its own programs.")
@click.option("--sink", "sinks", multiple=True, help="Of this sink of the subscriber's only; may be repeated.")
@dir_option
def export_asyncapi(subscriber: str, sinks: tuple[str, ...], directory: Path) -> None:
    """Write the feeds as an AsyncAPI 3.0 document (JSON): topics, schemas, servers."""
    from ops.exports.asyncapi import asyncapi
    from schemas.log.control.follower import read_directory

    if sinks and not subscriber:
        raise click.UsageError("--sink is of a subscriber: name it by --subscriber")
    settings = load(directory)
    _print(asyncapi(settings, read_directory(settings.kafka), subscriber, sinks))


@export.command("odcs")
@_feeds
@click.option(
    "--to",
    type=click.Path(path_type=Path, file_okay=False),
    help="Into this folder, a file for each feed; default: standard output, one document after the other.",
)
@dir_option
def export_odcs(feeds: tuple[str, ...], to: Path | None, directory: Path) -> None:
    """Write the contracts of FEEDS, or of all, as Open Data Contract Standard 3 documents (YAML)."""
    from ops.exports.odcs import contracts
    from schemas.log.control.follower import read_directory

    settings = load(directory)
    found = contracts(settings, read_directory(settings.kafka), feeds)
    if to is None:
        for document in found.values():
            click.echo(f"---\n{_yaml(document)}", nl=False)
        return
    try:
        to.mkdir(parents=True, exist_ok=True)
        for feed, document in found.items():
            (to / f"{feed}.odcs.yaml").write_text(_yaml(document), "utf-8")
    except OSError as error:
        raise Misconfigured(
            str(to), f"cannot be written ({error.strerror})", fix="name another folder by --to"
        ) from error
    click.echo(f"{to}: {len(found)} contracts, each as <feed>.odcs.yaml")


@export.command("openlineage")
@_feeds
@dir_option
def export_openlineage(feeds: tuple[str, ...], directory: Path) -> None:
    """Write the lineage (血缘) of FEEDS, or of all, as OpenLineage JobEvents, one a line, as its HTTP API takes them."""
    from ops.exports.openlineage import events
    from schemas.log.control.follower import read_directory

    settings = load(directory)
    for event in events(settings, read_directory(settings.kafka), datetime.now(UTC), feeds):
        click.echo(json.dumps(event, ensure_ascii=False))


def _print(document: Mapping[str, Any]) -> None:
    click.echo(json.dumps(document, ensure_ascii=False, indent=2))


def _yaml(document: Mapping[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(document, allow_unicode=True, sort_keys=False, width=120)
