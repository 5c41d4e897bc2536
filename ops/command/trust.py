"""`mesh identity`, `mesh anchor`, `mesh token`: who this mesh is, which others it trusts, who may enter; a thin door."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import click

from ops.command.options import dir_option, json_option, print_outcome
from ops.settings import load
from schemas.guard.caller import ALL, Role
from schemas.guard.token import id_of


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


@click.group()
def token() -> None:
    """Issue, list and revoke tokens for registry, console, open data, metrics, live feeds and pushes, where MESH_AUTH=on is set.

    \b
    viewer      looks at feeds, subscriptions and schemas of its agencies
    subscriber  reads its live feed, and the schemas of what it is granted
    provider    sends rows of its agencies to sources of kind push, and nothing else
    steward     also registers and deletes schemas of its agencies
    operator    looks at everything of its agencies, sets modes of the registry
    admin       everything but subscribers' data

    A token goes into `Authorization: Bearer <token>`, or into HTTP Basic as the password, of whatever user: browsers and stock
    Schema Registry clients (basic.auth.user.info) have that. Who may do what stands in schemas/guard/table.py.
    """  # noqa: D301 - click's mark for "do not wrap" is the control character


@token.command("issue")
@click.option("--role", required=True, type=click.Choice(list(map(str, Role))), help="What it is for.")
@click.option("--agency", "agencies", multiple=True, help="The agency or subscriber that it is for; may be repeated.")
@click.option("--all-agencies", is_flag=True, help="For all of them, and for what is the city's.")
@click.option("--for", "name", default="", help="Whose it is, for people who look at the list.")
@click.option(
    "--file", type=click.Path(path_type=Path, dir_okay=False), help="Write it here, for this user alone; show nothing."
)
@click.option(
    "--expires", default="90d", show_default=True, help="After how long it ends, such as 12h or 30d; or never."
)
@dir_option
@json_option
def token_issue(
    role: str,
    agencies: tuple[str, ...],
    all_agencies: bool,
    name: str,
    file: Path | None,
    expires: str,
    directory: Path,
    as_json: bool,
) -> None:
    """Issue a token and show it, once; or write it to a file, which keeps it off the screen."""
    from ops.trust.tokens import issue_token

    scope = (ALL,) if all_agencies else agencies
    print_outcome(issue_token(load(directory), role, scope, name, expires, file), as_json)


@token.command("list")
@dir_option
@json_option
def token_list(directory: Path, as_json: bool) -> None:
    """List the tokens that were issued: id, state, end, role, agencies and whose; never their text."""
    from ops.trust.tokens import list_tokens

    print_outcome(list_tokens(load(directory)), as_json)


@token.command("revoke")
@click.argument("token_id", required=False)
@click.option("--identity", "subject", help="The `sub` of somebody of the identity provider, instead of a token's id.")
@dir_option
@json_option
def token_revoke(token_id: str | None, subject: str | None, directory: Path, as_json: bool) -> None:
    """Revoke a token by its id: within seconds no server takes it, and streams that it opened end."""
    from ops.trust.tokens import revoke_identity, revoke_token

    if (token_id is None) == (subject is None):
        raise click.UsageError("Give either a token's id, or --identity.")
    settings = load(directory)
    if subject is not None:
        print_outcome(revoke_identity(settings, subject), as_json)
    else:
        given = token_id or ""
        print_outcome(revoke_token(settings, id_of(given) or given), as_json)
