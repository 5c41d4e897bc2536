"""`mesh identity` and `mesh anchor`: who this mesh is, and which others it trusts; a thin door to identity.py and anchors.py."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import click

from ops.command.options import dir_option, json_option, print_outcome
from ops.settings import load


@click.command()
@dir_option
@click.option("--renew", is_flag=True, help="Take a new key; every other mesh needs the new anchor then.")
@json_option
def identity(directory: Path, renew: bool, as_json: bool) -> None:
    """Show who this mesh is to others: fingerprint and public key, the file for their `mesh anchor add`."""
    from ops.trust.identity import announce

    print_outcome(announce(load(directory), is_renewed=renew), as_json)


@click.group()
def anchor() -> None:
    """Upload, remove and list the keys of other meshes (districts, the province) that this one trusts."""


@anchor.command("add")
@click.argument("file", type=click.File("rb"))
@click.option("--name", required=True, help="Whose it is, such as district_440106.")
@dir_option
@json_option
def anchor_add(file: BinaryIO, name: str, directory: Path, as_json: bool) -> None:
    """Trust the mesh whose public key is in FILE, as its `mesh identity` printed it; - reads standard input."""
    from ops.trust.anchors import add_anchor

    print_outcome(add_anchor(load(directory), file.read(), name), as_json)


@anchor.command("remove")
@click.argument("fingerprint")
@dir_option
@json_option
def anchor_remove(fingerprint: str, directory: Path, as_json: bool) -> None:
    """Trust that mesh no longer: within seconds its feeds stop, and what it reads here."""
    from ops.trust.anchors import remove_anchor

    print_outcome(remove_anchor(load(directory), fingerprint), as_json)


@anchor.command("list")
@dir_option
@json_option
def anchor_list(directory: Path, as_json: bool) -> None:
    """List the anchors, and the sources and subscribers that name them."""
    from ops.trust.anchors import list_anchors

    print_outcome(list_anchors(load(directory)), as_json)
