"""`mesh grant`: the life of a grant (授权), from the request to its end; what is looked at is in looks.py."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ops.command.grants.looks import explain, list_grants, preview, show
from ops.command.options import dir_option, json_option
from ops.known_names import did_you_mean
from ops.settings import load
from ops.trust.login import login_name
from schemas.agreement.grant_life import Act

_by = click.option(
    "--by", default=login_name, show_default="the login's name", help="Who decides, as the history says it."
)
_reason = click.option("--reason", required=True, help="Why, as the history and the audit say it.")
_basis = click.option("--basis", default="", help="The rule that it rests on (依据), where it is not the grant's own.")
_grant = click.argument("grant_id", metavar="GRANT")


class _GrantGroup(click.Group):
    """A first word with a dot is a grant's id, and the short form is meant: `mesh grant <id> <status>`.

    Options may stand before the word, as scripts write them.
    """

    unnamed = "status"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        before, rest = _split(args)
        if rest and "." in rest[0]:
            rest = [self.unnamed, *rest]
        elif rest and not rest[0].startswith("-") and rest[0] not in self.commands:
            near = did_you_mean(rest[0], self.list_commands(ctx), "`mesh grant -h` lists them.").capitalize()
            ctx.fail(f"No such command {rest[0]!r}. {near} An id is written whole, as `mesh grant list` has it.")
        return super().parse_args(ctx, [*rest[:1], *before, *rest[1:]] if rest else args)


def _split(args: Sequence[str]) -> tuple[list[str], list[str]]:
    """The options before the first word, and the rest; none of them asks for the group's own help."""
    at = 0
    while at < len(args) and args[at].startswith("-") and args[at] not in {"-h", "--help"}:
        at += 2 if args[at] in {"--dir", "--by"} else 1
    return list(args[:at]), list(args[at:])


@click.group(cls=_GrantGroup)
def grant() -> None:
    """Ask for, approve, refuse, suspend, resume, revoke, list and explain grants; `mesh grant <id> <status>` in short.

    \b
    A subscriber asks:      mesh grant request <folder>
    Compliance, provider:   mesh grant approve <id> --as compliance, then --as provider: it is active
    Or one of them:         mesh grant refuse <id> --reason <why> --basis <rule>
    While it runs:          mesh grant suspend, resume, revoke <id> --reason <why>; a running feed follows within seconds
    In short:               mesh grant <id> ACTIVE, SUSPENDED or REVOKED
    """  # noqa: D301 - click's mark for "do not wrap" is the control character


@grant.command("status", hidden=True)
@_grant
@click.argument("status", type=click.Choice(["ACTIVE", "SUSPENDED", "REVOKED"], case_sensitive=False))
@dir_option
@_by
def set_status(grant_id: str, status: str, directory: Path, by: str) -> None:
    """Suspend, revoke or reactivate GRANT in one word; a running feed follows within seconds.

    ACTIVE also resumes the grant's webhook after it answered 410 (gone), whatever the grant was before.
    """
    from ops.grants.decide import set_grant_status

    set_grant_status(load(directory), grant_id, status, by)
    click.echo(f"{grant_id} is {status}")


@grant.command()
@click.argument("path", metavar="FOLDER", type=click.Path(path_type=Path, exists=True))
@dir_option
@_by
@json_option
def request(path: Path, directory: Path, by: str, as_json: bool) -> None:
    """Ask for what a subscriber's FOLDER (or its file) grants: it waits to be approved, and nothing flows meanwhile.

    The folder is checked and the subscriber let in as by `mesh onboard`. An answer is due in working days (工作日) by the rules of
    the day. A change of a grant that runs waits beside it. Safe to repeat: what was asked for in the same words stays where it is.
    """
    from ops.grants.request import request as ask

    outcome = ask(path, load(directory), by=by, say=lambda line: click.echo(line, err=True))
    if not outcome.is_ok and not as_json:
        outcome.report.render()
    else:
        _print(outcome, as_json=as_json)
    sys.exit(0 if outcome.is_ok else 1)


@grant.command()
@_grant
@click.option(
    "--as",
    "role",
    type=click.Choice(["compliance", "provider"], case_sensitive=False),
    help="As whom; whoever is next, where it is not said.",
)
@click.option("--reason", default="", help="A remark for the history.")
@_basis
@_by
@dir_option
@json_option
def approve(grant_id: str, role: str | None, reason: str, basis: str, by: str, directory: Path, as_json: bool) -> None:
    """Approve GRANT: compliance (合规) first, then the provider (提供方); with both it is active and flows."""
    act = {None: None, "compliance": Act.COMPLIANCE, "provider": Act.PROVIDER}[role]
    _decide(directory, grant_id, act, by=by, reason=reason, basis=basis, as_json=as_json)


@grant.command()
@_grant
@click.option("--reason", default="", help="Why; mandatory.")
@click.option("--basis", default="", help="The rule that the refusal rests on (依据); mandatory.")
@_by
@dir_option
@json_option
def refuse(grant_id: str, reason: str, basis: str, by: str, directory: Path, as_json: bool) -> None:
    """Refuse what was asked for by GRANT, with a reason and its basis; a refusal without them is rejected."""
    _decide(directory, grant_id, Act.REFUSE, by=by, reason=reason, basis=basis, as_json=as_json)


@grant.command()
@_grant
@_reason
@_basis
@_by
@dir_option
@json_option
def suspend(grant_id: str, reason: str, basis: str, by: str, directory: Path, as_json: bool) -> None:
    """Hold GRANT up: a running feed stops within seconds; rows stay at the subscriber, and it is served what it missed later."""
    _decide(directory, grant_id, Act.SUSPEND, by=by, reason=reason, basis=basis, as_json=as_json)


@grant.command()
@_grant
@_reason
@_basis
@_by
@dir_option
@json_option
def resume(grant_id: str, reason: str, basis: str, by: str, directory: Path, as_json: bool) -> None:
    """Let a suspended GRANT go on, with its gap filled."""
    _decide(directory, grant_id, Act.RESUME, by=by, reason=reason, basis=basis, as_json=as_json)


@grant.command()
@_grant
@_reason
@_basis
@_by
@dir_option
@json_option
def revoke(grant_id: str, reason: str, basis: str, by: str, directory: Path, as_json: bool) -> None:
    """End GRANT: a running feed stops within seconds, and its rows leave the subscriber unless it says `at_end: keep`."""
    _decide(directory, grant_id, Act.REVOKE, by=by, reason=reason, basis=basis, as_json=as_json)


def _decide(
    directory: Path, grant_id: str, act: Act | None, *, by: str, reason: str, basis: str, as_json: bool
) -> None:
    from ops.grants.decide import decide

    _print(decide(load(directory), grant_id, act, by=by, reason=reason, basis=basis), as_json=as_json)


def _print(outcome: Any, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(outcome.to_json(), ensure_ascii=False, indent=2))
        return
    for line in outcome.lines():
        click.echo(line)


for _command in (list_grants, show, preview, explain):
    grant.add_command(_command)
