from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ops.command.quota import quota
from ops.proof.draw_check import check_rows, compute_draw
from schemas.errors import Misconfigured

KEY = "a1d2198868b192dbf70635af15b3986069847f41e553727f7523bcef1349cce2"
HASH = "5c276927ee375ecf0232975b3b03491d333b6360623889fe9c2e1bd6f346c0a0"
CODES = [f"{2016100000000 + number}" for number in range(1, 7)]


def pages(codes: list[str], size: int = 4) -> list[dict[str, Any]]:
    starts = range(0, len(codes), size)
    head = {"pages": len(starts), "code_count": len(codes), "roster_hash": HASH}
    commitment = compute_draw(codes, KEY, 0)["key_commitment"]
    return [
        {"page": number, "codes": codes[start : start + size], "key_commitment": commitment, **head}
        for number, start in enumerate(starts, start=1)
    ][::-1]


def results(codes: list[str]) -> list[dict[str, Any]]:
    return [{"rank": rank, "app_code": code, "draw_key": KEY} for rank, code in enumerate(codes, start=1)]


DRAWS = [{"quota": 2, "algorithm": "HMAC-SHA256"}]


def test_a_published_draw_is_computed_again_from_its_pages() -> None:
    checked = check_rows("201610", "ORDINARY", pages(CODES), results([CODES[3], CODES[5]])[::-1], DRAWS)
    assert checked.is_right
    assert list(checked.lines())[-1] == "the draw is right"
    assert checked.to_json()["codes"] == 6


@pytest.mark.parametrize(
    ("held", "drawn", "draws", "problems"),
    [
        (pages(CODES), results([CODES[5], CODES[3]]), DRAWS, ("WINNERS_DIFFER",)),
        (pages(CODES), results([CODES[3]]), DRAWS, ("WINNERS_DIFFER",)),
        (
            pages(CODES)[:1],
            results([CODES[5]]),
            DRAWS,
            ("ROSTER_PAGES_MISSING", "ROSTER_HASH_DIFFERS", "WINNERS_DIFFER"),
        ),
        (
            pages(CODES),
            [{"rank": 2, "app_code": CODES[3], "draw_key": KEY}],
            [{**DRAWS[0], "quota": 1}],
            ("RANKS_BROKEN",),
        ),
        (pages(CODES), [], DRAWS, ("NOT_DRAWN",)),
    ],
)
def test_what_is_wrong_with_a_draw_has_a_name(held: Any, drawn: Any, draws: Any, problems: tuple[str, ...]) -> None:
    checked = check_rows("201610", "ORDINARY", held, drawn, draws)
    assert checked.problems == problems
    assert "WRONG" in list(checked.lines())[-1]


def test_the_command_draws_without_a_mesh(tmp_path: Path) -> None:
    roster = tmp_path / "codes"
    roster.write_text("\n".join(CODES) + "\n", encoding="ascii")
    run = CliRunner().invoke(quota, ["draw", str(roster), "--key", KEY, "--quota", "2", "--json"])
    assert run.exit_code == 0, run.output
    found = json.loads(run.output)
    assert (found["roster_hash"], found["winners"]) == (HASH, [CODES[3], CODES[5]])
    text = CliRunner().invoke(quota, ["draw", "-", "--key", KEY, "--quota", "1"], input="\n".join(CODES)).output
    assert text.splitlines()[-1].split() == ["1", CODES[3]]


@pytest.mark.parametrize(("codes", "key"), [(["1", "1"], KEY), (["1"], "zz"), (["\u4e00"], KEY)])
def test_a_roster_or_key_that_cannot_be_right_is_refused(codes: list[str], key: str) -> None:
    with pytest.raises(Misconfigured):
        compute_draw(codes, key, 1)
