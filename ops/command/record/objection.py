"""`mesh objection`: what a subscriber disputes, the provider's answer, and the correction; a thin door to ops/objections."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ops.command.options import dir_option, json_option, print_outcome
from ops.settings import load


@click.group()
def objection() -> None:
    """Dispute a field of a record (数据异议), answer, and see whether the correction has come.

    OPEN, PROVIDER_CHECKING, then REJECTED with a reason, or UPHELD; once a change of that record comes in which the field differs,
    it is CORRECTED, with that change's position. Of the value that was seen a keyed hash is kept.
    """


@objection.command("raise")
@click.argument("grant")
@click.option(
    "--key", "keys", multiple=True, required=True, metavar="COLUMN=VALUE", help="A key column; once for each."
)
@click.option("--field", required=True, help="The column that is disputed.")
@click.option("--seen", required=True, help="The value as it was seen, empty for none; - reads it from standard input.")
@click.option("--claim", required=True, help="What is said to be right.")
@click.option("--evidence", required=True, help="Where the evidence is, such as a file number.")
@dir_option
@json_option
def raise_one(
    grant: str,
    keys: tuple[str, ...],
    field: str,
    seen: str,
    claim: str,
    evidence: str,
    directory: Path,
    as_json: bool,
) -> None:
    """Raise an objection by a GRANT that shows the field as it is. The same one raised again is the one that there is.

    \b
    mesh objection raise bank.aic.enterprise --key ent_id=E000123 --field capital --seen 100.00 --claim 1000.00 --evidence 档-2026-14
    """  # noqa: D301 - click's mark for "do not wrap" is the control character
    from ops.objections.raising import Disputed, Objections, raise_objection

    pairs = {name: value for name, _, value in (pair.partition("=") for pair in keys)}
    value = sys.stdin.readline().rstrip("\n") if seen == "-" else seen
    disputed = Disputed(key=pairs, field=field, seen=value, claimed=claim, evidence=evidence)
    print_outcome(Objections([raise_objection(load(directory), grant, disputed)]), as_json)


@objection.command()
@click.argument("objection_id")
@click.argument("state", type=click.Choice(["PROVIDER_CHECKING", "REJECTED", "UPHELD"], case_sensitive=False))
@click.option("--reason", default="", help="Why; a rejection needs one.")
@dir_option
@json_option
def answer(objection_id: str, state: str, reason: str, directory: Path, as_json: bool) -> None:
    """Answer for the provider: that it is being checked, that the value stands, or that the objection is right."""
    from ops.objections.raising import Objections
    from ops.objections.raising import answer as give
    from schemas.agreement.objection import ObjectionState

    print_outcome(Objections([give(load(directory), objection_id, ObjectionState(state.upper()), reason)]), as_json)


@objection.command("list")
@click.option("--state", help="Only those in this state, such as OPEN.")
@click.option("--feed", help="Only of this feed.")
@dir_option
@json_option
def list_all(state: str | None, feed: str | None, directory: Path, as_json: bool) -> None:
    """List objections, oldest first, with what is LATE; neither keys of records nor claims."""
    from ops.objections.raising import Objections, read
    from schemas.log.topics import ensure_control_topics

    settings = load(directory)
    ensure_control_topics(settings.kafka)
    found = sorted(read(settings).values(), key=lambda each: each.raised_at)
    wanted = [each for each in found if state in {None, str(each.state)} and feed in {None, each.feed}]
    print_outcome(Objections(wanted), as_json)


@objection.command()
@click.argument("objection_id")
@click.option("--reveal", is_flag=True, help="Show the record's key and the claim, for whoever checks it; audited.")
@dir_option
@json_option
def show(objection_id: str, reveal: bool, directory: Path, as_json: bool) -> None:
    """Show one objection, and by which grants its correction has gone out, as such."""
    from ops.audit.refused import note
    from ops.objections.carried import carried
    from ops.objections.raising import Objections, found

    settings = load(directory)
    one = found(settings, objection_id)
    if reveal:
        note(settings, "objection revealed", objection_id)
    print_outcome(Objections([one], reveal, carried(settings, one)), as_json)
