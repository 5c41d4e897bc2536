from __future__ import annotations

import itertools
from datetime import date
from random import Random
from typing import Any

import pytest

from ops.city.numbers import Numbers, fifteen_digits
from schemas.change import Change
from streams.flows.housing import FLOW
from streams.operators.flow import Row
from tests.stage.rehearsal import Rehearsal, cents, city_contracts, days, interleavings, micros

NUMBERS = Numbers()
RNG = Random(11)
CONTRACTS = city_contracts()
APPLICANT = NUMBERS.citizen_id(RNG, date(1975, 5, 4), "1")
SPOUSE = NUMBERS.citizen_id(RNG, date(1977, 3, 1), "2")
STRANGER = NUMBERS.citizen_id(RNG, date(1960, 1, 9), "2")
NAMES = {APPLICANT: "陈大文", SPOUSE: "李小兰", STRANGER: "黄志强"}
START, SETTLED, OVERDUE = "2016-10-10T09:00:00+08:00", "2016-10-10T10:00:00+08:00", "2016-11-10"
APP = "XJF2016000001"
SEED = 20161010


class City:
    """A rehearsal with an application of a household of two."""

    def __init__(self, submitted: str = START) -> None:
        self.submitted = submitted
        self.rehearsal = Rehearsal(FLOW, CONTRACTS, now=submitted)
        self.tick(submitted)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rehearsal, name)

    def apply(self, **columns: Any) -> Change:
        row = {"applicant_id": APPLICANT, "name": NAMES[APPLICANT], "region": "440106", "status": "SUBMITTED"}
        columns = {"app_no": APP, "submitted_at": micros(self.submitted), **row, **columns}
        return self.insert("construction.housing_application", **columns)

    def member(self, citizen_id: str = SPOUSE, **columns: Any) -> Change:
        row = {"name": NAMES.get(citizen_id, ""), "relation": "SPOUSE", **columns}
        return self.insert("construction.housing_member", app_no=APP, citizen_id=citizen_id, **row)

    def hukou(self, citizen_id: str = APPLICANT, **columns: Any) -> Change:
        row = {"name": NAMES[citizen_id], "hukou_region": "440106", "status": "REGISTERED"}
        return self.insert("police.resident", citizen_id=citizen_id, **(row | columns))

    def insured(self, months: int, citizen_id: str = APPLICANT) -> list[Change]:
        periods = [f"{2015 + month // 12}{month % 12 + 1:02}" for month in range(months)]
        row = {"citizen_id": citizen_id, "insurance_kind": "PENSION", "paid": True}
        return [self.insert("hrss.insurance_month", period=period, **row) for period in periods]

    def married(self, **columns: Any) -> Change:
        row = {"male_id": APPLICANT, "male_name": NAMES[APPLICANT], "female_id": SPOUSE, "female_name": NAMES[SPOUSE]}
        row |= {"marriage_no": "J1", "kind": "MARRIAGE", "registered_date": days("2001-05-01")}
        return self.insert("civil.marriage", **(row | columns))

    def home(self, owner_id: str | None, **columns: Any) -> Change:
        row = {"owner_id_type": "CITIZEN_ID", "owner_id": owner_id, "owner_name": NAMES.get(owner_id or "", "陈大文")}
        row |= {"unit_no": "U1", "usage": "RESIDENTIAL", "status": "REGISTERED", "acquired_date": days("2010-01-01")}
        return self.insert("land.property", **(row | columns))

    def sold(self, price: str, signed: str, contract_no: str = "S1") -> Change:
        row = {"seller_id": SPOUSE, "buyer_id": STRANGER, "price": cents(price), "signed_date": days(signed)}
        return self.insert("land.property_sale", contract_no=contract_no, **row)

    def in_order(self) -> list[Change]:
        """A household of whom everything is as it should be."""
        return [self.apply(), self.member(), self.hukou(), *self.insured(12), self.married()]

    def verdict(self) -> Row:
        return self.rows("housing.verdict")[APP]

    def said(self) -> tuple[str, list[str]]:
        return self.verdict()["verdict"], self.verdict()["reasons"]

    def kinds(self) -> list[str]:
        return [item["kind"] for item in self.queue()]


@pytest.fixture
def city() -> City:
    return City()


def test_a_household_in_order_is_eligible_once_the_registers_had_time(city: City) -> None:
    city.in_order()
    assert city.said()[0] == "PENDING", "the registers may still be on their way"
    city.tick(SETTLED)
    assert city.said() == ("ELIGIBLE", [])
    assert city.verdict()["rule_pack"] == "gz-2014"
    assert city.queue() == []
    city.check_rows()


@pytest.mark.parametrize("owner", [APPLICANT, SPOUSE, fifteen_digits(APPLICANT)], ids=["own", "spouse's", "15 digits"])
def test_a_home_of_any_member_is_a_reason(city: City, owner: str) -> None:
    city.in_order()
    city.home(owner)
    city.tick(SETTLED)
    assert city.said() == ("NOT_ELIGIBLE", ["OWNS_HOME"])


def test_shops_cancelled_titles_and_homes_of_others_are_none(city: City) -> None:
    city.in_order()
    city.home(APPLICANT, unit_no="U2", usage="COMMERCIAL")
    city.home(APPLICANT, unit_no="U3", status="CANCELLED")
    city.home(STRANGER, unit_no="U4")
    city.tick(SETTLED)
    assert city.said() == ("ELIGIBLE", [])


def test_every_failing_condition_is_named(city: City) -> None:
    city.apply()
    city.insured(11)
    city.home(APPLICANT)
    city.tick(SETTLED)
    assert city.said() == ("NOT_ELIGIBLE", ["INSURED_TOO_SHORT", "NO_HUKOU_IN_CITY", "OWNS_HOME"])
    city.check_rows()


def test_homes_sold_within_five_years_count_together_against_the_price_limit(city: City) -> None:
    city.in_order()
    city.sold("2000000.00", "2011-10-01", "S0")
    city.sold("500000.00", "2015-01-01", "S1")
    city.sold("400000.00", "2016-01-01", "S2")
    city.tick(SETTLED)
    assert city.said() == ("ELIGIBLE", [])
    city.sold("0.01", "2016-02-01", "S3")
    assert city.said() == ("NOT_ELIGIBLE", ["SOLD_HOME_ABOVE_LIMIT"])


def test_the_limits_of_the_day_of_the_application_count() -> None:
    city = City("2013-12-31T09:00:00+08:00")
    city.apply()
    city.hukou()
    city.sold("600000.01", "2013-01-01")
    city.tick("2014-06-01")
    assert (city.said(), city.verdict()["rule_pack"]) == (("ELIGIBLE", []), "gz-2008"), "the spouse is no member"
    city.member()
    assert city.said() == ("NOT_ELIGIBLE", ["SOLD_HOME_ABOVE_LIMIT"])


def test_another_name_under_the_number_is_for_a_person_and_never_a_refusal(city: City) -> None:
    city.in_order()
    city.home(APPLICANT, owner_name="欧阳无关")
    city.tick(SETTLED)
    assert city.said() == ("MANUAL_REVIEW", ["OWNS_HOME"])
    assert city.kinds() == ["CONDITION_UNCERTAIN"]
    city.update("land.property", {"unit_no": "U1"}, owner_name=NAMES[APPLICANT])
    assert city.said() == ("NOT_ELIGIBLE", ["OWNS_HOME"])
    assert city.queue() == []


def test_a_home_without_a_number_under_the_same_name_is_for_a_person(city: City) -> None:
    city.in_order()
    city.home("440", owner_name=NAMES[SPOUSE])
    city.tick(SETTLED)
    assert city.said() == ("MANUAL_REVIEW", ["OWNS_HOME"])


@pytest.mark.parametrize(
    ("feed", "reason"), [("land.property", "OWNS_HOME"), ("civil.marriage", "HOUSEHOLD_INCOMPLETE")]
)
def test_a_register_that_nobody_connected_is_pending_and_escalates(city: City, feed: str, reason: str) -> None:
    city.folding.feeds = frozenset(CONTRACTS) - {feed}
    city.in_order()
    city.tick(SETTLED)
    assert city.said() == ("PENDING", [reason])
    assert city.queue() == []
    city.tick(OVERDUE)
    assert city.said() == ("PENDING", [reason]), "silence is never an answer"
    silent = f"{feed.partition('.')[0]} has not answered round 1"
    assert [(item["kind"], item["detail"]) for item in city.queue()] == [("ANSWER_OVERDUE", silent)]


def test_an_old_application_that_is_heard_of_late_is_not_judged_before_the_registers_had_time(city: City) -> None:
    city.tick(OVERDUE)
    city.apply()
    assert (city.said()[0], city.queue()) == ("PENDING", [])
    city.hukou()
    city.insured(12)
    city.tick("2016-11-11")
    assert city.said() == ("ELIGIBLE", [])


def test_a_spouse_who_is_not_named_is_asked_for(city: City) -> None:
    city.apply()
    city.hukou()
    city.insured(12)
    city.married()
    city.tick(SETTLED)
    assert city.said() == ("MANUAL_REVIEW", ["HOUSEHOLD_INCOMPLETE"])
    city.married(marriage_no="J2", kind="DIVORCE", registered_date=days("2009-01-01"))
    assert city.said() == ("ELIGIBLE", [])


def test_whoever_has_no_valid_number_cannot_be_judged(city: City) -> None:
    city.in_order()
    city.member("44019919770301000X", name="李小弟")
    city.tick(SETTLED)
    assert city.said() == ("MANUAL_REVIEW", ["HOUSEHOLD_INCOMPLETE"])
    stranger = City()
    stranger.apply(applicant_id="440199")
    stranger.tick(OVERDUE)
    assert stranger.said()[0] == "MANUAL_REVIEW"
    assert set(stranger.kinds()) == {"CONDITION_UNCERTAIN"}


def test_evidence_that_comes_or_goes_later_changes_the_verdict_until_the_office_decided(city: City) -> None:
    city.in_order()
    city.tick(SETTLED)
    city.home(SPOUSE)
    assert city.said()[0] == "NOT_ELIGIBLE"
    city.delete("land.property", {"unit_no": "U1"})
    assert city.said() == ("ELIGIBLE", [])
    key = {"app_no": APP}
    city.update("construction.housing_application", key, status="APPROVED", status_date=days("2016-10-20"))
    city.home(SPOUSE)
    assert city.said() == ("ELIGIBLE", []), "what was decided by stays"


def test_a_withdrawn_application_has_no_verdict_and_asks_nobody(city: City) -> None:
    city.in_order()
    city.tick(SETTLED)
    key = {"app_no": APP}
    city.update("construction.housing_application", key, status="WITHDRAWN", status_date=days("2016-10-20"))
    assert city.rows("housing.verdict") == {}
    assert city.changes_of("housing.verdict")[-1].reason == "APPLICATION_WITHDRAWN"
    city.home(SPOUSE)
    assert city.rows("housing.verdict") == {}


def test_an_application_that_its_source_deletes_has_no_verdict(city: City) -> None:
    city.in_order()
    city.tick(SETTLED)
    city.delete("construction.housing_application", {"app_no": APP})
    assert city.rows("housing.verdict") == {}
    assert city.changes_of("housing.verdict")[-1].reason == "SOURCE_DELETED"


def test_members_without_an_application_wait_for_a_person_after_a_day(city: City) -> None:
    city.member()
    city.tick(SETTLED)
    assert city.queue() == []
    city.tick("2016-10-12")
    assert city.kinds() == ["CASE_UNKNOWN"]
    city.apply()
    assert city.queue() == []


def test_an_application_without_a_number_is_named(city: City) -> None:
    city.apply(app_no="")
    assert city.kinds() == ["APP_NO_MISSING"]


def test_any_interleaving_of_the_feeds_ends_in_the_same_verdict() -> None:
    city = City()
    changes = [*city.in_order(), city.home(SPOUSE), city.sold("950000.00", "2016-01-01")]
    changes.append(city.update("land.property", {"unit_no": "U1"}, status="CANCELLED"))
    feeds = [
        list(group) for _, group in itertools.groupby(sorted(changes, key=lambda one: one.feed), lambda one: one.feed)
    ]
    city.tick(SETTLED)
    assert city.said() == ("NOT_ELIGIBLE", ["SOLD_HOME_ABOVE_LIMIT"])
    for order in interleavings(feeds, SEED, 20):
        other = City()
        other.take(order)
        other.tick(SETTLED)
        assert other.verdict() == city.verdict(), SEED
