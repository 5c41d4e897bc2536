"""The brief's own numbers: each disagreement of HANDBOOK §1.3 is found by computing, and each quoted figure follows."""

from __future__ import annotations

import pytest

from ops.figures.brief import the_brief
from ops.figures.disagreements import Finding, findings
from ops.figures.figure import values
from ops.figures.numbers import Numbers
from ops.figures.report import FigureLine, compare

EMPTY = Numbers(check=None, coverage=None, quota=None, tax=None, credit=None, terms=(), lists={})


def found(numbers: Numbers) -> dict[str, Finding | None]:
    return {rule.code: finding for rule, finding in findings(numbers)}


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("N1", ["= +3,888", "= +9,504", "sum to 67,704", "sum to 152,177"]),
        ("N2", ["= 99.09", "90.09 of unknown parts"]),
        ("N3", ["= 14.24 % by completed case", "= 16.13 % by person", "= 15.11 % by accepted case"]),
        ("N4", ["396,700 / 3,075,194 = 12.90 %", "= 20.55 % of legal entities", "= 0.78 % of rows"]),
        ("N5", ["27,040,000 visits, 4.01 an applicant", "47,180,000 × 0.5 h = 23,590,000 h"]),
        ("N6", ["= 4.69", "no inboxes"]),
        ("N7", ["531,026,804 in 5 databases", "= 1,198,973,196 unaccounted"]),
        ("N8", ["社会组织 = 公共组织"]),
        ("N9", ["居民家庭经济状况核对 = 居民家庭收入核对", "质监 = 质检"]),
        ("N10", ["works 15 of 30", "quota 3 of 7", "check 4 of 28", "tax 4 of 31", "registration 4 of 30"]),
        ("N11", ["/ 64 months = 105,313 a month", "/ 52 months = 129,615 a month"]),
    ],
)
def test_the_briefs_numbers_are_red_with_their_arithmetic(code: str, said: list[str]) -> None:
    finding = found(the_brief().numbers)[code]
    assert finding is not None
    assert finding.is_red
    for part in said:
        assert part in finding.arithmetic


def test_every_disagreement_of_the_handbook_is_a_rule() -> None:
    assert list(found(EMPTY)) == [f"N{number}" for number in range(1, 12)]


def test_every_quoted_figure_follows_from_the_briefs_own_numbers() -> None:
    lines: dict[str, FigureLine] = {line.figure.figure: line for line in compare(EMPTY, the_brief()).figures}
    assert lines.keys() == the_brief().stated.keys()
    assert {name for name, line in lines.items() if not line.is_found_again} == set()
    computed = values(the_brief().numbers, the_brief().numbers)
    assert {name: str(value.value) for name, value in computed.items()} == {
        "detection_by_case": "14.24",
        "detection_by_person": "16.13",
        "detection_by_accepted_case": "15.11",
        "uscc_coverage": "12.90",
        "warnings_per_taxpayer": "4.69",
        "visits_per_applicant": "4.01",
        "hours_by_visit": "13520000",
        "hours_by_request": "23590000",
    }


def test_without_rows_nothing_is_said_of_the_mesh() -> None:
    report = compare(EMPTY, the_brief())
    assert not report.is_red
    assert {line.here for line in report.figures} == {None}
    assert {line.here for line in report.disagreements} == {None}
    shown = report.to_json()
    assert [line["code"] for line in shown["disagreements"] if line["brief"]["is_red"]] == list(found(EMPTY))
