"""Flows through the broker, with the worker's own clock: deadlines come and boards are drawn up, in a city of 2016 and of today.

Nobody advances the clock here but rows that are committed, as in a running mesh.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any

import pytest

from ops.city.numbers import Numbers
from streams.flows import check, opendata
from streams.operators.flow import Flow
from tests.stage.broker_rehearsal import BrokerRehearsal
from tests.stage.rehearsal import days, micros
from tests.unit.streams.flows.test_check import CONTRACTS

NUMBERS, RNG = Numbers(), Random(5)
WORKED_DAY_2016 = datetime(2016, 10, 31, 1, 30, tzinfo=UTC)
COMMITTED = (datetime.now(UTC) - timedelta(days=1)).replace(hour=1, minute=30, second=0, microsecond=0)
SHARED = 22
"""Sources that the mesh carries; the other six answer themselves, here never."""
SLOWEST_DAYS = 15


@dataclass
class City:
    """A city whose own time is `today`. Where it lives in the past, its commits are of today all the same."""

    stage: BrokerRehearsal
    today: datetime
    is_replay: bool

    def pass_days(self, count: int) -> None:
        self.today += timedelta(days=count)

    def insert(self, feed: str, **columns: Any) -> None:
        self.stage.now = (COMMITTED if self.is_replay else self.today).isoformat()
        self.stage.insert(feed, **columns, updated_at=micros(self.today.isoformat()))

    def accept(self, case_no: str) -> None:
        """A household of one is accepted and has signed."""
        person = NUMBERS.citizen_id(RNG, date(1970, 5, 4), "1")
        day = days(self.today.date().isoformat())
        self.insert(
            "civil.check_case",
            case_no=case_no,
            kind="LIVING_ALLOWANCE",
            applicant_id=person,
            authorisation_id=f"{case_no}-1",
            status="ACCEPTED",
            district="440106",
            accepted_at=micros(self.today.isoformat()),
        )
        named = {"case_no": case_no, "citizen_id": person, "name": "陈大文"}
        self.insert("civil.check_member", **named, relation="SELF", is_supporter=False)
        self.insert(
            "civil.check_authorisation",
            authorisation_id=f"{case_no}-1",
            case_no=case_no,
            signer_id=person,
            scope=["VEHICLE", "PROPERTY", "INCOME", "INSURANCE", "TAX"],
            valid_from=day,
            valid_to=day + 180,
        )


@pytest.fixture(params=["2016", "today"])
def make(request: pytest.FixtureRequest, rehearsal: type[BrokerRehearsal]) -> Callable[[Flow], City]:
    is_replay = request.param == "2016"

    def make(flow: Flow) -> City:
        stage = rehearsal(flow, CONTRACTS, now=COMMITTED.isoformat(), is_replay=is_replay)
        return City(stage, WORKED_DAY_2016 if is_replay else COMMITTED, is_replay)

    return make


def test_a_case_is_asked_answered_for_timed_out_and_reported_in_its_own_time(make: Callable[[Flow], City]) -> None:
    city = make(check.FLOW)
    began = micros(city.today.isoformat())
    city.accept("HD1")
    city.stage.idle()
    requests = list(city.stage.rows("check.request").values())
    assert len(requests) == 28
    assert {row["asked_at"] for row in requests} == {began}

    city.pass_days(1)  # somebody else's papers are enough for time to pass
    city.accept("HD2")
    city.stage.idle()
    answers = [row for row in city.stage.rows("check.answer").values() if row["case_no"] == "HD1"]
    assert [row["outcome"] for row in answers] == ["NO_RECORD"] * SHARED
    assert not city.stage.rows("check.report")

    city.pass_days(45)  # past the slowest source's fifteen working days, whatever holidays there are
    city.accept("HD3")
    city.stage.idle()
    [report] = (row for row in city.stage.rows("check.report").values() if row["case_no"] == "HD1")
    due_at = max(row["due_at"] for row in requests)
    assert report["issued_at"] == due_at <= micros(city.today.isoformat())
    assert due_at >= began + SLOWEST_DAYS * 86_400_000_000
    assert sum(line["outcome"] == "TIMEOUT" for line in report["sources"]) == 28 - SHARED
    silent = [item for item in city.stage.queue() if item["kind"] == "SOURCE_SILENT"]
    assert {item["subject_keys"][0] for item in silent} == {"case:HD1", "case:HD2"}
    assert all(began <= item["opened_at"] <= micros(city.today.isoformat()) for item in city.stage.queue())


def test_boards_are_drawn_up_while_a_worker_is_hours_behind(make: Callable[[Flow], City]) -> None:
    city = make(opendata.FLOW)
    place = {"lon": 113.2644, "lat": 23.1291}
    for number in range(40):
        firm = {
            "ent_id": f"E{number}",
            "uscc": f"U{number}",
            "name": f"企业{number}",
            "kind": "ENTERPRISE",
            "industry": "F",
        }
        city.insert("aic.enterprise", **firm, **place, reg_region="440106", status="ACTIVE")
        city.today += timedelta(minutes=1)
        if number % 10 == 9:
            city.stage.idle("aic.enterprise")
    shown = [row for row in city.stage.rows("open.dataset").values() if row["dataset"] == "enterprise"]
    assert len(shown) >= 30, "rows are published"
    board = city.stage.rows("open.profile")["enterprise|*"]
    assert board["rows"] >= 20, "and counted, a look later"
    began = micros((WORKED_DAY_2016 if city.is_replay else COMMITTED).isoformat())
    assert began <= board["last_change"] <= micros(city.today.isoformat())
    assert city.stage.rows("open.heat")["enterprise|REGION|440106"]["points"] >= 20
