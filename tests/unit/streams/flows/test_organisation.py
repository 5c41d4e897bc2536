from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable
from random import Random
from typing import Any

import pytest

from ops.city.numbers import Numbers
from schemas.change import Change, Op
from schemas.identifiers import citizen_check, org_code_check, uscc_check
from streams.flows.organisation import FLOW
from tests.rehearsal import Rehearsal, days, interleavings, micros

ORGANISATION, IDENTIFIER = "base.organisation", "base.organisation_identifier"
CONFLICT, COVERAGE = "base.organisation_conflict", "base.uscc_coverage"
SEED = 20161031
FEEDS = {"aic": "aic.enterprise", "civil": "civil.social_organisation", "staffing": "staffing.institution"}

CODE = "710000014"[:8]
CODE += org_code_check(CODE)
OTHER_CODE = "72000001" + org_code_check("72000001")
REGISTRATION_NO = "440199000000014"


def uscc(org_code: str, authority: str = "91") -> str:
    first = f"{authority}440199{org_code}"
    return first + uscc_check(first)


USCC = uscc(CODE)
OTHER_USCC = uscc(OTHER_CODE)
OWNER = "44019919900101001" + citizen_check("44019919900101001")


@pytest.fixture
def city() -> Iterable[Rehearsal]:
    rehearsal = Rehearsal(FLOW, now="2015-01-05")
    yield rehearsal
    rehearsal.check_rows()
    for row in rehearsal.rows(ORGANISATION).values():
        assert_no_overlap(row["status_timeline"])


def assert_no_overlap(periods: list[dict[str, Any]]) -> None:
    for period, follower in itertools.pairwise(periods):
        assert period["valid_to"] == follower["valid_from"], "periods meet, none overlaps"
        assert period["status"] != follower["status"]
    assert periods[-1]["valid_to"] is None


def enterprise(city: Rehearsal, ent_id: str = "E1", **columns: Any) -> Change:
    given = {
        "name": "广州海珠某某商行",
        "kind": "ENTERPRISE",
        "industry": "F",
        "legal_rep_id": OWNER,
        "reg_region": "440105",
        "established": days("2010-03-01"),
        "status": "ACTIVE",
    }
    return city.insert("aic.enterprise", ent_id=ent_id, **{**given, **columns})


def certificate(city: Rehearsal, org_code: str = CODE, **columns: Any) -> Change:
    given = {"issued_date": days("2010-03-11"), "valid_to": days("2018-03-10"), "status": "VALID"}
    return city.insert("qts.organisation_code", org_code=org_code, **{**given, **columns})


def registration(city: Rehearsal, tax_no: str, office: str = "state_tax", **columns: Any) -> Change:
    given = {"name": "某某", "region": "440105", "registered_date": days("2010-03-21"), "status": "NORMAL"}
    return city.insert(f"{office}.registration", tax_no=tax_no, **{**given, **columns})


def kinds(city: Rehearsal) -> list[str]:
    return sorted(item["kind"] for item in city.queue())


def numbers(city: Rehearsal, org: str = "aic:E1") -> dict[tuple[str, str], tuple[Any, Any]]:
    row = city.rows(ORGANISATION)[org]
    return {(entry["type"], entry["value"]): (entry["valid_from"], entry["valid_to"]) for entry in row["identifiers"]}


def methods(city: Rehearsal, org: str = "aic:E1") -> dict[str, str]:
    return {entry["type"]: entry["match_method"] for entry in city.rows(ORGANISATION)[org]["identifiers"]}


def timeline(city: Rehearsal, org: str = "aic:E1") -> list[tuple[str, int | None]]:
    return [(entry["status"], entry["valid_from"]) for entry in city.rows(ORGANISATION)[org]["status_timeline"]]


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


def test_a_row_without_an_entity_waits_a_while_before_a_person_is_asked(city: Rehearsal) -> None:
    registration(city, f"440199{CODE}")
    city.tick("2015-01-05")
    assert not city.queue()
    city.tick("2015-01-06")
    assert kinds(city) == ["NO_MATCH"]
    enterprise(city, org_code=CODE)
    assert not city.queue()
    assert "TAX_NO" in methods(city)


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


# ── any order ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _scenes(city: Rehearsal) -> dict[str, list[Change]]:
    """A few entities' lives with every trouble in them, as one list of changes per feed."""
    told: list[Change] = []
    issue = Numbers()
    third = issue.uscc("91", issue.org_code(is_new=True))

    def note(change: Change) -> None:
        told.append(change)

    note(enterprise(city, registration_no=REGISTRATION_NO))
    note(certificate(city, registration_no=REGISTRATION_NO))
    note(registration(city, f"440199{CODE}"))
    note(registration(city, f"440199{CODE}", office="local_tax", registered_date=days("2009-01-01")))
    note(enterprise(city, "E2", org_code=OTHER_CODE, established=days("2011-01-01")))
    note(enterprise(city, "E3", kind="SOLE_TRADER", name="小店"))
    note(registration(city, f"{OWNER}01", name="小店"))
    note(registration(city, "99999", office="local_tax"))
    city.now = "2015-12-01"
    note(city.update("aic.enterprise", {"ent_id": "E1"}, uscc=USCC))
    note(registration(city, USCC, office="local_tax", uscc=USCC))
    city.now = "2016-01-01"
    note(city.update("aic.enterprise", {"ent_id": "E2"}, uscc=USCC))
    note(
        city.insert(
            "aic.enterprise_change",
            ent_id="E2",
            seq=1,
            item="STATUS",
            new_value="REVOKED",
            changed_date=days("2012-01-01"),
        )
    )
    city.now = "2016-02-01"
    note(city.update("aic.enterprise", {"ent_id": "E1"}, status="DEREGISTERED", status_date=days("2016-01-20")))
    note(city.insert("civil.social_organisation", uscc=third, name="会", kind="FOUNDATION", status="ACTIVE"))
    note(enterprise(city, "E4", uscc=third, established=days("2016-01-01")))
    note(city.update("state_tax.registration", {"tax_no": f"440199{CODE}"}, uscc=third))
    note(city.delete("qts.organisation_code", {"org_code": CODE}))
    note(certificate(city, registration_no=REGISTRATION_NO, issued_date=days("2015-12-05")))
    note(certificate(city, OTHER_CODE))
    feeds: dict[str, list[Change]] = {}
    for change in told:
        feeds.setdefault(change.feed, []).append(change)
    return feeds


def _state(city: Rehearsal) -> dict[str, Any]:
    return {feed: city.rows(feed) for feed in FLOW.outputs}


def test_any_interleaving_of_the_registers_ends_in_the_same_archive(city: Rehearsal) -> None:
    scenes = _scenes(city)
    city.tick("2016-10-31")
    expected = _state(city)
    found = set(kinds(city))
    assert found >= {"USCC_CLAIMED_TWICE", "NO_MATCH", "PROBABLE"}, "the scenes have their troubles"
    for number, changes in enumerate(interleavings(scenes.values(), seed=SEED, count=150)):
        other = Rehearsal(FLOW, city.contracts)
        other.take(changes)
        other.tick("2016-10-31")
        assert _state(other) == expected, f"seed {SEED}, interleaving {number}"


def _random_world(city: Rehearsal, rng: Random) -> dict[str, list[Change]]:
    """Registers written at random over few numbers, so that everything meets everything."""
    issue = Numbers()
    codes = [issue.org_code(is_new=False) for _ in range(3)]
    usccs = [uscc(code) for code in codes] + [uscc(codes[0], "92"), "bad", None, None]
    registrations = [issue.registration_no(), issue.registration_no(), None]
    tax_nos = [*usccs[:2], *(f"440199{code}" for code in codes), f"{OWNER}01"]
    statuses = ["ACTIVE", "ACTIVE", "REVOKED", "DEREGISTERED", "MOVED_OUT", "?"]

    def day(first: str = "2010-01-01") -> int:
        return days(first) + rng.randrange(2400)

    def draw(feed: str) -> dict[str, Any]:
        ended = {"status_date": rng.choice([None, day()])}
        match feed:
            case "aic.enterprise":
                key = {"ent_id": rng.choice(["E1", "E2", "E3"]), "uscc": rng.choice(usccs), "name": "店"}
                key |= {"org_code": rng.choice([None, None, *codes]), "registration_no": rng.choice(registrations)}
                key |= {
                    "kind": rng.choice(["ENTERPRISE", "SOLE_TRADER"]),
                    "legal_rep_id": OWNER,
                    "reg_region": "440105",
                }
                return key | {"established": rng.choice([day(), None]), "status": rng.choice(statuses), **ended}
            case "aic.enterprise_change":
                key = {"ent_id": rng.choice(["E1", "E2", "E3"]), "seq": rng.randrange(3), "item": "STATUS"}
                return key | {"new_value": rng.choice(statuses), "changed_date": day()}
            case "qts.organisation_code":
                key = {"org_code": rng.choice(codes), "registration_no": rng.choice(registrations)}
                return key | {
                    "issued_date": day(),
                    "valid_to": day(),
                    "status": rng.choice(["VALID", "EXPIRED"]),
                    **ended,
                }
            case "staffing.institution" | "civil.social_organisation":
                return {"uscc": rng.choice(usccs[:4]), "kind": "FOUNDATION", "status": rng.choice(statuses), **ended}
            case _:
                key = {"tax_no": rng.choice(tax_nos), "uscc": rng.choice(usccs), "name": "店", "region": "440105"}
                key |= {"org_code": rng.choice([None, *codes]), "status": rng.choice(["NORMAL", "CANCELLED"]), **ended}
                return key | {"registered_date": rng.choice([None, day()])}

    feeds: dict[str, list[Change]] = {}
    present: dict[tuple[str, str], dict[str, Any]] = {}
    sources = [entry.feed for entry in FLOW.inputs] + ["aic.enterprise"] * 3
    for number in range(30):
        city.now = f"2016-{1 + number // 3:02}-{1 + number % 3 * 9:02}"
        feed = rng.choice(sources)
        row = draw(feed)
        key = tuple(row[name] for name in city.contracts[feed].key)
        place = feed, str(key)
        if place not in present:
            change = city.insert(feed, **row)
        elif rng.random() < 0.2:
            change = city.delete(feed, row)
            del present[place]
            feeds[feed].append(change)
            continue
        else:
            change = city.update(feed, row, **{name: row[name] for name in rng.sample(sorted(row), len(row) // 2)})
        present[place] = row
        feeds.setdefault(feed, []).append(change)
    return feeds


@pytest.mark.parametrize("seed", range(SEED, SEED + 40))
def test_any_interleaving_of_registers_written_at_random_ends_in_the_same_archive(seed: int) -> None:
    city = Rehearsal(FLOW)
    feeds = _random_world(city, Random(seed))
    city.tick("2016-12-31")
    city.check_rows()
    assert "FOLD_FAILED" not in kinds(city)
    assert "NOT_UNDERSTOOD" not in kinds(city)
    expected = _state(city)
    for row in expected[ORGANISATION].values():
        assert_no_overlap(row["status_timeline"])
        assert row["status_timeline"][-1]["status"] == row["status"]
        for entry in row["identifiers"]:
            is_own = entry["source"] == FEEDS[row["organisation_id"].partition(":")[0]]
            if is_own and entry["valid_from"] is not None and entry["valid_to"] is not None:
                assert entry["valid_from"] < entry["valid_to"]
    for number, changes in enumerate(interleavings(feeds.values(), seed=seed, count=8)):
        other = Rehearsal(FLOW, city.contracts)
        other.take(changes)
        other.tick("2016-12-31")
        assert _state(other) == expected, f"seed {seed}, interleaving {number}"


def test_any_interleaving_with_ticks_between_ends_in_the_same_archive(city: Rehearsal) -> None:
    scenes = _scenes(city)
    city.tick("2016-10-31")
    expected = _state(city)
    for number, changes in enumerate(interleavings(scenes.values(), seed=SEED + 1, count=30)):
        other = Rehearsal(FLOW, city.contracts)
        for change in changes:
            other.take([change])
            other.tick(change.committed_at_ms * 1000)
        other.tick(micros("2016-10-31"))
        assert _state(other) == expected, f"seed {SEED + 1}, interleaving {number}"
