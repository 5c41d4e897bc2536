from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date
from random import Random
from typing import Any

import pytest

from ops.city.numbers import Numbers
from schemas.change import Change, Op
from streams.engine.folding import Folding
from streams.flows.tax import FLOW
from streams.flows.tax.industry import bucket
from streams.flows.tax.place import office_of
from streams.flows.tax.rules import RULES, month_after, rule_at
from tests.stage.rehearsal import Rehearsal, cents, city_contracts, days, interleavings, micros

CONTRACTS = city_contracts()
DAY = 86_400_000_000
SEED = 20161031
STATE, LOCAL = "state_tax.registration", "local_tax.registration"

NUMBERS = Numbers()
CODE, OTHER_CODE = (NUMBERS.org_code(True) for _ in range(2))
USCC, OTHER_USCC = NUMBERS.uscc("91", CODE), NUMBERS.uscc("91", OTHER_CODE)
REGISTRATION_NO = NUMBERS.registration_no()
OWNER, HOLDER, BUYER = (NUMBERS.citizen_id(Random(1), date(1970, 1, 1), sex) for sex in "121")


@pytest.fixture
def city() -> Iterable[Rehearsal]:
    rehearsal = Rehearsal(FLOW, CONTRACTS, now="2016-01-04")
    yield rehearsal
    rehearsal.check_rows()
    assert not [item for item in rehearsal.queue() if item["kind"] in {"FOLD_FAILED", "NOT_UNDERSTOOD"}]


def enterprise(city: Rehearsal, ent_id: str = "E1", **columns: Any) -> Change:
    given = {
        "uscc": USCC,
        "name": "广州粤达餐饮有限公司",
        "kind": "ENTERPRISE",
        "industry": "H62",
        "legal_rep_id_type": "CITIZEN_ID",
        "legal_rep_id": OWNER,
        "reg_region": "440106",
        "established": days("2016-01-01"),
        "status": "ACTIVE",
    }
    return city.insert("aic.enterprise", ent_id=ent_id, **(given | columns))


def registration(city: Rehearsal, tax_no: str = USCC, feed: str = STATE, **columns: Any) -> Change:
    given = {
        "uscc": USCC,
        "name": "广州粤达餐饮有限公司",
        "region": "440106",
        "registered_date": days("2016-01-20"),
        "status": "NORMAL",
    }
    return city.insert(feed, tax_no=tax_no, **(given | columns))


def filing(city: Rehearsal, kind: str, period: str, filed: str, revenue: str = "0.00", **columns: Any) -> Change:
    feed, tax_no = columns.get("feed", "local_tax.filing"), columns.get("tax_no", USCC)
    return city.insert(
        feed, tax_no=tax_no, tax_kind=kind, period=period, filed_at=micros(filed), revenue=cents(revenue)
    )


def licence(city: Rehearsal, feed: str, kind: str, number: str = "L1", **columns: Any) -> Change:
    given = {
        "holder_id_type": "USCC",
        "holder_id": USCC,
        "uscc": USCC,
        "holder_name": "广州粤达餐饮有限公司",
        "region": "440105",
        "issue_date": days("2016-02-01"),
        "status": "VALID",
    }
    return city.insert(feed, licence_kind=kind, licence_no=number, **(given | columns))


def answer(
    city: Rehearsal, warning_id: str, outcome: str, at: str, agency: str = "state_tax", **columns: Any
) -> Change:
    feed = f"{agency}.warning_feedback"
    return city.insert(feed, warning_id=warning_id, outcome=outcome, answered_at=micros(at), **columns)


def warnings(city: Rehearsal, rule: str) -> list[dict[str, Any]]:
    found = [dict(row) for _, row in sorted(city.rows("tax.warning").items()) if row["rule"] == rule]
    for row in found:
        assert row["sources"], "each warning cites its source events"
        assert all(source["position"] for source in row["sources"])
    return found


def one(city: Rehearsal, rule: str) -> dict[str, Any]:
    (found,) = warnings(city, rule)
    return found


def state(city: Rehearsal, rule: str) -> str:
    return one(city, rule)["state"]


# ── the rules ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_w1_no_tax_registration_within_the_window(city: Rehearsal) -> None:
    enterprise(city)
    city.tick("2016-02-05")
    assert not warnings(city, "W1"), "the window of 30 days is over, the grace is not"
    city.tick("2016-02-06")
    found = one(city, "W1")
    assert (found["state"], found["opened_at"]) == ("OPEN", micros("2016-02-06"))
    assert found["sources"][0]["feed"] == "aic.enterprise"
    assert found["sources"][0]["row_id"] == "E1"
    city.tick("2016-02-07")
    assert state(city, "W1") == "DISPATCHED"


def test_w1_a_registration_in_time_or_an_end_before_the_window_gives_no_warning(city: Rehearsal) -> None:
    enterprise(city)
    registration(city, registered_date=days("2016-01-31"))
    enterprise(city, "E2", uscc=OTHER_USCC, status="DEREGISTERED", status_date=days("2016-01-20"))
    enterprise(city, "E3", uscc=None, registration_no=REGISTRATION_NO, established=days("2001-01-01"))
    city.tick("2016-06-01")
    assert not warnings(city, "W1")


def test_w1_a_registration_dated_after_the_window_does_not_retract_but_settles(city: Rehearsal) -> None:
    enterprise(city)
    city.tick("2016-02-06")
    registration(city, registered_date=days("2016-02-10"))
    assert one(city, "W1")["is_settled"]
    assert state(city, "W1") == "OPEN"
    answer(city, one(city, "W1")["warning_id"], "CONFIRMED", "2016-02-11")
    assert state(city, "W1") == "CLOSED"


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"uscc": USCC}, {"tax_no": USCC, "uscc": USCC}),
        ({"uscc": USCC}, {"tax_no": f"440199{CODE}", "uscc": None}),
        ({"uscc": USCC}, {"tax_no": "T1", "uscc": None, "org_code": CODE}),
        ({"uscc": None, "org_code": CODE}, {"tax_no": USCC, "uscc": USCC}),
        ({"uscc": None}, {"tax_no": f"{OWNER}01", "uscc": None}),
    ],
    ids=["O0", "O1-tax-number", "O1-code", "O1-reverse", "O3"],
)
def test_2_6_registrations_match_by_the_ladder(city: Rehearsal, ours: dict, theirs: dict) -> None:
    registration(city, feed=LOCAL, **theirs)
    enterprise(city, **ours)
    city.tick("2016-06-01")
    assert not city.rows("tax.warning")


def test_2_6_a_registration_number_matches_through_the_registrys_mapping(city: Rehearsal) -> None:
    enterprise(city, uscc=None, registration_no=REGISTRATION_NO)
    registration(city, tax_no="T1", uscc=None, org_code=CODE)
    city.tick("2016-03-01")
    assert state(city, "W1") == "OPEN"
    assert state(city, "W9") == "OPEN"
    city.insert("qts.organisation_code", org_code=CODE, registration_no=REGISTRATION_NO)
    assert (state(city, "W1"), state(city, "W9")) == ("RETRACTED", "RETRACTED")


def test_2_6_an_owners_number_alone_is_no_match(city: Rehearsal) -> None:
    enterprise(city, uscc=None)
    registration(city, tax_no=f"{OWNER}01", uscc=None, name="别的商行")
    city.tick("2016-06-01")
    assert (state(city, "W1"), state(city, "W9")) == ("OPEN", "OPEN")


def test_w2_deregistered_while_the_tax_registration_stays_normal(city: Rehearsal) -> None:
    enterprise(city)
    registration(city)
    registration(city, feed=LOCAL)
    city.update("aic.enterprise", {"ent_id": "E1"}, status="DEREGISTERED", status_date=days("2016-05-01"))
    city.tick("2016-06-05")
    assert not warnings(city, "W2")
    city.update(LOCAL, {"tax_no": USCC}, status="CANCELLED", status_date=days("2016-05-20"))
    city.tick("2016-06-06")
    assert state(city, "W2") == "OPEN", "one of two is not enough"
    city.update(STATE, {"tax_no": USCC}, status="CANCELLED", status_date=days("2016-06-07"))
    assert state(city, "W2") == "RETRACTED"
    assert one(city, "W2")["evidence"]["feed"] == STATE


def test_w2_a_deleted_row_is_no_deregistration(city: Rehearsal) -> None:
    enterprise(city)
    registration(city)
    city.delete("aic.enterprise", {"ent_id": "E1"})
    city.tick("2016-12-01")
    assert not warnings(city, "W2")


def test_w3_transferred_without_a_receipt(city: Rehearsal) -> None:
    unit = "440104001001GB00000001F00010001"
    city.insert("land.property_sale", contract_no="F1", unit_no=unit, buyer_id=BUYER, signed_date=days("2016-01-01"))
    city.tick("2016-12-01")
    assert not warnings(city, "W3"), "not transferred yet"
    city.update("land.property_sale", {"contract_no": "F1"}, transferred_date=days("2016-12-05"))
    city.tick("2017-03-10")
    assert not warnings(city, "W3")
    city.tick("2017-03-11")
    assert (state(city, "W3"), one(city, "W3")["authority"]) == ("OPEN", "DS440104")
    city.insert("local_tax.deed_tax", receipt_no="Q1", contract_no="F1", paid_at=micros("2017-03-12"))
    assert (state(city, "W3"), one(city, "W3")["evidence"]["row_id"]) == ("RETRACTED", "Q1")


def left(city: Rehearsal) -> None:
    enterprise(city)
    registration(city)
    key = {"ent_id": "E1", "holder_id_type": "CITIZEN_ID", "holder_id": HOLDER}
    city.insert("aic.shareholder", **key, name="甲")
    city.now = "2016-05-17"
    city.delete("aic.shareholder", key)


def test_w4_a_shareholder_who_left_files_no_income_tax(city: Rehearsal) -> None:
    left(city)
    city.tick("2016-07-20")
    assert not warnings(city, "W4")
    city.tick("2016-07-21")
    assert state(city, "W4") == "OPEN"
    assert one(city, "W4")["taxpayer"] == f"CITIZEN_ID:{HOLDER}"
    filing(city, "PERSONAL_INCOME", "201605", "2016-04-01", tax_no=HOLDER)
    filing(city, "PERSONAL_INCOME", "201607", "2016-07-30", tax_no=f"{HOLDER}01")
    assert state(city, "W4") == "OPEN", "neither is for that time"
    filing(city, "PERSONAL_INCOME", "201606", "2016-07-22", tax_no=HOLDER)
    assert state(city, "W4") == "RETRACTED"


def test_w4_a_row_that_comes_back_or_an_emptied_table_is_nobodys_leaving(city: Rehearsal) -> None:
    left(city)
    city.now = "2016-05-18"
    city.insert("aic.shareholder", ent_id="E1", holder_id_type="CITIZEN_ID", holder_id=HOLDER, name="甲")
    city.insert("aic.shareholder", ent_id="E1", holder_id_type="CITIZEN_ID", holder_id=BUYER, name="乙")
    city.insert("aic.shareholder", ent_id="E1", holder_id_type="USCC", holder_id=OTHER_USCC, name="丙")
    city.take([city.change("aic.shareholder", None, None, Op.TRUNCATE)])
    city.tick("2016-12-01")
    assert not warnings(city, "W4")


def test_w4_counts_from_the_day_the_change_was_approved(city: Rehearsal) -> None:
    city.insert("aic.enterprise_change", ent_id="E1", seq=1, item="SHAREHOLDER", changed_date=days("2016-04-28"))
    left(city)
    city.tick("2016-06-21")
    assert one(city, "W4")["cause_at"] == micros("2016-04-28")


def permit(city: Rehearsal, number: str = "P1", **columns: Any) -> Change:
    given = {
        "contractor_uscc": USCC,
        "contractor_name": "深圳某建筑公司",
        "contractor_region": "440300",
        "region": "440111",
        "start_date": days("2016-03-01"),
        "status": "ISSUED",
    }
    return city.insert("construction.permit", permit_no=number, **(given | columns))


def test_w5_an_out_of_city_contractor_without_a_local_record(city: Rehearsal) -> None:
    permit(city)
    permit(city, "P2", contractor_uscc=OTHER_USCC, contractor_region="440106")
    registration(city, registered_date=days("2016-01-01"))
    city.tick("2016-04-06")
    found = one(city, "W5")
    assert (found["state"], found["authority"], found["region"]) == ("OPEN", "DS440111", "440111")
    filing(city, "BUSINESS", "201602", "2016-03-10")
    assert state(city, "W5") == "OPEN", "an earlier month is no record of this work"
    filing(city, "BUSINESS", "201603", "2016-04-10")
    assert state(city, "W5") == "RETRACTED"


def test_w5_a_local_registration_is_a_record(city: Rehearsal) -> None:
    registration(city, feed=LOCAL)
    permit(city)
    city.tick("2016-12-01")
    assert not warnings(city, "W5")


def industry(city: Rehearsal, holders: int) -> None:
    """So many other enterprises, each with a unified code of its own, that use little power."""
    numbers = Numbers()
    for _ in range(5):
        numbers.org_code(True)  # not those of this file
    for number in range(holders):
        uscc = numbers.uscc("91", numbers.org_code(True))
        enterprise(city, f"X{number:03}", uscc=uscc)
        registration(city, tax_no=uscc, uscc=uscc)
        for period in ("201603", "201604", "201605"):
            reading(city, f"A{number:03}", period, f"{100 + number}.000", uscc)


def reading(city: Rehearsal, account: str, period: str, quantity: str, uscc: str = USCC, kind: str = "POWER") -> None:
    columns = {"utility": kind, "holder_id_type": "USCC", "holder_id": uscc, "quantity": cents(quantity, 3)}
    city.insert("utilities.usage", account_no=account, period=period, **columns)


def consumer(city: Rehearsal, quantity: str = "5000.000") -> None:
    enterprise(city)
    registration(city)
    for period in ("201603", "201604", "201605"):
        reading(city, "A1", period, quantity)
        filing(city, "VAT", period, f"{month_after(period)[:4]}-{month_after(period)[4:]}-10", feed="state_tax.filing")


def test_w6_much_power_and_no_revenue_three_months_on_end(city: Rehearsal) -> None:
    industry(city, 30)
    consumer(city)
    city.tick("2016-06-18")
    assert not warnings(city, "W6")
    city.tick("2016-06-22")
    assert state(city, "W6") == "OPEN"
    feeds = [source["feed"] for source in one(city, "W6")["sources"]]
    assert feeds == ["utilities.usage"] * 3 + ["state_tax.filing"] * 3
    reading(city, "B1", "201603", "999999.000", OTHER_USCC)
    city.tick("2016-06-23")
    assert state(city, "W6") == "DISPATCHED", "later readings elsewhere do not undo what was judged"
    key = {"tax_no": USCC, "tax_kind": "VAT", "period": "201604"}
    city.update("state_tax.filing", key, revenue=cents("12.50"), filed_at=micros("2016-06-25"))
    assert (state(city, "W6"), one(city, "W6")["evidence"]["row_id"]) == ("RETRACTED", f"{USCC}|VAT|201604")


@pytest.mark.parametrize(("holders", "quantity"), [(10, "5000.000"), (30, "110.000")], ids=["too-few", "ordinary"])
def test_w6_no_percentile_or_ordinary_use_gives_no_warning(city: Rehearsal, holders: int, quantity: str) -> None:
    industry(city, holders)
    consumer(city, quantity)
    for day in range(1, 10):
        city.tick(f"2016-07-0{day}")
    assert not warnings(city, "W6")


def test_w6_buckets_are_five_percent_wide_and_grow() -> None:
    assert bucket(-5) == bucket(0) == 0
    assert [bucket(used) for used in (1, 2, 3)] == [1, 2, 3]
    assert bucket(1_000_000) < bucket(1_060_000)
    assert bucket(1_000_000) + 2 >= bucket(1_060_000)
    assert bucket(10**30) == bucket(10**29)


@pytest.mark.parametrize(
    ("feed", "kind", "is_watched"),
    [
        ("fda.licence", "FOOD_SERVICE", True),
        ("fda.licence", "DRUG", False),
        ("health.licence", "MEDICAL", True),
        ("health.licence", "WATER", False),
        ("edu.licence", "SCHOOL", True),
    ],
)
def test_w7_a_licence_for_a_holder_unknown_to_tax(city: Rehearsal, feed: str, kind: str, is_watched: bool) -> None:
    licence(city, feed, kind)
    licence(city, feed, kind, "L2", status="CANCELLED", status_date=days("2016-02-10"))
    city.tick("2016-03-10")
    assert len(warnings(city, "W7")) == is_watched
    registration(city)
    assert not is_watched or state(city, "W7") == "RETRACTED"


def parcel(city: Rehearsal, **columns: Any) -> None:
    given = {
        "grantee_uscc": USCC,
        "grantee_name": "某地产公司",
        "parcel_no": "440115001001GB00001",
        "price": cents("100.00"),
    }
    city.insert("land.parcel_sale", contract_no="G1", **(given | columns))


def test_w8_land_paid_without_land_use_tax_from_the_next_month(city: Rehearsal) -> None:
    registration(city, feed=LOCAL)
    parcel(city, paid_amount=cents("40.00"))
    city.tick("2016-04-30")
    city.now = "2016-05-10"
    city.update("land.parcel_sale", {"contract_no": "G1"}, paid_amount=cents("100.00"))
    city.now = "2016-05-30"
    city.update("land.parcel_sale", {"contract_no": "G1"}, area_m2=cents("9.00"))
    city.tick("2016-07-20")
    assert not warnings(city, "W8")
    city.tick("2016-07-21")
    found = one(city, "W8")
    assert (found["state"], found["authority"], found["cause_at"]) == ("OPEN", "DS440115", micros("2016-05-10"))
    filing(city, "LAND_USE", "201605", "2016-07-22")
    assert state(city, "W8") == "OPEN"
    filing(city, "LAND_USE", "201607", "2016-08-10")
    assert state(city, "W8") == "RETRACTED"


def test_w9_a_taxpayer_whom_no_register_knows(city: Rehearsal) -> None:
    registration(city)
    city.tick("2016-02-25")
    assert state(city, "W9") == "OPEN"
    city.insert("civil.social_organisation", uscc=USCC, name="某协会", region="440106", status="ACTIVE")
    assert state(city, "W9") == "RETRACTED"
    assert one(city, "W9")["evidence"]["feed"] == "civil.social_organisation"
    registration(city, tax_no=OTHER_USCC, uscc=OTHER_USCC)
    city.insert("staffing.institution", uscc=OTHER_USCC, name="某事业单位", region="440106", status="ACTIVE")
    city.tick("2016-12-01")
    assert len(warnings(city, "W9")) == 1


def test_a_register_that_is_not_connected_is_silent_and_not_empty(city: Rehearsal) -> None:
    city.folding.feeds = frozenset({"aic.enterprise", STATE})
    enterprise(city)
    city.tick("2016-03-01")
    assert not warnings(city, "W1"), "local tax may have the registration"
    city.folding.feeds = frozenset({"aic.enterprise", STATE, LOCAL})
    city.tick("2016-03-01T01:00:00+08:00")
    assert state(city, "W1") == "OPEN"
    assert one(city, "W1")["opened_at"] == micros("2016-03-01T01:00:00+08:00")


# ── the checks ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_f1_a_restart_neither_loses_nor_repeats_a_timer(city: Rehearsal) -> None:
    enterprise(city)
    enterprise(city, "E2", uscc=OTHER_USCC, established=days("2016-02-01"))
    city.tick("2016-02-05")
    city.folding = Folding([FLOW], city.store)
    city.tick("2016-02-06")
    assert len(warnings(city, "W1")) == 1
    city.folding = Folding([FLOW], city.store)
    city.tick("2016-02-06")
    city.tick("2016-03-10")
    city.folding = Folding([FLOW], city.store)
    city.tick("2016-12-01")
    city.tick("2016-12-02")
    assert len(warnings(city, "W1")) == 2
    creations = [change for change in city.changes_of("tax.warning") if change.before is None]
    assert len(creations) == 2
    assert all(change.after is not None for change in city.changes_of("tax.warning"))


def test_f1_a_batch_told_twice_after_a_crash_changes_nothing(city: Rehearsal) -> None:
    changes = [enterprise(city), registration(city, registered_date=days("2016-03-01"))]
    for _ in range(3):  # the boards follow at the next ticks
        city.tick("2016-02-06")
    entries, history = city.store.entries(), len(city.history)
    city.folding = Folding([FLOW], city.store)
    city.take(changes)
    city.tick("2016-02-06")
    assert city.store.entries() == entries
    assert len(city.history) == history


def test_f2_late_evidence_retracts_with_its_cause_at_the_office_that_was_told(city: Rehearsal) -> None:
    enterprise(city)
    city.tick("2016-02-06")
    city.tick("2016-02-07")
    told = one(city, "W1")
    city.now = "2016-03-01"
    city.update("aic.enterprise", {"ent_id": "E1"}, reg_region="440104")
    late = registration(city, registered_date=days("2016-01-31"))
    found = one(city, "W1")
    assert (found["state"], found["retracted_reason"]) == ("RETRACTED", "EVIDENCE")
    evidence = {"feed": STATE, "row_id": USCC, "position": str(late.position), "dated_at": micros("2016-01-31")}
    assert found["evidence"] == evidence
    assert (found["authority"], found["warning_id"]) == (told["authority"], told["warning_id"])
    assert city.rows("tax.inbox")[found["taxpayer"]]["open_count"] == 0
    city.delete(STATE, {"tax_no": USCC})
    assert state(city, "W1") == "DISPATCHED", "the evidence was a mistake: the warning stands again, and is the same"


def test_f2_a_cause_that_its_source_takes_back_retracts(city: Rehearsal) -> None:
    enterprise(city)
    city.tick("2016-02-06")
    city.update("aic.enterprise", {"ent_id": "E1"}, status="WITHDRAWN", status_date=days("2016-02-07"))
    assert one(city, "W1")["retracted_reason"] == "CAUSE_WITHDRAWN"
    city.delete("aic.enterprise", {"ent_id": "E1"})
    assert state(city, "W1") == "RETRACTED"


def test_f3_one_warning_per_cause_and_an_inbox_by_taxpayer(city: Rehearsal) -> None:
    enterprise(city)
    licence(city, "fda.licence", "FOOD_SERVICE")
    licence(city, "health.licence", "MEDICAL", holder_id_type="ORG_CODE", holder_id=CODE, uscc=None)
    for moment in ("2016-03-10", "2016-03-11", "2016-03-12"):
        city.tick(moment)
        city.update("aic.enterprise", {"ent_id": "E1"}, name=f"广州粤达餐饮有限公司{moment}")
    assert (len(warnings(city, "W1")), len(warnings(city, "W7"))) == (1, 2)
    (inbox,) = city.rows("tax.inbox").values()
    assert (inbox["taxpayer"], inbox["open_count"], inbox["severity"]) == (f"ORG_CODE:{CODE}", 3, "HIGH")
    assert inbox["rules"] == ["W1", "W7"]
    registration(city)
    inbox = city.rows("tax.inbox")[f"ORG_CODE:{CODE}"]
    assert (inbox["open_count"], inbox["warning_count"], inbox["retracted_count"]) == (0, 3, 3)


def test_f4_the_authority_is_that_of_the_entitys_region_at_that_date(city: Rehearsal) -> None:
    enterprise(city)
    city.now = "2016-01-15"
    city.update("aic.enterprise", {"ent_id": "E1"}, reg_region="440104")
    city.tick("2016-02-06")
    found = one(city, "W1")
    assert (found["region"], found["authority"], found["region_as_of"]) == ("440106", "GS440106", micros("2016-01-01"))
    licence(city, "fda.licence", "FOOD_SERVICE")
    city.tick("2016-03-10")
    assert one(city, "W7")["authority"] == "GS440104", "moved by then, and the entity's region goes before the row's"


def test_f4_an_office_that_is_gone_is_succeeded_and_no_office_is_the_citys() -> None:
    rule = rule_at("W1", micros("2013-06-01"))
    assert rule is not None

    def office(region: str | None, at: str, now: str) -> str:
        found = office_of(rule, region, micros(at), micros(now))
        assert found is not None
        return found.code

    assert office("440116", "2013-06-01", "2013-08-01") == "GS440116"
    assert office("440116", "2013-06-01", "2016-08-01") == "GS440112"
    assert office("440106", "2018-05-01", "2018-07-01") == "SW440106"
    assert office("440199", "2016-05-01", "2016-07-01") == "GS440100"
    assert office(None, "2016-05-01", "2016-07-01") == "GS440100"


def test_f5_precision_counts_answers_and_proposes_a_poor_rule_for_review(city: Rehearsal) -> None:
    for number in range(6):
        enterprise(city, f"E{number}", uscc=None, registration_no=None)
    city.tick("2016-02-06")
    ids = sorted(city.rows("tax.warning"))
    for identity in ids[:5]:
        answer(city, identity, "FALSE_POSITIVE", "2016-02-10")
    city.tick("2016-02-11")
    precision = city.rows("tax.rule_precision")
    assert sorted(precision) == list(RULES), "every rule is on the board"
    assert (precision["W1"]["numerator"], precision["W1"]["denominator"]) == (0, 5)
    assert precision["W1"]["proposed_for_review"]
    assert [item["kind"] for item in city.queue()] == ["RULE_PROPOSED_FOR_REVIEW"]
    city.update("state_tax.warning_feedback", {"warning_id": ids[0]}, outcome="CONFIRMED")
    city.tick("2016-02-12")
    precision = city.rows("tax.rule_precision")["W1"]
    assert (precision["precision_per_ten_thousand"], precision["proposed_for_review"]) == (2000, False)
    assert (precision["warnings"], precision["open"]) == (6, 1)
    assert not city.queue()


def test_f5_a_retracted_warning_says_nothing_about_its_rule(city: Rehearsal) -> None:
    enterprise(city)
    city.tick("2016-02-06")
    answer(city, one(city, "W1")["warning_id"], "FALSE_POSITIVE", "2016-02-07")
    registration(city)
    city.tick("2016-02-08")
    precision = city.rows("tax.rule_precision")["W1"]
    assert (precision["denominator"], precision["precision_per_ten_thousand"]) == (0, None)
    assert (precision["warnings"], precision["retracted"], precision["proposed_for_review"]) == (1, 1, False)


def test_f_states_run_from_open_to_closed_and_the_answer_comes_back_to_the_hub(city: Rehearsal) -> None:
    enterprise(city)
    city.tick("2016-02-06")
    identity = one(city, "W1")["warning_id"]
    city.tick("2016-02-07")
    answer(city, identity, "CONFIRMED", "2016-02-08", amount_recovered=cents("880.00"))
    city.tick("2016-03-08")
    city.tick("2016-03-09")
    states = [change.after["state"] for change in city.changes_of("tax.warning") if change.after]
    assert states == ["OPEN", "DISPATCHED", "CONFIRMED", "CLOSED"]
    feedback = city.rows("tax.feedback")[identity]
    assert (feedback["outcome"], feedback["amount_recovered"], feedback["state"]) == (
        "CONFIRMED",
        cents("880.00"),
        "CLOSED",
    )


def test_f_an_answer_that_does_not_count_waits_for_a_person_and_is_told_to_its_sender(city: Rehearsal) -> None:
    answer(city, "W1-0", "CONFIRMED", "2016-02-08")
    assert [item["kind"] for item in city.queue()] == ["FEEDBACK_UNKNOWN_WARNING"]
    enterprise(city)
    city.tick("2016-02-06")
    identity = one(city, "W1")["warning_id"]
    answer(city, identity, "MAYBE", "2016-02-08")
    answer(city, identity, "FALSE_POSITIVE", "2016-02-09", "local_tax")
    assert state(city, "W1") == "OPEN", "neither counts"
    named = {"FEEDBACK_UNKNOWN_WARNING", "OUTCOME_UNKNOWN", "FEEDBACK_OF_ANOTHER_OFFICE"}
    assert {item["kind"] for item in city.queue()} == named
    told = {(row["agency"], row["warning_id"], row["reason"]) for row in city.rows("tax.refusal").values()}
    assert told == {
        ("state_tax", "W1-0", "FEEDBACK_UNKNOWN_WARNING"),
        ("state_tax", identity, "OUTCOME_UNKNOWN"),
        ("local_tax", identity, "FEEDBACK_OF_ANOTHER_OFFICE"),
    }


def test_f_a_taxpayer_who_cannot_be_matched_waits_for_a_person_until_the_row_is_mended(city: Rehearsal) -> None:
    licence(city, "fda.licence", "FOOD_SERVICE", holder_id="000000000", holder_id_type="ORG_CODE", uscc=None)
    parcel(city, grantee_uscc=None, paid_amount=cents("100.00"))
    registration(city, tax_no="T1", uscc=None)
    city.insert("land.property_sale", contract_no="F1", buyer_id="1", transferred_date=days("2016-01-01"))
    assert {item["kind"] for item in city.queue()} == {"TAXPAYER_NOT_MATCHED"}
    assert len(city.queue()) == 4
    city.update("land.parcel_sale", {"contract_no": "G1"}, grantee_uscc=USCC)
    assert len(city.queue()) == 3


def test_f_evidence_sources_are_31_departments_configured_against_active(city: Rehearsal) -> None:
    enterprise(city)
    registration(city)
    city.tick("2016-01-05")
    city.tick("2016-01-06")
    sources = city.rows("tax.evidence_source")
    assert len(sources) == 31
    assert all(row["is_configured"] for row in sources.values())
    assert {agency for agency, row in sources.items() if row["is_active"]} == {"aic", "state_tax"}
    city.delete("aic.enterprise", {"ent_id": "E1"})
    city.tick("2016-01-07")
    city.tick("2016-01-08")
    assert not city.rows("tax.evidence_source")["aic"]["is_active"]


def test_an_identifier_that_leads_to_too_many_is_told_within_bounds(city: Rehearsal) -> None:
    enterprise(city)
    for number in range(60):
        registration(city, tax_no=f"T{number:02}")
    assert "IDENTIFIER_CROWDED" in {item["kind"] for item in city.queue()}
    told = [message for message in city.store.entries() if b"\0known\0" in message]
    assert len(told) == 2 * 61
    city.tick("2016-06-01")
    assert not city.rows("tax.warning")


# ── order ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def by_feed(city: Rehearsal, *makers: Callable[[], object]) -> list[list[Change]]:
    """The changes that these make, not given to the flow yet, as one stream for each feed."""
    made: list[Change] = []

    def collect(changes: Iterable[Change]) -> None:
        made.extend(changes)

    city.take = collect
    for make in makers:
        make()
    return [
        [change for change in made if change.feed == feed] for feed in dict.fromkeys(change.feed for change in made)
    ]


def leave(city: Rehearsal, now: str) -> None:
    city.now = now
    city.delete("aic.shareholder", {"ent_id": "E1", "holder_id_type": "CITIZEN_ID", "holder_id": HOLDER})


def beginning(city: Rehearsal) -> list[list[Change]]:
    return by_feed(
        city,
        lambda: enterprise(city),
        lambda: enterprise(city, "E2", uscc=None, registration_no=REGISTRATION_NO),
        lambda: enterprise(city, "E3", uscc=OTHER_USCC, established=days("2015-11-01")),
        lambda: city.update("aic.enterprise", {"ent_id": "E1"}, status="REVOKED", status_date=days("2016-04-01")),
        lambda: registration(city, registered_date=days("2016-03-09")),
        lambda: registration(city, tax_no="T1", uscc=None, org_code=OTHER_CODE, feed=LOCAL),
        lambda: city.delete(LOCAL, {"tax_no": "T1"}),
        lambda: registration(city, tax_no="T2", uscc=None, org_code=OTHER_CODE, feed=LOCAL),
        lambda: city.insert("aic.shareholder", ent_id="E1", holder_id_type="CITIZEN_ID", holder_id=HOLDER),
        lambda: leave(city, "2016-02-03"),
        lambda: permit(city),
        lambda: licence(city, "fda.licence", "FOOD_SERVICE", holder_id=OTHER_USCC, uscc=OTHER_USCC),
        lambda: parcel(city, paid_amount=cents("100.00")),
        lambda: filing(city, "LAND_USE", "201602", "2016-03-02"),
        lambda: city.insert(
            "land.property_sale", contract_no="F1", buyer_id=BUYER, transferred_date=days("2016-01-01")
        ),
        lambda: city.insert("local_tax.deed_tax", receipt_no="Q1", contract_no="F1", paid_at=micros("2016-02-01")),
        lambda: city.delete("local_tax.deed_tax", {"receipt_no": "Q1"}),
    )


def end(city: Rehearsal, fired: dict[str, list[str]]) -> list[list[Change]]:
    """Late evidence, corrections, answers: of the warnings that the beginning fired."""
    city.now = "2016-06-10"
    return by_feed(
        city,
        lambda: city.insert("qts.organisation_code", org_code=OTHER_CODE, registration_no=REGISTRATION_NO),
        lambda: filing(city, "PERSONAL_INCOME", "201602", "2016-03-02", tax_no=HOLDER),
        lambda: filing(city, "LAND_USE", "201605", "2016-06-02"),
        lambda: city.insert("local_tax.deed_tax", receipt_no="Q2", contract_no="F1", paid_at=micros("2016-02-01")),
        lambda: city.delete("local_tax.deed_tax", {"receipt_no": "Q2"}),
        lambda: city.update(STATE, {"tax_no": USCC}, status="CANCELLED", status_date=days("2016-05-01")),
        lambda: city.update("aic.enterprise", {"ent_id": "E3"}, established=days("2016-05-30"), reg_region="440104"),
        lambda: city.update("aic.enterprise", {"ent_id": "E2"}, uscc=OTHER_USCC),
        lambda: city.update("construction.permit", {"permit_no": "P1"}, contractor_uscc=OTHER_USCC),
        lambda: answer(city, fired["W1"][0], "CONFIRMED", "2016-06-11"),
        lambda: answer(city, fired["W3"][0], "FALSE_POSITIVE", "2016-06-11", "local_tax"),
        lambda: answer(city, fired["W2"][0], "CONFIRMED", "2016-06-11"),
        lambda: answer(city, "W9-unknown", "CONFIRMED", "2016-06-11"),
    )


@pytest.mark.parametrize("begins_at", ["2016-01-01", "2016-05-31"], ids=["before-due", "told-late"])
def test_any_interleaving_of_the_same_changes_before_the_same_ticks_gives_the_same_warnings(begins_at: str) -> None:
    clerk = Rehearsal(FLOW, CONTRACTS, now="2016-01-04")
    streams, later = beginning(clerk), list[list[Change]]()
    expected: dict[str, Any] | None = None
    for number, order in enumerate(interleavings(streams, SEED, 40)):
        city = Rehearsal(FLOW, CONTRACTS, now="2016-01-04")
        city.tick(begins_at)
        city.take(order)
        for moment in ("2016-06-01", "2016-06-02", "2016-06-03"):
            city.tick(moment)
        fired = {rule: [row["warning_id"] for row in warnings(city, rule)] for rule in RULES}
        assert {rule for rule, found in fired.items() if found} == {"W1", "W2", "W3", "W4", "W5", "W8"}
        later = later or end(clerk, fired)
        city.take(next(iter(interleavings(later, SEED + number, 1))))
        for moment in ("2016-06-20", "2016-06-21", "2016-09-01", "2016-09-02", "2016-09-03"):
            city.tick(moment)
        found = {feed: city.rows(feed) for feed in FLOW.outputs}
        states = {row["state"] for row in found["tax.warning"].values()}
        assert {"RETRACTED", "CLOSED", "DISPATCHED"} <= states, states
        expected = expected or found
        assert found == expected, f"seed {SEED + number}"
        created = [change.row_id for change in city.changes_of("tax.warning") if change.before is None]
        assert len(created) == len(set(created)), "each warning is fired once"


def test_w6_any_interleaving_gives_the_same_warning() -> None:
    clerk = Rehearsal(FLOW, CONTRACTS, now="2016-06-01")
    streams = by_feed(clerk, lambda: industry(clerk, 20), lambda: consumer(clerk))
    expected: dict[str, Any] | None = None
    for order in interleavings(streams, SEED, 8):
        city = Rehearsal(FLOW, CONTRACTS, now="2016-06-01")
        city.take(order)
        for day in range(20, 26):
            city.tick(f"2016-06-{day}")
        found = {feed: city.rows(feed) for feed in FLOW.outputs}
        assert [row["rule"] for row in found["tax.warning"].values()] == ["W6"]
        expected = expected or found
        assert found == expected, f"seed {SEED}"


def test_every_rule_reads_what_it_says_and_names_a_known_owner() -> None:
    feeds = {entry.feed for entry in FLOW.inputs}
    for identity in RULES:
        rule = rule_at(identity, micros("2016-10-31"))
        assert rule is not None
        assert feeds.issuperset(rule.inputs)
        assert rule.needs.issubset(rule.inputs)
        assert rule.due(0) > rule.deadline(0) > 0
        assert office_of(rule, "440106", micros("2016-10-31"), micros("2016-10-31")) is not None
    assert rule_at("W1", micros("2008-07-07")) is None, "the work began on 2008-07-08"
