"""The mesh's own numbers: from rows as the flows write them, with the same rules as the brief's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import pytest

from ops.figures.brief import the_brief
from ops.figures.observed import observe
from ops.figures.report import Report, compare
from schemas.agreement.agency import Agency
from schemas.agreement.directory import Directory, FeedEntry
from streams.engine.inbox.intake import Outgoing
from streams.engine.inbox.message import COUNT, message_key, pack
from streams.flows.check import FLOW as CHECK
from streams.flows.quota.cycle import agencies, first_days
from tests.stage.rehearsal import Rehearsal, city_contracts

CITY = "2013-01..2016-10|ALL|ALL"
BRIEF = {
    "accepted_cases": 63_816, "accepted_persons": 142_673, "completed_cases": 67_704, "completed_persons": 152_177,
    "ineligible_cases": 9_642, "ineligible_persons": 24_544,
}  # fmt: skip


def report(rows: Mapping[str, Sequence[Mapping[str, Any]]], directory: Directory | None = None) -> Report:
    brief = the_brief()
    numbers = observe(
        rows,
        directory or Directory(),
        window=brief.window,
        hours_per_visit=brief.hours_per_visit,
        terms=brief.numbers.terms,
    )
    return compare(numbers, brief)


def figures(shown: Report) -> dict[str, str]:
    return {line.figure.figure: str(line.here.value) for line in shown.figures if line.here is not None}


def red(shown: Report) -> dict[str, bool]:
    return {line.rule.code: line.here.is_red for line in shown.disagreements if line.here is not None}


def arithmetic(shown: Report, code: str) -> str:
    [finding] = [line.here for line in shown.disagreements if line.rule.code == code]
    assert finding is not None
    return finding.arithmetic


def statistics(*told: tuple[str, Mapping[str, int]]) -> list[dict[str, Any]]:
    """Rows of `check.statistic` as its flow makes them of these counts."""
    stage = Rehearsal(CHECK, city_contracts(), now="2016-10-31")
    for place, counts in told:
        key = message_key("check", f"statistic:{place}")
        stage.deliver([Outgoing(key, pack([COUNT, measure, number])) for measure, number in counts.items()])
    stage.tick("2016-11-01")
    stage.check_rows()
    return list(stage.rows("check.statistic").values())


def test_the_flow_finds_the_rates_of_the_brief_again_and_is_red_as_it_is() -> None:
    kinds = the_brief().numbers.check
    assert kinds is not None
    by_kind = [
        (f"2013-01..2016-10|ALL|{kind}", {f"completed_{unit}": count for unit, count in counted.items()})
        for kind, counted in kinds.kinds.items()
    ]
    shown = report({"check.statistic": statistics((CITY, BRIEF), *by_kind)})
    assert figures(shown) == {
        "detection_by_case": "14.24",
        "detection_by_person": "16.13",
        "detection_by_accepted_case": "15.11",
    }
    assert red(shown) == {"N1": True, "N2": False, "N3": False}
    assert "= +3,888" in arithmetic(shown, "N1")
    backlog = {"opening_backlog_cases": 3_888, "opening_backlog_persons": 9_504}
    assert not red(report({"check.statistic": statistics((CITY, {**BRIEF, **backlog}), *by_kind)}))["N1"]
    assert red(report({"check.statistic": statistics((CITY, {**BRIEF, **backlog}), *by_kind[1:])}))["N1"]


def test_coverage_is_that_of_the_declared_population() -> None:
    population = {"definition": "全部", "is_declared_base": False}
    rows = [
        {**population, "population": "ALL_EVER", "entities": 1_930, "with_uscc": 240},
        {**population, "population": "COMMERCE_EVER", "entities": 1_860, "with_uscc": 240, "is_declared_base": True},
    ]
    shown = report({"base.uscc_coverage": rows})
    assert figures(shown) == {"uscc_coverage": "12.90"}
    assert red(shown) == {"N4": False}
    assert "240 / 1,930 = 12.44 % of ALL_EVER" in arithmetic(shown, "N4")


def verdict(code: str, period: str, answered: Sequence[str], missing: Sequence[str] = ()) -> dict[str, Any]:
    answers = [{"agency": agency} for agency in answered]
    return {"app_code": code, "period": period, "answers": answers, "missing": list(missing)}


def test_hours_are_kept_both_ways() -> None:
    everybody = list(agencies())
    rows = [
        verdict("1", "201609", everybody[:5], everybody[5:]),
        verdict("1", "201610", everybody),
        verdict("2", "201610", everybody),
        verdict("3", "201610", []),  # refused before anybody was asked
    ]
    shown = report({"quota.verdict": rows})
    assert figures(shown) == {"hours_by_visit": "4", "hours_by_request": "7"}
    assert red(shown) == {"N5": False, "N10": False, "N11": False}
    assert "14 requests went out; 2 applications × 7 departments = 14" in arithmetic(shown, "N5")
    assert "2 / 2 months = 1 a month" in arithmetic(shown, "N11")
    assert red(report({"quota.verdict": [verdict("1", "201610", everybody[:3])]})) == {
        "N5": True,
        "N10": True,
        "N11": False,
    }
    assert red(report({"quota.verdict": [verdict("1", "201106", everybody)]}))["N11"]


def test_warnings_are_red_unless_the_inboxes_hold_them() -> None:
    rules = [{"warnings": 9}, {"warnings": 5}]
    inboxes = [{"warning_count": 10}, {"warning_count": 3}, {"warning_count": 1}]
    shown = report({"tax.rule_precision": rules, "tax.inbox": inboxes})
    assert figures(shown) == {"warnings_per_taxpayer": "4.67"}
    assert red(shown) == {"N6": False}
    assert red(report({"tax.rule_precision": rules, "tax.inbox": inboxes[1:]})) == {"N6": True}
    assert red(report({"tax.rule_precision": [{"warnings": 0}], "tax.inbox": []})) == {}


@pytest.mark.parametrize(("received", "is_red"), [(20, False), (21, True)])
def test_rows_that_no_place_explains_are_red(received: int, is_red: bool) -> None:
    row = {"source_feed": "ALL", "received": received, "enterprise": 9, "person": 4, "institution": 1, "government": 1}
    shown = report({"credit.statistic": [{**row, "social_organisation": 1, "unmatched": 3, "pending": 1}]})
    assert red(shown) == {"N7": is_red}
    assert f"{received} gathered - 16 in 5 databases - 3 unmatched - 1 pending" in arithmetic(shown, "N7")


def entry(feed: str) -> FeedEntry:
    contract = city_contracts()[feed]
    return FeedEntry(contract=contract, version=1, key_schema_id=1, value_schema_id=2, partitions=1)


def test_a_second_name_in_the_catalogue_is_red() -> None:
    feeds = {feed: entry(feed) for feed in ("check.report", "civil.check_member", "civil.social_organisation")}
    shown = report({}, Directory(feeds=feeds))
    assert red(shown) == {"N8": False, "N9": False}
    agency = Agency(agency="x", name="广州市居民家庭收入核对中心", sources=())
    assert red(report({}, Directory(feeds=feeds, agencies={"x": agency}))) == {"N8": False, "N9": True}


def test_lists_count_configured_and_active() -> None:
    quality = {"answers": 5, "timeouts": 2, "errors": 1}
    rows = {
        "check.provider_quality": [{**quality, "source": "VEHICLE"}, {**quality, "source": "PENSION", "timeouts": 4}],
        "tax.evidence_source": [{"is_active": True}, {"is_active": False}],
        "registration.topic": [
            {"agency": "aic", "is_connected": True},
            {"agency": "aic", "is_connected": False},
            {"agency": "fda", "is_connected": False},
        ],
    }
    shown = report(rows)
    assert red(shown) == {"N10": True}
    assert arithmetic(shown, "N10") == "check 1 of 28; tax 1 of 2; registration 1 of 2"


def test_the_configured_start_is_the_briefs() -> None:
    brief = the_brief().numbers.quota
    assert brief is not None
    assert first_days()[0] == brief.starts[0] == date(2011, 7, 1)
