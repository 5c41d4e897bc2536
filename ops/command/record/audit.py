"""`mesh audit`: who did what, and the proof that no line of it was changed, removed or moved; a thin door to ops/audit."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from ops.command.options import dir_option, json_option, print_outcome
from ops.settings import load


@click.group()
def audit() -> None:
    """List, export and verify the audit (审计): who did what, and what was refused.

    Every line holds the hash of the line before. So a line that was changed, removed, moved or put in is found by anybody who has
    an export, without the mesh. That the end was cut off is found by a head that somebody noted down outside.

    \b
    Note down:       mesh audit head
    Take along:      mesh audit export audit.jsonl
    Verify it there: mesh audit verify audit.jsonl --head 4711:9f3c...
    """  # noqa: D301 - click's mark for "do not wrap" is the control character


@audit.command("list")
@click.option("--subject", help="Of this grant, feed, subscriber or anchor; `customs.*` takes all that begin so.")
@click.option("--what", help="What was done, such as `grant status`; `*refused` takes every refusal.")
@click.option("--by", help="By this account.")
@click.option("--since", help="From this time on, such as 2026-11-28T08:00 (Shanghai, unless it names a zone).")
@dir_option
@json_option
def list_lines(
    subject: str | None, what: str | None, by: str | None, since: str | None, directory: Path, as_json: bool
) -> None:
    """List lines, oldest first: who, what, when, to what; never a value of a row."""
    from ops.audit.shown import Wanted, listed
    from ops.redelivery.replay import moment

    wanted = Wanted(subject=subject, what=what, by=by, since=moment(since) if since else None)
    print_outcome(listed(load(directory), wanted), as_json)


@audit.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@dir_option
@json_option
def export(file: Path, directory: Path, as_json: bool) -> None:
    """Write every line to FILE as JSON Lines, byte for byte as it is hashed, and verify it. Exits 1 if it is broken."""
    from ops.audit.shown import export as write

    outcome = write(load(directory), file)
    print_outcome(outcome, as_json)
    sys.exit(0 if outcome.is_intact else 1)


@audit.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=False)
@click.option("--head", help="A head that was noted down, as `mesh audit head` prints it: it must be among the lines.")
@click.option(
    "--running", "is_compared", is_flag=True, help="FILE must end where the running mesh's audit ends at this moment."
)
@dir_option
@json_option
def verify(file: Path | None, head: str | None, is_compared: bool, directory: Path, as_json: bool) -> None:
    """Verify the running mesh's audit, or an export FILE, for which no mesh is needed. Exits 1 if it is broken.

    Says how many lines are intact and the head, or which line was changed, removed, reordered or inserted. A missing end is found
    with --head, or with --running.
    """
    from ops.audit.chain import Head
    from ops.audit.shown import head_of, verified_file, verified_mesh

    noted = Head.parse(head) if head else None
    if file is None:
        outcome = verified_mesh(load(directory), noted)
    else:
        outcome = verified_file(file, noted, head_of(load(directory)) if is_compared else None)
    print_outcome(outcome, as_json)
    sys.exit(0 if outcome.is_intact else 1)


@audit.command()
@dir_option
@json_option
def head(directory: Path, as_json: bool) -> None:
    """Print the last line's number and hash: noted down outside, it lets nothing before it be changed unseen."""
    from ops.audit.shown import head_of

    found = head_of(load(directory))
    click.echo(json.dumps({"seq": found.seq, "hash": found.hash}) if as_json else str(found))
