from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from schemas.errors import Misconfigured
from streams.flows.inquiry.cell import Cell
from streams.flows.inquiry.condition import conditions
from streams.flows.inquiry.sources import Sources
from streams.operators.flow import Fact
from tests.stage.rehearsal import days, micros

TABLE = """source,name,agency,channel,feed,persons,deadline_days
HOME,自有住房,land,FEED,land.property,owner_id:owner_name,3
"""
APPLICANT, OTHER = "applicant", "other"
NOW = micros("2016-10-10")
APPLICATION = Fact("application", "A", {}, "1", NOW, NOW // 1000)


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    path = tmp_path / "sources.csv"
    path.write_text(TABLE, encoding="utf-8")
    return Sources.read(path)


def outcome(sources: Sources, bounds: dict[str, Any], *cells: tuple[str, str | None, int, int]) -> str | None:
    """What a condition says of cells (member, outcome, certain, uncertain records of 100 yuan and of that day)."""
    (condition,) = conditions({"RULE": {"source": "HOME", **bounds}}, sources.at(NOW))
    found: list[Cell] = []
    for citizen_id, said, count, uncertain in cells:
        items = [{"amount": 10_000, "day": days("2016-10-01"), "reference": str(number)} for number in range(count)]
        parts: dict[str, Any] = {"at": NOW, "due_at": NOW, "fact": APPLICATION if said else None, "items": items}
        found.append(
            Cell(
                citizen_id=citizen_id,
                source=condition.source,
                outcome=said,
                count=count,
                uncertain=uncertain,
                **parts,
            )
        )
    answer = condition.judge(found, APPLICANT, APPLICATION)
    return answer and answer.outcome


HAS, HAS_NOT = (APPLICANT, "RECORDS", 1, 0), (APPLICANT, "NO_RECORD", 0, 0)
MAY_HAVE, SILENT, FAILED = (APPLICANT, "AMBIGUOUS", 0, 1), (APPLICANT, None, 0, 0), (APPLICANT, "ERROR", 0, 0)


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({"at_most": 0}, ["FAIL", "PASS", "NEED_INFO", None, None]),
        ({"at_least": 1}, ["PASS", "FAIL", "NEED_INFO", None, None]),
        ({"at_least": 2}, ["FAIL", "FAIL", "FAIL", None, None]),
        ({"total_at_most": "99.99"}, ["FAIL", "PASS", "NEED_INFO", None, None]),
        ({"total_at_most": "100.00"}, ["PASS", "PASS", "NEED_INFO", None, None]),
        ({"at_most": 0, "within_days": 8}, ["PASS", "PASS", "NEED_INFO", None, None]),
        ({"at_most": 0, "within_days": 9}, ["FAIL", "PASS", "NEED_INFO", None, None]),
    ],
    ids=str,
)
def test_a_condition_decides_only_where_all_that_may_be_agrees(
    sources: Sources, bounds: dict[str, Any], expected: list[str | None]
) -> None:
    said = [outcome(sources, {"of": "APPLICANT", **bounds}, cell) for cell in (HAS, HAS_NOT, MAY_HAVE, SILENT, FAILED)]
    assert said == expected


def test_what_is_certain_of_one_member_decides_while_another_is_awaited(sources: Sources) -> None:
    bounds = {"of": "HOUSEHOLD", "at_most": 0}
    silent = (OTHER, None, 0, 0)
    assert outcome(sources, bounds, HAS, silent) == "FAIL"
    assert outcome(sources, bounds, HAS_NOT, silent) is None
    assert outcome(sources, {"of": "HOUSEHOLD", "at_least": 1}, HAS, silent) == "PASS"


def test_a_condition_of_the_applicant_is_not_met_by_another_member(sources: Sources) -> None:
    assert outcome(sources, {"of": "APPLICANT", "at_least": 1}, HAS_NOT, (OTHER, "RECORDS", 5, 0)) == "FAIL"


def test_with_nobody_to_ask_about_a_person_has_to_look(sources: Sources) -> None:
    for bounds in ({"at_most": 0}, {"at_least": 1}, {"total_at_most": "1.00"}):
        assert outcome(sources, {"of": "APPLICANT", **bounds}, (OTHER, "RECORDS", 5, 0)) == "NEED_INFO"


@pytest.mark.parametrize(
    "values",
    [
        {"source": "HUKOU", "of": "APPLICANT"},
        {"source": "HOME", "of": "NEIGHBOUR"},
        {"source": "HOME", "of": "APPLICANT", "about": 1},
        {"source": "HOME"},
        {"of": "APPLICANT"},
        {"source": "HOME", "of": "APPLICANT", "total_at_most": 5.0},
    ],
    ids=str,
)
def test_a_condition_that_cannot_be_judged_is_refused(sources: Sources, values: dict[str, Any]) -> None:
    with pytest.raises(Misconfigured, match="RULE"):
        conditions({"RULE": values}, sources.at(NOW))
