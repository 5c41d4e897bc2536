"""`mesh quota`: compute a draw of the car quota, or check one that the mesh published; a thin door to draw_check.py."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TextIO

import click

from ops.command.options import dir_option, json_option
from ops.settings import load


@click.group()
def quota() -> None:
    """Car quota (中小客车指标): draws that anybody can compute again."""


@quota.command()
@click.argument("roster", type=click.File(encoding="ascii"))
@click.option("--key", required=True, help="The draw key, 64 hexadecimal digits.")
@click.option("--quota", "quotas", type=click.IntRange(min=0), required=True, help="How many codes win.")
@json_option
def draw(roster: TextIO, key: str, quotas: int, as_json: bool) -> None:
    """Compute a draw from ROSTER, a file of codes, one a line (- for standard input). Needs no mesh."""
    from ops.proof.draw_check import compute_draw

    found = compute_draw(roster, key, quotas)
    if as_json:
        click.echo(json.dumps(found))
        return
    click.echo(f"{found['codes']} codes\nroster hash  {found['roster_hash']}\ncommitment   {found['key_commitment']}")
    for rank, code in enumerate(found["winners"], start=1):
        click.echo(f"{rank:>6}  {code}")


@quota.command()
@click.argument("period")
@click.argument("quota_kind", type=click.Choice(["ORDINARY", "NEW_ENERGY"], case_sensitive=False))
@dir_option
@json_option
def verify(period: str, quota_kind: str, directory: Path, as_json: bool) -> None:
    """Compute the draw of PERIOD (yyyymm) again from its published roster and key; exit status 1 if it differs."""
    from ops.proof.draw_check import check_draw

    checked = check_draw(load(directory), period, quota_kind)
    click.echo(json.dumps(checked.to_json()) if as_json else "\n".join(checked.lines()))
    sys.exit(0 if checked.is_right else 1)
