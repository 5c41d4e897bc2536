from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from random import Random
from typing import Any

import pytest

from ops.city.numbers import Numbers, fifteen_digits
from schemas import decision
from schemas.change import Change
from schemas.contract import Contract
from streams.engine.inbox.intake import Outgoing
from streams.engine.inbox.message import COUNT, message_key, pack
from streams.flows.check import FLOW
from streams.flows.check.sources import SOURCES
from streams.flows.inquiry.sources import ANSWER
from streams.operators.flow import Row
from tests.stage.rehearsal import Rehearsal, cents, city_contracts, days, interleavings, micros

NUMBERS = Numbers()
RNG = Random(7)
CONTRACTS = city_contracts()
HEAD = NUMBERS.citizen_id(RNG, date(1970, 5, 4), "1")
WIFE = NUMBERS.citizen_id(RNG, date(1972, 3, 1), "2")
CHILD = NUMBERS.citizen_id(RNG, date(2008, 7, 9), "1")
STRANGER = NUMBERS.citizen_id(RNG, date(1970, 5, 4), "1")
NAMES = {HEAD: "陈大文", WIFE: "李小兰", CHILD: "陈小文", STRANGER: "黄志强"}
SCOPES = ["VEHICLE", "PROPERTY", "INCOME", "INSURANCE", "TAX"]
START, SETTLED, OVERDUE = "2016-10-10T09:00:00+08:00", "2016-10-10T10:00:00+08:00", "2016-11-10"
CASE = "HD2016000001"
OUTSIDE = [source for source in SOURCES.at(micros(START)) if source.channel == ANSWER]


for _agency in {
    feed.partition(".")[0] for feed in SOURCES.answer_feeds()
}:  # whoever may answer, answers in the same form
    _feed = f"{_agency}.check_answer"
    CONTRACTS.setdefault(_feed, Contract.parse(CONTRACTS["construction.check_answer"].record, _feed))


class City:
    """A rehearsal with a household's papers."""

    def __init__(self) -> None:
        self.rehearsal = Rehearsal(FLOW, CONTRACTS, now=START)
        self.tick(START)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rehearsal, name)

    def at(self, moment: str) -> None:
        """The time of the next commits."""
        self.rehearsal.now = moment

    def case(self, case_no: str = CASE, kind: str = "LIVING_ALLOWANCE", **columns: Any) -> None:
        row = {"status": "ACCEPTED", "district": "440106", "accepted_at": micros(START), **columns}
        self.insert(
            "civil.check_case", case_no=case_no, kind=kind, applicant_id=HEAD, authorisation_id=f"{case_no}-1", **row
        )

    def member(self, citizen_id: str, case_no: str = CASE, name: str | None = None) -> None:
        name = NAMES[citizen_id] if name is None else name
        self.insert(
            "civil.check_member",
            case_no=case_no,
            citizen_id=citizen_id,
            name=name,
            relation="OTHER",
            is_supporter=False,
        )

    def sign(self, citizen_id: str, case_no: str = CASE, **columns: Any) -> None:
        row = {"scope": SCOPES, "valid_from": days("2016-10-10"), "valid_to": days("2017-10-09"), **columns}
        self.insert(
            "civil.check_authorisation",
            authorisation_id=f"{case_no}-{citizen_id}",
            case_no=case_no,
            signer_id=citizen_id,
            **row,
        )

    def household(self, *citizen_ids: str, case_no: str = CASE, **columns: Any) -> None:
        self.case(case_no, **columns)
        for citizen_id in citizen_ids:
            self.member(citizen_id, case_no)
            if citizen_id != CHILD:
                self.sign(citizen_id, case_no)

    def vehicle(self, owner_id: str | None = HEAD, vin: str = "LGZ1", **columns: Any) -> None:
        row = {
            "owner_name": NAMES.get(owner_id or "", "陈大文"),
            "status": "NORMAL",
            "vehicle_class": "小型轿车",
            **columns,
        }
        self.insert(
            "police.vehicle",
            vin=vin,
            plate_no="粤A00000",
            owner_id_type="CITIZEN_ID",
            owner_id=owner_id,
            use_type="PRIVATE",
            first_registered=days("2015-06-01"),
            **row,
        )

    def answer(self, citizen_id: str, source: str, outcome: str = "NO_RECORD", count: int = 0, **columns: Any) -> None:
        agency = next(entry.agency for entry in OUTSIDE if entry.code == source)
        feed = f"{agency}.check_answer"
        key = {"case_no": CASE, "citizen_id": citizen_id, "source": source}
        row = {"outcome": outcome, "record_count": count, "answered_at": micros(self.now), **columns}
        self.insert(feed, **key, **row)

    def all_answer(self, *citizen_ids: str) -> None:
        for citizen_id in citizen_ids:
            for source in OUTSIDE:
                self.answer(citizen_id, source.code)

    def reports(self) -> dict[int, Row]:
        return {row["version"]: row for row in self.rows("check.report").values()}

    def kinds(self) -> list[str]:
        return sorted(item["kind"] for item in self.queue())

    def cell(self, citizen_id: str, source: str) -> Row:
        return self.rows("check.answer")[f"{CASE}|{citizen_id}|{source}"]

    def line(self, source: str, version: int = 1) -> Row:
        return next(line for line in self.reports()[version]["sources"] if line["source"] == source)


def in_memory_only(reason: str) -> Callable[[Any], Any]:
    """A check that a broker would add nothing to, and why (tests/broker/test_flow_checks.py)."""

    def mark(check: Any) -> Any:
        check.in_memory_only = reason
        return check

    return mark


@pytest.fixture
def city() -> Iterator[City]:
    city = City()
    yield city
    city.check_rows()


def reported(city: City, *citizen_ids: str) -> Row:
    """A household whose every source has spoken; its first report."""
    city.household(*citizen_ids)
    city.all_answer(*citizen_ids)
    city.tick(SETTLED)
    return city.reports()[1]


# ── G1 ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_g1_no_request_leaves_before_every_adult_has_signed(city: City) -> None:
    city.vehicle()
    city.case()
    for citizen_id in (HEAD, WIFE, CHILD):
        city.member(citizen_id)
    city.sign(HEAD)
    city.tick(SETTLED)
    assert not city.rows("check.request")
    assert not city.rows("check.answer")
    city.sign(WIFE)
    requests = city.rows("check.request").values()
    assert len(requests) == 3 * 28, "the child is asked about with the others, and signs nothing"
    assert {len(row["authorisations"]) for row in requests} == {2}


def test_g1_a_member_who_refuses_waits_for_a_person_after_five_working_days(city: City) -> None:
    city.case()
    city.member(HEAD)
    city.tick("2016-10-17")
    assert not city.queue()
    city.tick("2016-10-18")
    assert city.kinds() == ["AUTHORISATION_MISSING"]
    city.at("2016-10-18")
    city.sign(HEAD)
    assert not city.queue()


def test_g1_an_authorisation_that_ends_stops_what_is_outstanding(city: City) -> None:
    city.household(HEAD, WIFE)
    city.update("civil.check_authorisation", {"authorisation_id": f"{CASE}-{WIFE}"}, valid_to=days("2016-10-12"))
    city.tick("2016-10-12T23:59:00+08:00")
    assert len(city.rows("check.request")) == 2 * 28
    assert city.rows("check.answer")
    city.tick("2016-10-13")
    assert not city.rows("check.request")
    assert not city.rows("check.answer")
    assert {change.reason for change in city.changes_of("check.request") if change.after is None} == {
        "AUTHORISATION_ENDED"
    }
    assert city.kinds() == ["AUTHORISATION_ENDED"]


def test_g1_a_withdrawal_takes_back_requests_answers_and_what_persons_told(city: City) -> None:
    city.vehicle()
    city.household(HEAD)
    city.tick(SETTLED)
    assert city.cell(HEAD, "VEHICLE")["outcome"] == "RECORDS"
    city.update("civil.check_authorisation", {"authorisation_id": f"{CASE}-{HEAD}"}, revoked_at=micros("2016-10-11"))
    assert not city.rows("check.request")
    assert not city.rows("check.answer")
    assert not city.reports()


def test_after_a_withdrawal_nothing_of_the_person_is_left_with_the_case(city: City) -> None:
    city.vehicle()
    city.household(HEAD)
    city.tick(SETTLED)

    def told() -> list[bytes]:
        return [key for key, value in city.store.entries().items() if b"~evidence" in key and b"LGZ1" in value]

    assert told()
    city.delete("civil.check_authorisation", {"authorisation_id": f"{CASE}-{HEAD}"})
    assert not told()


def test_g1_a_child_that_comes_of_age_signs_for_itself(city: City) -> None:
    young = NUMBERS.citizen_id(RNG, date(1998, 10, 20), "1")
    city.household(HEAD)
    city.member(young, name="陈年轻")
    city.tick("2016-10-19")
    assert len(city.rows("check.request")) == 2 * 28
    city.tick("2016-10-20")
    assert not city.rows("check.request")


def test_g1_what_one_adult_did_not_authorise_is_asked_about_nobody(city: City) -> None:
    city.case()
    for citizen_id in (HEAD, WIFE):
        city.member(citizen_id)
    city.sign(HEAD)
    city.sign(WIFE, scope=["PROPERTY", "INCOME", "INSURANCE", "TAX"])
    sources = {row["source"] for row in city.rows("check.request").values()}
    assert "VEHICLE" not in sources
    assert len(sources) == 27
    city.all_answer(HEAD, WIFE)
    city.tick(SETTLED)
    line = city.line("VEHICLE")
    assert (line["outcome"], line["reason"]) == ("NOT_ASKED", "NOT_AUTHORISED")
    assert city.reports()[1]["finding"] == "MANUAL_REVIEW"


def test_g1_an_unidentified_member_stops_the_case(city: City) -> None:
    city.household(HEAD)
    city.member("440199197005040019", name="陈大文")
    assert not city.rows("check.request")
    assert city.kinds() == ["MEMBER_UNIDENTIFIED"]


# ── G2 ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_g2_the_report_prints_all_28_sources_and_silence_is_never_zero_income(city: City) -> None:
    city.vehicle()
    city.vehicle(owner_id=None, vin="LGZ2", owner_name=NAMES[HEAD])
    city.insert(
        "land.property", unit_no="U1", cert_no="C", owner_id_type="CITIZEN_ID", owner_id="0", owner_name=NAMES[HEAD],
        share=b"\x27\x10", usage="RESIDENTIAL", area_m2=cents("60.00"), region="440106", crs="CGCS2000",
        acquired_date=days("2001-01-01"), status="REGISTERED",
    )  # fmt: skip
    city.insert(
        "hrss.pension_payment", citizen_id=HEAD, period="201609", amount=cents("1500.00"), status="PAID",
        paid_at=micros("2016-09-15"),
    )  # fmt: skip
    city.household(HEAD)
    city.answer(HEAD, "PUBLIC_HOUSING")
    city.answer(HEAD, "HOUSING_LOAN", "ERROR")
    city.answer(HEAD, "BANK_DEPOSIT", "RECORDS", 1, match_tier="P0", amount=cents("100.00"))
    city.tick(SETTLED)
    assert not city.reports(), "three agencies are still asked"
    city.tick(OVERDUE)
    report = city.reports()[1]
    lines = {line["source"]: line["outcome"] for line in report["sources"]}
    assert len(lines) == len(report["sources"]) == 28
    assert set(lines.values()) == {"RECORDS", "NO_RECORD", "TIMEOUT", "ERROR", "AMBIGUOUS"}
    assert lines["VEHICLE"] == "RECORDS"
    assert lines["PROPERTY"] == "AMBIGUOUS"
    assert lines["SECURITIES"] == "TIMEOUT"
    assert lines["HOUSING_LOAN"] == "ERROR"
    assert lines["COURT"] == "NO_RECORD"
    assert report["monthly_income"] == cents("1500.00")
    assert "TIMEOUT" in report["review_reasons"]
    assert city.kinds().count("SOURCE_SILENT") == 3


def test_g2_an_officer_may_take_a_silent_source_for_one_without_a_record(city: City) -> None:
    city.household(HEAD)
    for source in OUTSIDE:
        if source.code != "SECURITIES":
            city.answer(HEAD, source.code)
    city.tick(OVERDUE)
    assert city.line("SECURITIES")["outcome"] == "TIMEOUT"
    (item,) = [row for row in city.queue() if row["kind"] == "SOURCE_SILENT"]
    city.decide(item["conflict_id"], decision.ANSWER, verdict="NO_RECORD")
    assert (city.line("SECURITIES", 2)["outcome"], city.line("SECURITIES", 1)["outcome"]) == ("NO_RECORD", "TIMEOUT")
    assert [row["state"] for row in city.queue() if row["kind"] == "SOURCE_SILENT"] == ["RESOLVED"]
    city.decide(item["conflict_id"], decision.UNDO)
    assert city.line("SECURITIES", 3)["outcome"] == "TIMEOUT", (
        "a report stays as it was issued; its successor says otherwise"
    )


def test_g2_income_is_unknown_while_a_source_of_it_is_silent(city: City) -> None:
    """The register of pensions failed: its rows prove nothing, and no zero is printed."""
    city.household(HEAD)
    city.all_answer(HEAD)
    city.insert(
        "hrss.check_answer", case_no=CASE, citizen_id=HEAD, source="PENSION", outcome="ERROR", record_count=0,
        answered_at=micros(START),
    )  # fmt: skip
    city.tick(SETTLED)
    report = city.reports()[1]
    assert report["monthly_income"] is None
    assert not report["is_income_complete"]
    assert report["finding"] == "MANUAL_REVIEW"
    assert city.line("PENSION")["outcome"] == "ERROR"


@in_memory_only("the broker's rehearsal onboards every feed")
def test_g2_a_register_that_nobody_connected_is_silent_and_not_empty(city: City) -> None:
    city.folding.feeds = frozenset(CONTRACTS) - {"land.property"}
    city.household(HEAD)
    city.all_answer(HEAD)
    city.tick(SETTLED)
    assert not city.reports()
    city.tick("2016-10-14")
    assert {line["source"] for line in city.reports()[1]["sources"] if line["outcome"] == "TIMEOUT"} == {"PROPERTY"}
    assert city.reports()[1]["finding"] == "MANUAL_REVIEW"


def test_g2_no_record_is_said_only_after_the_registers_had_time(city: City) -> None:
    city.household(HEAD)
    city.tick("2016-10-10T09:09:59+08:00")
    assert not city.rows("check.answer")
    city.tick("2016-10-10T09:10:00+08:00")
    assert {row["outcome"] for row in city.rows("check.answer").values()} == {"NO_RECORD"}
    assert len(city.rows("check.answer")) == 22


def test_g2_every_shared_source_has_a_contract_with_its_columns() -> None:
    assert len(SOURCES.at(micros(START))) == 28
    for feed, sources in SOURCES.feeds().items():
        for source in sources:
            assert source.columns <= CONTRACTS[feed].by_name.keys(), source.code


def test_g2_answers_that_nobody_asked_for_are_named_and_never_counted(city: City) -> None:
    city.case()
    city.member(HEAD)
    city.answer(HEAD, "BANK_DEPOSIT", "RECORDS", 1, match_tier="P0")
    assert city.kinds() == ["ANSWER_UNASKED"]
    assert [row["reason"] for row in city.rows("check.refusal").values()] == ["ANSWER_UNASKED"], "its sender is told"
    city.sign(HEAD)
    assert not city.queue(), "now it is asked"
    assert not city.rows("check.refusal")
    city.answer(STRANGER, "BANK_DEPOSIT", "RECORDS", 1, match_tier="P0")
    city.answer(HEAD, "SECURITIES", "SOMETHING", 1)
    city.tick(SETTLED)
    assert city.kinds() == ["ANSWER_NOT_UNDERSTOOD", "ANSWER_UNASKED"]
    told = {(row["agency"], row["citizen_id"], row["reason"]) for row in city.rows("check.refusal").values()}
    assert told == {("boc", STRANGER, "ANSWER_UNASKED"), ("securities", HEAD, "ANSWER_NOT_UNDERSTOOD")}
    assert city.cell(HEAD, "SECURITIES")["outcome"] == "ERROR"


# ── G3 ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("tier", ["P3", "P4", "P5", "P6", None])
def test_g3_an_uncertain_answer_is_for_a_person_and_never_a_refusal(city: City, tier: str | None) -> None:
    city.household(HEAD)
    for source in OUTSIDE:
        if source.code != "BANK_DEPOSIT":
            city.answer(HEAD, source.code)
    city.answer(HEAD, "BANK_DEPOSIT", "RECORDS", 1, match_tier=tier, amount=cents("9000000.00"))
    city.tick(SETTLED)
    report = city.reports()[1]
    assert report["finding"] == "MANUAL_REVIEW"
    assert not report["discrepancies"]
    assert city.cell(HEAD, "BANK_DEPOSIT")["outcome"] == "AMBIGUOUS"


def test_g3_a_car_by_name_only_is_counted_but_not_shown(city: City) -> None:
    city.vehicle(owner_id="", vin="LGZ2", owner_name="陳 大文")
    report = reported(city, HEAD)
    assert report["finding"] == "MANUAL_REVIEW", "a limit of no car is not exceeded by somebody's car"
    answer = city.cell(HEAD, "VEHICLE")
    assert (answer["outcome"], answer["record_count"], answer["uncertain_count"]) == ("AMBIGUOUS", 0, 1)
    assert answer["match_tier"] == "P6"
    assert city.kinds() == ["MATCH_UNCERTAIN"]
    assert "LGZ2" not in repr(report)


def test_g3_one_number_with_an_unrelated_name_is_a_conflict(city: City) -> None:
    city.vehicle(owner_name="欧阳不同")
    report = reported(city, HEAD)
    assert (city.cell(HEAD, "VEHICLE")["outcome"], city.cell(HEAD, "VEHICLE")["match_tier"]) == ("AMBIGUOUS", "P3")
    assert report["review_reasons"] == ["MATCH_CONFLICT"]
    assert city.kinds() == ["MATCH_CONFLICT"]


def test_g3_former_names_and_fifteen_digits_are_the_person(city: City) -> None:
    city.insert(
        "police.resident", citizen_id=HEAD, name=NAMES[HEAD], former_name="陈二狗", status="REGISTERED",
        birth_date=days("1970-05-04"),
    )  # fmt: skip
    city.vehicle(vin="LGZ1", owner_name="陈二狗")
    city.insert(
        "housing_fund.account", account_no="A1", citizen_id=fifteen_digits(HEAD), name=NAMES[HEAD],
        balance=cents("10.00"), monthly_amount=cents("1.00"), status="NORMAL",
    )  # fmt: skip
    reported(city, HEAD)
    assert city.cell(HEAD, "VEHICLE")["match_tier"] == "P2"
    assert city.cell(HEAD, "HOUSING_FUND")["match_tier"] == "P1"


def test_g3_a_member_whose_name_is_not_the_registers_is_looked_at(city: City) -> None:
    city.insert(
        "police.resident", citizen_id=HEAD, name="欧阳不同", status="REGISTERED", birth_date=days("1970-05-04"),
    )  # fmt: skip
    report = reported(city, HEAD)
    assert (city.cell(HEAD, "HOUSEHOLD")["outcome"], city.cell(HEAD, "HOUSEHOLD")["match_tier"]) == ("AMBIGUOUS", "P3")
    assert report["finding"] == "MANUAL_REVIEW"


def test_g3_a_death_certificate_without_a_number_is_a_candidate_by_the_day_of_birth(city: City) -> None:
    certificate = {"name": NAMES[HEAD], "sex": "1", "died_at": micros("2016-01-01"), "place": "家"}
    city.insert("health.death_certificate", cert_no="D1", birth_date=days("1970-05-04"), **certificate)
    city.insert("health.death_certificate", cert_no="D2", birth_date=days("1940-01-01"), **certificate)
    reported(city, HEAD)
    answer = city.cell(HEAD, "DEATH")
    assert (answer["outcome"], answer["uncertain_count"], answer["match_tier"]) == ("AMBIGUOUS", 1, "P5")


def test_g3_assets_under_a_corrected_number_are_found(city: City) -> None:
    wrong = NUMBERS.citizen_id(RNG, date(1970, 5, 5), "1")
    city.vehicle(owner_id=wrong, owner_name=NAMES[HEAD])
    reported(city, HEAD)
    assert city.cell(HEAD, "VEHICLE")["outcome"] == "NO_RECORD"
    change = {"old_id": wrong, "new_id": HEAD, "effective_date": days("2016-10-11")}
    city.insert("police.id_change", seq=1, reason="WRONG_NUMBER", **change)
    assert city.cell(HEAD, "VEHICLE")["outcome"] == "RECORDS"
    assert city.rows("check.evidence_changed")[f"{CASE}|2"]["sources"] == ["VEHICLE"]
    city.update("police.id_change", {"seq": 1}, reason="DUPLICATE_NUMBER")
    assert city.cell(HEAD, "VEHICLE")["match_tier"] == "P5", "the number was somebody else's as well"


def test_g3_numbers_that_lead_to_each_other_are_each_heard_once(city: City) -> None:
    second, third = (NUMBERS.citizen_id(RNG, date(1970, 5, day), "1") for day in (6, 7))
    for seq, (old, new) in enumerate([(second, HEAD), (third, HEAD), (second, third)]):
        city.insert(
            "police.id_change", seq=seq, old_id=old, new_id=new, reason="WRONG_NUMBER",
            effective_date=days("2016-01-01"),
        )  # fmt: skip
    city.vehicle(owner_id=third, owner_name=NAMES[HEAD])
    reported(city, HEAD)
    answer = city.cell(HEAD, "VEHICLE")
    assert (answer["outcome"], answer["record_count"], answer["match_tier"]) == ("RECORDS", 1, "P0")


def test_a_row_that_names_nobody_waits_in_the_queue(city: City) -> None:
    city.insert("hrss.pension_payment", citizen_id="123", period="201609", amount=cents("1.00"), status="PAID")
    assert city.kinds() == ["PERSON_NOT_IDENTIFIED"]
    city.insert("land.property_sale", contract_no="S", seller_id="91440199MA00000155", buyer_id=HEAD)
    city.insert("state_tax.filing", tax_no="91440199MA00000155", tax_kind="VAT", period="201609")
    assert len(city.queue()) == 1, "a company is nobody whom this flow looks for"


# ── G4 ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def undeclared(city: City) -> None:
    city.vehicle()
    city.insert(
        "land.property", unit_no="440106U1", cert_no="C", owner_id_type="CITIZEN_ID", owner_id=WIFE,
        owner_name=NAMES[WIFE], share=b"\x27\x10", usage="RESIDENTIAL", area_m2=cents("60.00"), region="440106",
        crs="CGCS2000", acquired_date=days("2001-02-03"), status="MORTGAGED",
    )  # fmt: skip
    city.insert(
        "aic.shareholder", ent_id="E1", holder_id_type="CITIZEN_ID", holder_id=HEAD, name=NAMES[HEAD],
        amount=cents("50.00"),
    )  # fmt: skip
    for month in ("201608", "201609"):
        city.insert(
            "hrss.insurance_month", citizen_id=HEAD, insurance_kind="PENSION", period=month,
            employer_uscc="91440199MA00000155", base_amount=cents("4000.00"), paid=True,
            paid_at=micros(f"{month[:4]}-{month[4:]}-10"),
        )  # fmt: skip
    city.insert(
        "hrss.insurance_month", citizen_id=WIFE, insurance_kind="PENSION", period="201609",
        base_amount=cents("2000.00"), paid=True, paid_at=micros("2016-09-10"),
    )  # fmt: skip


def test_g4_undeclared_assets_are_listed_with_source_value_date_and_threshold_version(city: City) -> None:
    undeclared(city)
    report = reported(city, HEAD, WIFE)
    found = {row["source"]: row for row in report["discrepancies"] if row["kind"] == "UNDECLARED"}
    assert found.keys() == {"VEHICLE", "PROPERTY", "SHAREHOLDING", "EMPLOYMENT_INSURANCE"}
    shown = {code: (row["reference"], row["value"], row["observed_date"]) for code, row in found.items()}
    assert shown["VEHICLE"] == ("LGZ1", "小型轿车", days("2015-06-01"))
    assert shown["PROPERTY"] == ("440106U1", "RESIDENTIAL", days("2001-02-03"))
    assert shown["SHAREHOLDING"] == ("E1", "500000.00", None)
    assert shown["EMPLOYMENT_INSURANCE"] == ("91440199MA00000155", "201609", days("2016-09-10"))
    assert {row["threshold_version"] for row in report["discrepancies"]} == {"gz-2016"}
    assert report["finding"] == "OVER_LIMITS"
    over = {row["source"]: (row["value"], row["limit_value"]) for row in report["discrepancies"] if row["limit_value"]}
    assert over == {"SHAREHOLDING": ("1", "0"), "VEHICLE": ("1", "0")}


def test_g4_a_declared_asset_within_the_limits_is_no_discrepancy(city: City) -> None:
    undeclared(city)
    declared = {"VEHICLE": " lgz1", "SHAREHOLDING": "E1", "EMPLOYMENT_INSURANCE": "91440199MA00000155"}
    for number, (source, reference) in enumerate(declared.items()):
        city.insert(
            "civil.check_declaration", case_no=CASE, citizen_id=HEAD, source=source, item_no=number,
            reference=reference, declared_date=days("2016-10-10"),
        )  # fmt: skip
    report = reported(city, HEAD, WIFE)
    assert [row["source"] for row in report["discrepancies"] if row["kind"] == "UNDECLARED"] == ["PROPERTY"]


def test_g4_the_threshold_of_the_day_of_acceptance_is_used_and_printed(city: City) -> None:
    accepted = micros("2015-12-31")
    city.household(HEAD, accepted_at=accepted)
    for source in OUTSIDE:
        if source.code != "BANK_DEPOSIT":
            city.answer(HEAD, source.code)
    city.answer(HEAD, "BANK_DEPOSIT", "RECORDS", 1, match_tier="P0", amount=cents("25000.00"))
    city.tick(SETTLED)
    report = city.reports()[1]
    assert report["threshold_version"] == "gz-2013"
    (row,) = report["discrepancies"]
    assert (row["value"], row["limit_value"], row["threshold_version"]) == ("25000.00", "20000.00", "gz-2013")


def test_g4_income_above_the_limit_is_found_even_when_not_all_is_known(city: City) -> None:
    city.insert(
        "hrss.pension_payment", citizen_id=HEAD, period="201609", amount=cents("3000.00"), status="PAID",
        paid_at=micros("2016-09-15"),
    )  # fmt: skip
    city.household(HEAD)
    city.tick(OVERDUE)
    report = city.reports()[1]
    assert report["finding"] == "OVER_LIMITS"
    assert [row["source"] for row in report["discrepancies"]] == ["INCOME_PER_PERSON"]


def test_g4_an_old_pension_is_no_income_of_today(city: City) -> None:
    city.insert(
        "hrss.pension_payment", citizen_id=HEAD, period="201409", amount=cents("3000.00"), status="PAID",
        paid_at=micros("2014-09-15"),
    )  # fmt: skip
    report = reported(city, HEAD)
    assert report["monthly_income"] == cents("0.00")
    assert report["is_income_complete"]


# ── G5 ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_g5_a_change_within_the_watch_makes_a_new_version_and_leaves_the_old(city: City) -> None:
    first = reported(city, HEAD)
    assert first["finding"] == "WITHIN_LIMITS"
    city.at("2016-11-01")
    city.tick("2016-11-01")
    city.vehicle()
    assert city.reports()[1] == first
    second = city.reports()[2]
    assert (second["previous_version"], second["finding"]) == (1, "OVER_LIMITS")
    changed = city.rows("check.evidence_changed")[f"{CASE}|2"]
    assert (changed["sources"], changed["previous_version"]) == (["VEHICLE"], 1)
    assert (changed["previous_finding"], changed["finding"]) == ("WITHIN_LIMITS", "OVER_LIMITS")
    assert second["watch_until"] == first["watch_until"]
    city.update("police.vehicle", {"vin": "LGZ1"}, status="DEREGISTERED")
    assert [row["finding"] for row in city.reports().values()] == ["WITHIN_LIMITS", "OVER_LIMITS", "WITHIN_LIMITS"]
    assert not [change for change in city.changes_of("check.report") if change.before is not None]


def test_g5_after_the_watch_nothing_is_told_and_the_answers_have_left(city: City) -> None:
    reported(city, HEAD)
    city.tick("2017-05-01")
    assert not city.rows("check.request")
    assert not city.rows("check.answer")
    assert {change.reason for change in city.changes_of("check.answer") if change.after is None} == {"CASE_ENDED"}
    city.vehicle()
    assert list(city.reports()) == [1]
    assert not city.rows("check.evidence_changed")


def test_g5_one_more_month_of_the_same_insurance_is_no_change(city: City) -> None:
    undeclared(city)
    reported(city, HEAD, WIFE)
    city.insert(
        "hrss.insurance_month", citizen_id=HEAD, insurance_kind="PENSION", period="201610",
        employer_uscc="91440199MA00000155", base_amount=cents("4000.00"), paid=True, paid_at=micros("2016-10-20"),
    )  # fmt: skip
    assert list(city.reports()) == [1]


def test_g5_a_late_answer_after_a_timeout_is_a_change(city: City) -> None:
    city.household(HEAD)
    city.tick(OVERDUE)
    assert city.line("SECURITIES")["outcome"] == "TIMEOUT"
    city.at(OVERDUE)
    city.answer(HEAD, "SECURITIES")
    assert city.line("SECURITIES", 1)["outcome"] == "TIMEOUT"
    assert city.line("SECURITIES", 2)["outcome"] == "NO_RECORD"


def test_g5_a_decision_from_an_overtaken_report_is_to_be_judged_again(city: City) -> None:
    reported(city, HEAD)
    decision = {"outcome": "ELIGIBLE", "decided_at": micros("2016-10-12")}
    city.insert("civil.check_decision", case_no=CASE, round=1, report_version=1, **decision)
    assert not city.queue()
    city.vehicle()
    assert city.kinds() == ["DECISION_OUTDATED"]
    city.insert(
        "civil.check_decision", case_no=CASE, round=2, report_version=2, **{**decision, "outcome": "INELIGIBLE"}
    )
    assert not city.queue()
    city.insert("civil.check_decision", case_no=CASE, round=3, report_version=9, **decision)
    assert city.kinds() == ["DECISION_WITHOUT_REPORT"]


def test_g5_a_report_survives_the_end_of_its_authorisation_and_of_its_case(city: City) -> None:
    first = reported(city, HEAD)
    city.delete("civil.check_authorisation", {"authorisation_id": f"{CASE}-{HEAD}"})
    assert city.reports() == {1: first}
    city.delete("civil.check_case", {"case_no": CASE})
    assert city.reports() == {1: first}
    assert not city.rows("check.request")


# ── G6 ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_g6_a_corrected_objection_counts_in_the_quality_of_the_source(city: City) -> None:
    city.vehicle()
    reported(city, HEAD)
    city.insert(
        "civil.check_objection", objection_id="O1", case_no=CASE, report_version=1, citizen_id=HEAD, source="VEHICLE",
        raised_at=micros("2016-10-12"), status="OPEN",
    )  # fmt: skip
    assert city.cell(HEAD, "VEHICLE")["is_disputed"]
    assert not city.cell(HEAD, "PROPERTY")["is_disputed"]
    city.update("police.vehicle", {"vin": "LGZ1"}, status="DEREGISTERED")
    city.update("civil.check_objection", {"objection_id": "O1"}, status="CORRECTED", status_date=days("2016-10-14"))
    assert not city.cell(HEAD, "VEHICLE")["is_disputed"]
    city.tick("2016-10-15")
    quality = city.rows("check.provider_quality")["police|VEHICLE"]
    assert (quality["objections"], quality["corrected"], quality["rejected"]) == (1, 1, 0)
    assert quality["no_record"] == quality["answers"] == 1
    assert quality["ratios"][1] == {
        "ratio": "corrected", "unit": "objections", "base": "objections", "numerator": 1, "denominator": 1,
        "percent": "100.00",
    }  # fmt: skip
    assert city.reports()[2]["finding"] == "WITHIN_LIMITS", "the correction is in the new report"


def test_g6_an_objection_to_nothing_is_named(city: City) -> None:
    reported(city, HEAD)
    city.insert(
        "civil.check_objection", objection_id="O1", case_no=CASE, report_version=7, citizen_id=HEAD, source="VEHICLE",
        raised_at=micros("2016-10-12"), status="OPEN",
    )  # fmt: skip
    assert city.kinds() == ["OBJECTION_TO_NOTHING"]


# ── G7 ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def count(city: City, place: str, **figures: int) -> None:
    key = message_key("check", f"statistic:{place}")
    city.deliver([Outgoing(key, pack([COUNT, measure, number])) for measure, number in figures.items()])


@in_memory_only("the counts are given, not counted")
def test_g7_the_figures_of_the_brief_are_red_and_its_rate_is_reproduced(city: City) -> None:
    place = "2013-01..2016-10|ALL|ALL"
    figures = {
        "accepted_cases": 63_816, "accepted_persons": 142_673, "completed_cases": 67_704,
        "completed_persons": 152_177, "ineligible_cases": 9_642, "ineligible_persons": 24_544,
    }  # fmt: skip
    count(city, place, **figures)
    city.tick("2016-11-01")
    row = city.rows("check.statistic")[place]
    assert row["is_red"]
    assert (row["excess_cases"], row["excess_persons"]) == (3_888, 9_504)
    ratios = {(one["ratio"], one["unit"], one["base"]): one for one in row["ratios"]}
    assert ratios["detection", "cases", "completed"] == {
        "ratio": "detection", "unit": "cases", "base": "completed", "numerator": 9_642, "denominator": 67_704,
        "percent": "14.24",
    }  # fmt: skip
    assert ratios["detection", "persons", "completed"]["percent"] == "16.13"
    assert ratios["detection", "cases", "accepted"]["percent"] == "15.11"
    count(city, place, opening_backlog_cases=3_888, opening_backlog_persons=9_503)
    city.tick("2016-11-02")
    assert city.rows("check.statistic")[place]["is_red"], "one person more than there were"
    count(city, place, opening_backlog_persons=1)
    city.tick("2016-11-03")
    row = city.rows("check.statistic")[place]
    assert not row["is_red"]
    assert (row["opening_backlog_cases"], row["opening_backlog_persons"]) == (3_888, 9_504)


def test_g7_cases_and_persons_are_counted_by_kind_and_district(city: City) -> None:
    city.household(HEAD, WIFE, CHILD)
    city.household(HEAD, WIFE, case_no="HD2", kind="RENTAL_HOUSING", district="440103")
    city.household(HEAD, case_no="HD3", accepted_at=micros("2012-06-01"))
    city.all_answer(HEAD, WIFE, CHILD)
    city.tick(SETTLED)
    for number, outcome in ((1, "INELIGIBLE"), (2, "ELIGIBLE"), (3, "INELIGIBLE")):
        city.insert(
            "civil.check_decision", case_no=CASE, round=number, report_version=1, outcome=outcome,
            decided_at=micros("2016-10-12"),
        )  # fmt: skip
    city.update("civil.check_case", {"case_no": CASE}, status="CLOSED", status_date=days("2016-10-13"))
    city.update("civil.check_case", {"case_no": "HD3"}, status="CLOSED", status_date=days("2016-10-13"))
    city.tick("2016-10-20")
    rows = city.rows("check.statistic")
    whole = rows["2013-01..2016-10|ALL|ALL"]
    assert (whole["accepted_cases"], whole["accepted_persons"]) == (2, 5)
    assert (whole["opening_backlog_cases"], whole["opening_backlog_persons"]) == (1, 1)
    assert (whole["completed_cases"], whole["completed_persons"]) == (2, 4)
    assert (whole["ineligible_cases"], whole["ineligible_persons"]) == (1, 3)
    assert (whole["rechecked_cases"], whole["corrected_cases"]) == (1, 0)
    assert not whole["is_red"]
    assert rows["2013-01..2016-10|440103|RENTAL_HOUSING"]["accepted_persons"] == 2
    assert rows["2013-01..2016-10|440106|LIVING_ALLOWANCE"]["completed_persons"] == 4
    assert rows["since 2017|ALL|ALL"]["opening_backlog_cases"] == 1, "what 2016 leaves unfinished"


def test_g7_a_ratio_over_nothing_has_no_percent(city: City) -> None:
    city.household(HEAD)
    city.tick(SETTLED)
    ratios = city.rows("check.statistic")["2016|440106|ALL"]["ratios"]
    assert [one["percent"] for one in ratios if one["base"] == "completed"] == [None] * 6


# ── G8 ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def opened(city: City, number: int, officer: str, purpose: str, at: str, version: int = 1) -> None:
    city.insert(
        "civil.check_report_access", access_id=f"A{number}", case_no=CASE, report_version=version, officer=officer,
        purpose=purpose, opened_at=micros(at),
    )  # fmt: skip


def test_g8_one_officer_one_purpose_and_every_opening_is_in_each_members_history(city: City) -> None:
    reported(city, HEAD, CHILD)
    opened(city, 1, "officer-7", "ALLOWANCE_DECISION", "2016-10-11")
    opened(city, 2, "officer-7", "ALLOWANCE_DECISION", "2016-10-12")
    opened(city, 3, "officer-7", "CURIOSITY", "2016-10-13")
    opened(city, 4, "officer-8", "AUDIT", "2016-10-13")
    opened(city, 5, "officer-8", "AUDIT", "2016-10-13", version=4)
    rows = city.rows("check.access")
    assert {key: rows[f"{key}|{HEAD}"]["result"] for key in ("A1", "A2", "A3", "A4", "A5")} == {
        "A1": "ALLOWED", "A2": "ALLOWED", "A3": "REFUSED", "A4": "ALLOWED", "A5": "REFUSED",
    }  # fmt: skip
    assert rows[f"A3|{CHILD}"]["refuse_reason"] == "OTHER_PURPOSE"
    assert rows[f"A5|{HEAD}"]["refuse_reason"] == "NO_SUCH_REPORT"
    assert sum(row["citizen_id"] == HEAD for row in rows.values()) == 5
    assert city.kinds() == ["ACCESS_REFUSED", "ACCESS_REFUSED"]
    city.delete("civil.check_report_access", {"access_id": "A1"})
    assert city.rows("check.access")[f"A1|{HEAD}"]["result"] == "ALLOWED", "a history does not shrink"


# ── order ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@in_memory_only("a dozen interleavings")
def test_g1_to_g4_any_interleaving_of_the_feeds_ends_in_the_same_report() -> None:
    source = City()
    changes: dict[str, list[Change]] = {}

    def record(batch: Any) -> None:
        for change in batch:
            changes.setdefault(change.feed, []).append(change)

    source.rehearsal.take = record  # type: ignore[method-assign]
    undeclared(source)
    source.vehicle(owner_id="x", vin="LGZ9", owner_name=NAMES[WIFE])
    source.household(HEAD, WIFE, CHILD)
    source.all_answer(HEAD, WIFE)
    seed, ends = 20161010, []
    for order in interleavings(changes.values(), seed, 12):
        city = City()
        city.take(order)
        city.tick(SETTLED)
        city.tick(OVERDUE)
        city.check_rows()
        ends.append({feed: city.rows(feed) for feed in FLOW.outputs})
    assert all(end == ends[0] for end in ends), f"seed {seed}"
    assert ends[0]["check.report"]


@in_memory_only("forgetting is of the memory")
def test_g5_a_task_that_forgets_everything_between_batches_says_the_same() -> None:
    """What a restart restores is what was known: reports stay, and no change is seen where none was."""
    ends = []
    for forgets in (False, True):
        city = City()
        if forgets:
            deliver = city.rehearsal.deliver

            def forgetful(messages: Any, deliver: Any = deliver, city: City = city) -> None:
                city.folding.forget()
                deliver(messages)

            city.rehearsal.deliver = forgetful  # type: ignore[method-assign]
        undeclared(city)
        reported(city, HEAD, WIFE)
        city.at("2016-11-01")
        city.tick("2016-11-01")
        city.vehicle(vin="LGZ7")
        city.tick("2016-11-02")
        ends.append({feed: city.rows(feed) for feed in FLOW.outputs})
    assert ends[0] == ends[1]
    assert list(city.reports()) == [1, 2]


def test_papers_of_a_case_that_nobody_accepted_are_named_after_a_day(city: City) -> None:
    city.member(HEAD)
    city.tick("2016-10-11")
    assert not city.queue()
    city.tick((date(2016, 10, 10) + timedelta(days=2)).isoformat())
    assert city.kinds() == ["CASE_UNKNOWN"]
    city.household(WIFE)
    assert not city.queue()


def test_a_shared_row_reaches_only_the_persons_it_names_and_only_with_what_is_needed(city: City) -> None:
    city.vehicle(status="DEREGISTERED")
    assert not [key for key in city.store.entries() if b"police.vehicle" in key], "a scrapped car is nobody's record"
    city.vehicle(vin="LGZ2")
    facts = [value for key, value in city.store.entries().items() if b"police.vehicle" in key]
    assert len(facts) == 1
    assert b"plate_no" not in facts[0]
