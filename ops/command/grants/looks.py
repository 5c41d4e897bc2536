"""`mesh grant list`, `show`, `preview` and `explain`: what is looked at of a grant (授权), and changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ops.command.options import dir_option, json_option, print_outcome
from ops.settings import load
from schemas.agreement.grant import Status

_grant = click.argument("grant_id", metavar="GRANT")


@click.command("list")
@click.option(
    "--state", type=click.Choice([str(each) for each in Status], case_sensitive=False), help="Only those of this state."
)
@click.option("--subscriber", help="Only what this subscriber has or asks for.")
@click.option("--provider", help="Only what is asked of, or given by, this agency.")
@click.option("--overdue", is_flag=True, help="Only requests whose answer is late.")
@dir_option
@json_option
def list_grants(
    state: str | None, subscriber: str | None, provider: str | None, overdue: bool, directory: Path, as_json: bool
) -> None:
    """List grants by state, subscriber or provider: who gets mine, what do I get, what waits, and until when."""
    from ops.grants.listing import listing

    chosen = Status(state) if state else None
    print_outcome(listing(load(directory), chosen, subscriber, provider, is_overdue=overdue), as_json)


@click.command()
@_grant
@dir_option
@json_option
def show(grant_id: str, directory: Path, as_json: bool) -> None:
    """Show everything about GRANT: columns, filter, masks, purpose, basis, deadline, and its history step by step."""
    from ops.grants.shown import shown

    print_outcome(shown(load(directory), grant_id), as_json)


@click.command()
@click.argument("what", metavar="GRANT_OR_FOLDER")
@click.option(
    "--days",
    type=click.FloatRange(min=0.0),
    default=30.0,
    show_default=True,
    help="How far back, in days; may be a part of one.",
)
@click.option("--grant", "only", help="Only this grant of the folder.")
@dir_option
@json_option
def preview(what: str, days: float, only: str | None, directory: Path, as_json: bool) -> None:
    """Show what would flow by a grant, or by those of a subscriber's folder, from the feed's last days: nothing is delivered.

    Rows, columns with class, tags and mask, the share of subjects touched, the smallest group by what is tagged QUASI_ID, and samples
    with personal values hidden. By the same cut that streams use; in bounded memory, beyond which counts are estimates and say so.
    """
    from ops.grants.preview.preview import preview as replay

    found = replay(load(directory), what, days=days, only=only, say=lambda line: click.echo(line, err=True))
    if as_json:
        told = {"grants": [each.to_json() for each in found]}
        click.echo(json.dumps(told, ensure_ascii=False, indent=2, default=str))
        return
    for each in found:
        each.render()


@click.command()
@_grant
@click.option(
    "--key", "keys", multiple=True, required=True, help="The row's key: `ent_id=E1`, once for each column, or JSON."
)
@dir_option
@json_option
def explain(grant_id: str, keys: tuple[str, ...], directory: Path, as_json: bool) -> None:
    """Explain for one row why it is, or is not, at the subscriber of GRANT: a sentence, then step by step.

    The grant's state, the row's last change in the feed, the row filter, columns, the topic, the acknowledgement, dead letters, and
    what stands in the way. Nothing of a column tagged PII is shown.
    """
    from ops.grants.explaining.explain import explain as look

    print_outcome(look(load(directory), grant_id, keys, lambda line: click.echo(line, err=True)), as_json)
