"""The opening day of a small example city, through the flows in memory: its figures can be computed, and its own rules hold."""

from __future__ import annotations

from typing import Any

from ops.city.chance import OPENED_AT
from ops.city.city import City
from ops.city.opening_day import settle
from ops.figures.brief import the_brief
from ops.figures.disagreements import findings
from ops.figures.figure import values
from ops.figures.observed import FEEDS, observe
from schemas.agreement.directory import Directory
from streams.flows import FLOWS
from tests.stage.rehearsal import Rehearsal, city_contracts
from tests.unit.ops.test_city_in_flows import MINUTE, raw

SHOWN = {"check", "organisation", "quota", "tax", "credit", "registration"}


def test_the_city_adds_up() -> None:
    city, contracts = City(5, scale=1 / 5000), city_contracts()
    settle(city)
    rows: dict[str, list[Any]] = {}
    for flow in (flow for flow in FLOWS if flow.name in SHOWN):
        stage = Rehearsal(flow, contracts, now=OPENED_AT.isoformat())
        messages = []
        for feed, roll in city.rolls.items():
            for row in roll if feed in stage.intake.feeds else ():
                columns = {field.name: raw(field, row[field.name]) for field in contracts[feed].fields}
                messages += stage.intake.messages(stage.change(feed, None, columns), contracts[feed])
        stage.deliver(messages)
        for minutes in (0, 1, 20, 21):
            stage.tick(stage.intake.clock + minutes * MINUTE)
        rows |= {feed: list(stage.rows(feed).values()) for feed in flow.outputs if feed in FEEDS}
    brief = the_brief()
    here = observe(
        rows, Directory(), window=brief.window, hours_per_visit=brief.hours_per_visit, terms=brief.numbers.terms
    )
    found = values(here, brief.numbers)
    assert found.keys() >= {"detection_by_case", "uscc_coverage", "warnings_per_taxpayer", "hours_by_visit"}
    red = {rule.code: finding.is_red for rule, finding in findings(here) if finding is not None}
    assert {code for code in ("N1", "N2", "N3", "N4", "N5", "N6", "N7", "N11") if red[code]} == set(), findings(here)
    assert abs(float(found["uscc_coverage"].value) - 12.9) < 1.5
    assert here.lists.keys() == {"quota", "tax", "registration"}, "nobody has a report on the first day"
