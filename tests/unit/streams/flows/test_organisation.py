from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

import pytest

from ops.city.city import City
from ops.city.firms import firms
from ops.city.numbers import Numbers
from ops.city.people import people
from schemas.change import Op
from streams.flows.organisation import FLOW
from tests.stage.registers import (
    CODE,
    COVERAGE,
    IDENTIFIER,
    ORGANISATION,
    OTHER_CODE,
    OTHER_USCC,
    OWNER,
    REGISTRATION_NO,
    USCC,
    assert_no_overlap,
    certificate,
    enterprise,
    kinds,
    methods,
    numbers,
    registration,
    timeline,
    uscc,
)
from tests.stage.rehearsal import Rehearsal, days

SEED = 20161031


@pytest.fixture
def city() -> Iterable[Rehearsal]:
    rehearsal = Rehearsal(FLOW, now="2015-01-05")
    yield rehearsal
    rehearsal.check_rows()
    for row in rehearsal.rows(ORGANISATION).values():
        assert_no_overlap(row["status_timeline"])


# ── D1 ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_d1_four_numbers_of_four_registers_are_one_entity_with_validity(city: Rehearsal) -> None:
    enterprise(city, registration_no=REGISTRATION_NO)
    certificate(city, registration_no=REGISTRATION_NO)
    registration(city, f"440199{CODE}", org_code=CODE)
    city.now = "2015-11-20"
    city.update("aic.enterprise", {"ent_id": "E1"}, uscc=USCC)
    assert list(city.rows(ORGANISATION)) == ["aic:E1"]
    assert numbers(city) == {
        ("REGISTRATION_NO", REGISTRATION_NO): (days("2010-03-01"), None),
        ("ORG_CODE", CODE): (days("2010-03-11"), days("2018-03-11")),
        ("TAX_NO", f"440199{CODE}"): (days("2010-03-21"), None),
        ("USCC", USCC): (days("2015-11-20"), None),
    }
    mapped = {(row["id_type"], row["id_no"]): row["subject_key"] for row in city.rows(IDENTIFIER).values()}
    assert mapped == dict.fromkeys(numbers(city), "aic:E1")
    city.tick("2016-10-31")
    assert not city.queue()


def test_d1_a_code_within_the_uscc_that_is_another_is_a_conflict_and_nothing_is_overwritten(city: Rehearsal) -> None:
    enterprise(city, org_code=CODE)
    certificate(city)
    before = numbers(city)
    city.update("aic.enterprise", {"ent_id": "E1"}, uscc=OTHER_USCC)
    assert kinds(city) == ["ORG_CODE_MISMATCH"]
    assert numbers(city)["ORG_CODE", CODE] == before["ORG_CODE", CODE]
    registration(city, f"440199{OTHER_CODE}")
    city.tick("2016-10-31")
    assert "NO_MATCH" in kinds(city), "the other code leads nowhere while it is in dispute"
    city.update("aic.enterprise", {"ent_id": "E1"}, uscc=USCC)
    assert "ORG_CODE_MISMATCH" not in kinds(city)


def test_d1_a_certificate_through_the_registration_number_must_fit_the_uscc(city: Rehearsal) -> None:
    enterprise(city, registration_no=REGISTRATION_NO, uscc=OTHER_USCC)
    certificate(city, registration_no=REGISTRATION_NO)
    city.tick("2016-10-31")
    assert kinds(city) == ["ORG_CODE_MISMATCH"]
    assert ("ORG_CODE", CODE) not in numbers(city)


def test_d1_a_tax_registration_whose_own_numbers_differ_is_a_conflict(city: Rehearsal) -> None:
    enterprise(city, org_code=CODE)
    registration(city, f"440199{CODE}", org_code=OTHER_CODE)
    city.tick("2016-10-31")
    assert kinds(city) == ["ORG_CODE_MISMATCH"]
    assert "TAX_NO" not in methods(city)


# ── the ladder ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_o0_a_tax_number_that_is_the_uscc_matches_by_it(city: Rehearsal) -> None:
    registration(city, USCC)
    enterprise(city, uscc=USCC)
    assert methods(city) == {"TAX_NO": "O0", "USCC": "HOME"}


def test_o1_the_last_nine_of_a_tax_number_and_nine_characters_of_a_uscc_are_one_code(city: Rehearsal) -> None:
    registration(city, f"440199{CODE}")
    enterprise(city, uscc=USCC)
    certificate(city)
    assert methods(city) == {"ORG_CODE": "O1", "TAX_NO": "O1", "USCC": "HOME"}


def test_o2_a_registration_number_carries_the_code_and_what_hangs_on_the_code(city: Rehearsal) -> None:
    registration(city, f"440199{CODE}")
    certificate(city, registration_no=REGISTRATION_NO)
    enterprise(city, registration_no=REGISTRATION_NO)
    assert methods(city) == {"ORG_CODE": "O2", "REGISTRATION_NO": "HOME", "TAX_NO": "O2"}


def test_o3_name_region_and_owner_are_only_probable(city: Rehearsal) -> None:
    enterprise(city, kind="SOLE_TRADER", name="某某 小食店")
    registration(city, f"{OWNER}01", name="某某小食店")
    registration(city, OWNER, office="local_tax", name="别的店")
    city.tick("2016-10-31")
    assert kinds(city) == ["NO_MATCH", "PROBABLE"]
    assert not numbers(city)
    assert not city.rows(IDENTIFIER)
    (item,) = [item for item in city.queue() if item["kind"] == "PROBABLE"]
    assert "aic:E1" in item["subject_keys"]


def test_o3_asks_among_sole_traders_only(city: Rehearsal) -> None:
    enterprise(city, name="某某小食店")
    registration(city, f"{OWNER}01", name="某某小食店")
    city.tick("2016-10-31")
    assert kinds(city) == ["NO_MATCH"], "a tax number made of its owner's is a sole trader's: another population"


def test_an_organisation_is_first_published_with_its_own_numbers(city: Rehearsal) -> None:
    enterprise(city, uscc=USCC, registration_no=REGISTRATION_NO)
    (change,) = city.changes_of(ORGANISATION)
    assert change.after is not None
    assert len(change.after["identifiers"]) == 2


def test_a_row_without_an_entity_waits_a_while_before_a_person_is_asked(city: Rehearsal) -> None:
    registration(city, f"440199{CODE}")
    city.tick("2015-01-05")
    assert not city.queue()
    city.tick("2015-01-06")
    assert kinds(city) == ["NO_MATCH"]
    enterprise(city, org_code=CODE)
    assert not city.queue()
    assert "TAX_NO" in methods(city)


def test_updates_of_other_columns_change_nothing_and_reopen_nothing(city: Rehearsal) -> None:
    enterprise(city, uscc=USCC, org_code="bad")
    registration(city, USCC)
    registration(city, "1")
    certificate(city)
    city.tick("2015-02-01")
    told = len(city.history)
    city.now = "2016-01-01"
    city.update("aic.enterprise", {"ent_id": "E1"}, address="新址")
    city.update("state_tax.registration", {"tax_no": USCC}, tax_authority="新局")
    city.update("state_tax.registration", {"tax_no": "1"}, tax_authority="新局")
    city.update("qts.organisation_code", {"org_code": CODE}, source_row_version=2)
    assert len(city.history) == told


def test_a_number_that_fails_its_check_joins_nothing(city: Rehearsal) -> None:
    wrong = USCC[:-1] + ("A" if USCC[-1] != "A" else "B")
    enterprise(city, uscc=wrong, org_code="123456789", registration_no="1")
    registration(city, wrong, uscc=wrong)
    certificate(city, org_code="71000001" + ("1" if CODE[-1] != "1" else "2"))
    city.insert("civil.social_organisation", uscc=wrong, name="某会", kind="ASSOCIATION", status="ACTIVE")
    city.tick("2016-10-31")
    assert kinds(city) == [
        *["NO_MATCH", "ORG_CODE_INVALID", "ORG_CODE_INVALID", "REGISTRATION_NO_INVALID"],
        *["USCC_INVALID", "USCC_INVALID"],
    ]
    assert numbers(city) == {}


def test_a_placeholder_joins_nothing(city: Rehearsal) -> None:
    for ent_id in ("E1", "E2"):
        enterprise(city, ent_id, org_code="000000000")
    assert kinds(city) == ["ORG_CODE_INVALID", "ORG_CODE_INVALID"]


def test_both_offices_under_one_tax_number_make_one_identifier(city: Rehearsal) -> None:
    enterprise(city, uscc=USCC)
    registration(city, USCC, registered_date=days("2012-01-01"), status="CANCELLED", status_date=days("2014-01-01"))
    registration(city, USCC, office="local_tax", registered_date=days("2011-01-01"))
    assert numbers(city)["TAX_NO", USCC] == (days("2011-01-01"), None)


def test_two_offices_that_mean_different_organisations_link_neither(city: Rehearsal) -> None:
    enterprise(city, uscc=USCC)
    enterprise(city, "E2", uscc=OTHER_USCC)
    registration(city, f"{OWNER}01", uscc=USCC)
    registration(city, f"{OWNER}01", office="local_tax", uscc=OTHER_USCC)
    assert kinds(city) == ["TAX_NO_CLAIMED_TWICE"]
    assert "TAX_NO" not in methods(city)
    assert "TAX_NO" not in methods(city, "aic:E2")


# ── one code, several entities ───────────────────────────────────────────────────────────────────────────────────────


def test_two_live_entities_that_claim_one_uscc_are_a_conflict_and_neither_is_overwritten(city: Rehearsal) -> None:
    city.now = "2016-01-05"
    enterprise(city, uscc=USCC)
    registration(city, USCC)
    enterprise(city, "E2", registration_no=REGISTRATION_NO, status="REVOKED", status_date=days("2016-01-01"))
    city.now = "2016-05-05"
    before = city.rows(ORGANISATION)
    city.update("aic.enterprise", {"ent_id": "E2"}, uscc=USCC)
    assert kinds(city) == ["USCC_CLAIMED_TWICE"]
    assert city.rows(ORGANISATION) == before
    assert city.rows(IDENTIFIER)[f"USCC|{USCC}"]["subject_key"] == "aic:E1"
    (item,) = city.queue()
    assert [claim["value"] for claim in item["claims"]] == ["aic:E1", "aic:E2"]
    city.update("aic.enterprise", {"ent_id": "E2"}, uscc=None)
    assert not city.queue()


def test_a_uscc_whose_first_claimant_cannot_be_told_is_nobodys(city: Rehearsal) -> None:
    columns = {"uscc": USCC, "kind": "ENTERPRISE", "status": "ACTIVE"}
    rows = [city.row("aic.enterprise", {"ent_id": ent_id, **columns}) for ent_id in ("E1", "E2")]
    changes = [
        city.change("aic.enterprise", None, row, Op.READ) for row in rows
    ]  # a snapshot's rows share its position
    city.take(dataclasses.replace(change, position=changes[0].position) for change in changes)
    assert kinds(city) == ["USCC_CLAIMED_TWICE"]
    assert not city.rows(IDENTIFIER)


def test_a_uscc_reissued_after_deregistration_passes_on(city: Rehearsal) -> None:
    enterprise(city, uscc=USCC)
    registration(city, f"440199{CODE}")
    city.now = "2016-05-05"
    city.update("aic.enterprise", {"ent_id": "E1"}, status="DEREGISTERED", status_date=days("2016-05-01"))
    assert city.rows(IDENTIFIER)[f"USCC|{USCC}"]["valid_to"] == days("2016-05-01")
    city.now = "2016-08-01"
    enterprise(city, "E2", uscc=USCC, established=days("2016-07-01"))
    registration(city, USCC, office="local_tax", registered_date=days("2016-07-11"))
    assert not city.queue()
    assert city.rows(IDENTIFIER)[f"USCC|{USCC}"]["subject_key"] == "aic:E2"
    assert numbers(city) == {
        ("USCC", USCC): (days("2015-10-01"), days("2016-05-01")),
        ("TAX_NO", f"440199{CODE}"): (days("2010-03-21"), None),
    }
    assert numbers(city, "aic:E2") == {
        ("USCC", USCC): (days("2016-07-01"), None),
        ("TAX_NO", USCC): (days("2016-07-11"), None),
    }


def test_an_entity_whose_uscc_is_replaced_keeps_the_former_with_its_end(city: Rehearsal) -> None:
    enterprise(city, uscc=USCC)
    registration(city, USCC)
    city.now = "2016-05-05"
    city.update("aic.enterprise", {"ent_id": "E1"}, uscc=OTHER_USCC)
    assert numbers(city)["USCC", USCC] == (days("2015-10-01"), days("2016-05-05"))
    assert numbers(city)["USCC", OTHER_USCC] == (days("2016-05-05"), None)
    assert methods(city)["TAX_NO"] == "O0", "who still writes the former code still means this entity"
    assert not city.queue()


def test_a_merged_institution_ends_and_keeps_what_it_was(city: Rehearsal) -> None:
    code = uscc(CODE, "12")
    city.insert("staffing.institution", uscc=code, name="某院", kind="INSTITUTION", status="ACTIVE")
    certificate(city)
    city.now = "2016-05-05"
    city.update("staffing.institution", {"uscc": code}, status="MERGED", status_date=days("2016-05-01"))
    org = f"staffing:{code}"
    assert timeline(city, org) == [("ACTIVE", None), ("MERGED", days("2016-05-01"))]
    assert numbers(city, org)["USCC", code] == (days("2015-10-01"), days("2016-05-01"))
    assert numbers(city, org)["ORG_CODE", CODE] == (days("2010-03-11"), days("2018-03-11")), (
        "its register has no end yet"
    )


def test_a_code_of_an_entity_that_ended_before_there_were_codes_still_leads_to_it(city: Rehearsal) -> None:
    enterprise(city, uscc=USCC, status="DEREGISTERED", status_date=days("2014-05-01"))
    registration(city, USCC)
    assert numbers(city)["USCC", USCC] == (None, days("2014-05-01"))
    assert methods(city)["TAX_NO"] == "O0"


def test_who_was_restored_after_the_code_passed_on_is_a_conflict(city: Rehearsal) -> None:
    enterprise(city, uscc=USCC, status="DEREGISTERED", status_date=days("2016-01-01"))
    city.now = "2016-03-01"
    enterprise(city, "E2", uscc=USCC, established=days("2016-02-01"))
    assert not city.queue()
    city.update("aic.enterprise", {"ent_id": "E1"}, status="ACTIVE", status_date=days("2016-03-01"))
    assert kinds(city) == ["USCC_CLAIMED_TWICE"]


def test_an_entity_split_off_with_the_registration_number_of_the_old_one_is_a_conflict(city: Rehearsal) -> None:
    enterprise(city, registration_no=REGISTRATION_NO)
    city.now = "2016-05-05"
    enterprise(city, "E2", registration_no=REGISTRATION_NO, established=days("2016-05-01"))
    assert kinds(city) == ["REGISTRATION_NO_CLAIMED_TWICE"]
    assert numbers(city, "aic:E2") == {}


# ── status ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_revoked_then_restored_is_three_periods_and_no_deletion(city: Rehearsal) -> None:
    enterprise(city, uscc=USCC)
    city.update("aic.enterprise", {"ent_id": "E1"}, status="REVOKED", status_date=days("2016-02-01"))
    city.update("aic.enterprise", {"ent_id": "E1"}, status="ACTIVE", status_date=days("2016-06-01"))
    assert timeline(city) == [
        ("ACTIVE", days("2010-03-01")),
        ("REVOKED", days("2016-02-01")),
        ("ACTIVE", days("2016-06-01")),
    ]
    assert numbers(city)["USCC", USCC][1] is None
    assert all(change.after is not None for change in city.changes_of(ORGANISATION))


def test_registered_changes_tell_of_the_time_before_the_first_version(city: Rehearsal) -> None:
    enterprise(city)
    for seq, (status, day) in enumerate((("REVOKED", "2012-01-01"), ("ACTIVE", "2013-01-01")), start=1):
        city.insert(
            "aic.enterprise_change",
            ent_id="E1",
            seq=seq,
            item="STATUS",
            new_value=status,
            changed_date=days(day),
        )
    city.insert(
        "aic.enterprise_change", ent_id="E1", seq=3, item="NAME", new_value="新名", changed_date=days("2014-01-01")
    )
    assert [status for status, _ in timeline(city)] == ["ACTIVE", "REVOKED", "ACTIVE"]
    city.insert(
        "aic.enterprise_change", ent_id="E1", seq=4, item="STATUS", new_value="迁走", changed_date=days("2014-01-01")
    )
    assert kinds(city) == ["STATUS_UNKNOWN"]
    city.delete("aic.enterprise_change", {"ent_id": "E1", "seq": 1})
    assert timeline(city) == [("ACTIVE", days("2010-03-01"))]


def test_a_correction_of_the_past_takes_back_what_earlier_versions_said(city: Rehearsal) -> None:
    enterprise(city)
    city.update("aic.enterprise", {"ent_id": "E1"}, status="REVOKED", status_date=days("2016-05-01"))
    city.update("aic.enterprise", {"ent_id": "E1"}, status_date=days("2016-04-01"))
    assert timeline(city)[-1] == ("REVOKED", days("2016-04-01"))
    city.update("aic.enterprise", {"ent_id": "E1"}, status="ACTIVE", status_date=days("2016-03-01"))
    assert [status for status, _ in timeline(city)] == ["ACTIVE"]


def test_a_cancellation_is_a_status_and_a_deletion_is_a_deletion(city: Rehearsal) -> None:
    enterprise(city, uscc=USCC)
    registration(city, USCC)
    city.update("aic.enterprise", {"ent_id": "E1"}, status="DEREGISTERED", status_date=days("2016-02-01"))
    assert city.rows(ORGANISATION)["aic:E1"]["status"] == "DEREGISTERED"
    city.delete("aic.enterprise", {"ent_id": "E1"})
    assert not city.rows(ORGANISATION)
    assert not city.rows(IDENTIFIER)
    assert city.changes_of(ORGANISATION)[-1].reason == "SOURCE_DELETED"
    city.tick("2016-10-31")
    assert kinds(city) == ["NO_MATCH"]


def test_a_row_written_anew_after_a_deletion_has_no_past(city: Rehearsal) -> None:
    enterprise(city, uscc=OTHER_USCC, status="REVOKED", status_date=days("2014-01-01"))
    city.delete("aic.enterprise", {"ent_id": "E1"})
    city.now = "2016-01-01"
    enterprise(city, uscc=USCC)
    assert timeline(city) == [("ACTIVE", days("2010-03-01"))]
    assert numbers(city) == {("USCC", USCC): (days("2015-10-01"), None)}


# ── D2, D3 ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_d2_coverage_is_stated_per_population_with_both_numbers_and_a_definition(city: Rehearsal) -> None:
    issue = Numbers()
    for number in range(1000):
        kind = "SOLE_TRADER" if number % 5 == 4 else "ENTERPRISE"
        code = issue.uscc("91", issue.org_code(is_new=False)) if number < 129 else None
        enterprise(city, f"E{number}", kind=kind, uscc=code)
    city.tick("2016-10-31")
    rows = city.rows(COVERAGE)
    (declared,) = [row for row in rows.values() if row["is_declared_base"]]
    assert declared["share_numerator"] / declared["share_denominator"] == pytest.approx(0.129)
    assert (declared["entities"], declared["with_uscc"], declared["with_valid_uscc"]) == (1000, 129, 129)
    assert rows["SOLE_TRADER_EVER"]["entities"] == 200, "sole traders are a population of their own"
    assert rows["ENTERPRISE_EVER"]["entities"] == 800
    assert all(row["definition"] for row in rows.values())


def test_d2_coverage_follows_changes_and_a_wrong_code_counts_as_written_down_only(city: Rehearsal) -> None:
    enterprise(city, uscc="91440199MA0000015X")
    city.tick("2016-10-31")
    row = city.rows(COVERAGE)["COMMERCE_LIVE"]
    assert (row["entities"], row["with_uscc"], row["with_valid_uscc"]) == (1, 1, 0)
    city.update("aic.enterprise", {"ent_id": "E1"}, status="DEREGISTERED", status_date=days("2016-02-01"), uscc=USCC)
    city.tick("2016-11-01")
    assert "COMMERCE_LIVE" not in city.rows(COVERAGE)
    assert city.rows(COVERAGE)["COMMERCE_EVER"]["with_valid_uscc"] == 1


def test_d3_entities_are_as_many_as_rows_of_the_home_registries(city: Rehearsal) -> None:
    issue = Numbers()
    for number in range(30):
        enterprise(city, f"E{number}", kind=("ENTERPRISE", "SOLE_TRADER", "FARMER_COOP")[number % 3])
    for kind, feed, authority in (
        ("GOVERNMENT", "staffing.institution", "11"),
        ("INSTITUTION", "staffing.institution", "12"),
        ("FOUNDATION", "civil.social_organisation", "53"),
    ):
        code = issue.uscc(authority, issue.org_code(is_new=False))
        city.insert(feed, uscc=code, name="某某", kind=kind, region="440105", status="ACTIVE")
    city.tick("2016-10-31")
    entities = {key: row["entities"] for key, row in city.rows(COVERAGE).items()}
    assert entities["ALL_EVER"] == len(city.rows(ORGANISATION)) == 33
    assert entities["COMMERCE_EVER"] == 30
    assert [entities[f"{kind}_EVER"] for kind in ("ENTERPRISE", "SOLE_TRADER", "FARMER_COOP")] == [10, 10, 10]
    assert [entities[f"{kind}_EVER"] for kind in ("GOVERNMENT", "INSTITUTION", "SOCIAL_ORGANISATION")] == [1, 1, 1]


def _raw(value: Any) -> Any:
    match value:
        case datetime():
            return round(value.timestamp() * 1_000_000)
        case date():
            return days(value.isoformat())
        case _:
            return value


def test_d2_d3_the_demo_city_has_1930_entities_and_a_coverage_of_12_9_percent() -> None:
    demo = City(SEED)
    people.settle(demo)
    firms.found(demo)
    city = Rehearsal(FLOW)
    for entry in FLOW.inputs:
        kept = {*entry.columns, *city.contracts[entry.feed].key}
        for row in demo.rolls[entry.feed]:
            known = {name: _raw(value) if name in kept else None for name, value in row.items()}
            city.take([city.change(entry.feed, None, known, Op.READ)])
    city.tick("2016-11-05")
    rows = city.rows(COVERAGE)
    assert rows["ALL_EVER"]["entities"] == len(city.rows(ORGANISATION)) == 1930
    assert rows["COMMERCE_EVER"]["entities"] == len(demo.rolls["aic.enterprise"])
    assert rows["SOCIAL_ORGANISATION_EVER"]["entities"] == len(demo.rolls["civil.social_organisation"])
    institutions = rows["INSTITUTION_EVER"]["entities"] + rows["GOVERNMENT_EVER"]["entities"]
    assert institutions == len(demo.rolls["staffing.institution"])
    (declared,) = [row for row in rows.values() if row["is_declared_base"]]
    assert round(declared["share_numerator"] / declared["share_denominator"], 3) == 0.129
    unfit = declared["with_uscc"] - declared["with_valid_uscc"]
    assert kinds(city).count("USCC_INVALID") == unfit, "what is written down and is no code waits in the queue"
