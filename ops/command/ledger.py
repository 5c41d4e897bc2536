"""`mesh ledger` and `mesh ledger accept`."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from click.core import ParameterSource

from ops.command.options import dir_option, json_option, print_outcome
from ops.settings import load


@click.group(invoke_without_command=True)
@click.option("--feed", help="Only this feed and its subscriptions.")
@click.option("--subscriber", help="Only this subscriber's.")
@dir_option
@json_option
@click.pass_context
def ledger(context: click.Context, feed: str | None, subscriber: str | None, directory: Path, as_json: bool) -> None:
    """Compare what each hop says it wrote with what the next one says it read (对账), by count and hash.

    captured: what capture wrote to a feed; read: what the stream workers read of it, valid or rejected (dead letters). routed: what
    they wrote for a subscription; acknowledged: what its subscriber has; dead: its dead letters. adopted: records of a process
    that was killed before it could account for them, taken over by the next.

    A line is RED where a record was skipped, doubled or changed in between, and the offsets are told. behind: it agrees as far as
    its reader has come. unsettled: its writer has just started. Exits with 1 if any line is red. `mesh verify` compares databases.
    """
    if context.invoked_subcommand is not None:
        return
    from ops.ledger.view import ledger as compiled

    report = compiled(load(directory), feed=feed, subscriber=subscriber)
    print_outcome(report, as_json)
    sys.exit(0 if report.is_balanced else 1)


@ledger.command()
@click.argument("name")
@click.option("--reason", required=True, help="What was found, for the audit.")
@dir_option
@json_option
@click.pass_context
def accept(context: click.Context, name: str, reason: str, directory: Path, as_json: bool) -> None:
    """Say that a red line was looked into: NAME, a feed or a grant's id, is compared anew from here on. Audited."""
    from ops.ledger.accept import accept as accepted

    if context.parent is not None and context.get_parameter_source("directory") is ParameterSource.DEFAULT:
        directory = context.parent.params["directory"]  # `mesh ledger --dir D accept ...`
    print_outcome(accepted(load(directory), name, reason), as_json)
