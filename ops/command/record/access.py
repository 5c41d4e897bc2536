"""The command `mesh access`; its work is in ops/disclosure."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ops.command.options import dir_option, json_option, print_outcome
from ops.settings import load


@click.command()
@click.argument("identifier", required=False)
@click.option("--feed", default="", help="A feed, where one row is meant by its key.")
@click.option("--key", "keys", multiple=True, metavar="COLUMN=VALUE", help="A key column of that row; once for each.")
@click.option("--purpose", required=True, help="For what you ask, with the matter's code: it is in the audit.")
@dir_option
@json_option
def access(
    identifier: str | None, feed: str, keys: tuple[str, ...], purpose: str, directory: Path, as_json: bool
) -> None:
    """Show who received the data of a person or organisation: when, which columns, by which grant and for what purpose.

    IDENTIFIER is a citizen id (公民身份号码), a unified code (统一社会信用代码) or another; - reads it from standard input, so that
    it stands in no list of processes. It is looked for in every feed with identifying columns, and where it was hashed. No value of a
    row is shown. The question is in the audit, under a keyed hash, before it is answered.

    \b
    A person:  mesh access - --purpose "数据主体申请 2026-114" < identifier.txt
    One row:   mesh access --feed police.resident --key citizen_id=... --purpose "核查 2026-7"
    """  # noqa: D301 - click's mark for "do not wrap" is the control character
    from ops.disclosure.asked import Asked
    from ops.disclosure.disclosed import disclosed

    given = sys.stdin.readline().strip() if identifier == "-" else (identifier or "")
    asked = Asked.of(given, feed, keys)
    outcome = disclosed(load(directory), asked, purpose, lambda line: click.echo(line, err=True))
    print_outcome(outcome, as_json)
