from __future__ import annotations

import itertools
from datetime import date
from random import Random

import pytest

from ops.city.numbers import Numbers, fifteen_digits
from schemas.errors import Misconfigured
from streams.flows.credit import FLOW
from streams.flows.credit.objection import value_hash
from streams.flows.credit.record import record_id_of
from streams.flows.credit.sources import FEEDS, KINDS, VIEWS
from streams.flows.credit.views import check, tables_at
from streams.operators.publish import breaches, field_tables, row_breaches
from tests.stage.rehearsal import Rehearsal, cents, city_contracts, days, interleavings

SEED = 20161031
RNG = Random(SEED)
NUMBERS = Numbers()
ORG_CODE = NUMBERS.org_code(is_new=True)
USCC = NUMBERS.uscc("91", ORG_CODE)
REGISTRATION_NO = NUMBERS.registration_no()
INSTITUTION = NUMBERS.uscc("12", NUMBERS.org_code(is_new=False))
GOVERNMENT = NUMBERS.uscc("11", NUMBERS.org_code(is_new=False))
SOCIAL = NUMBERS.uscc("51", NUMBERS.org_code(is_new=False))
PERSON = NUMBERS.citizen_id(RNG, date(1975, 8, 15), "1")
CONTRACTS = city_contracts()
VIEW_FEEDS = [f"credit.view_{name}" for name in VIEWS]
ALL_VIEWS = {"public": 1, "professional": 1, "government": 1}


@pytest.fixture
def city() -> Rehearsal:
    city = Rehearsal(FLOW, CONTRACTS)
    city.insert(
        "aic.enterprise",
        ent_id="E1",
        uscc=USCC,
        registration_no=REGISTRATION_NO,
        org_code=ORG_CODE,
        name="广州甲食品有限公司",
        status="ACTIVE",
    )
    city.insert("staffing.institution", uscc=INSTITUTION, name="某事业单位", kind="INSTITUTION", status="ACTIVE")
    city.insert("staffing.institution", uscc=GOVERNMENT, name="某机关", kind="GOVERNMENT", status="ACTIVE")
    city.insert("civil.social_organisation", uscc=SOCIAL, name="某协会", kind="ASSOCIATION", status="ACTIVE")
    city.tick("2016-10-31")
    return city


def penalise(city: Rehearsal, decision_no: str = "P1", **columns: object) -> str:
    row = {
        "decision_no": decision_no,
        "subject_kind": "ENTERPRISE",
        "subject_id": USCC,
        "subject_name": "广州甲食品有限公司",
        "cause": "经营过期食品",
        "result": "罚款",
        "amount": cents("5000.00"),
        "decided_date": days("2016-06-01"),
        "publish_until": days("2017-06-01"),
    }
    city.insert("fda.penalty", **(row | columns))
    return record_id_of("fda.penalty", decision_no)


def seen_in(city: Rehearsal, record_id: str) -> dict[str, int]:
    return {name: 1 for name in VIEWS if record_id in city.rows(f"credit.view_{name}")}


def list_entry(city: Rehearsal, list_no: str, kind: str, number: str | None, name: str, list_kind: str = "RED") -> str:
    city.insert(
        "aic.credit_list",
        list_no=list_no,
        list_kind=list_kind,
        subject_kind=kind,
        subject_id=number,
        subject_name=name,
        cause="诚信经营",
        listed_date=days("2016-05-01"),
    )
    return record_id_of("aic.credit_list", list_no)


def test_i1_every_record_lands_in_one_database_or_unmatched_and_totals_reconcile(city: Rehearsal) -> None:
    subjects = {
        "ENTERPRISE": USCC,
        "PERSON": PERSON,
        "INSTITUTION": INSTITUTION,
        "GOVERNMENT": GOVERNMENT,
        "SOCIAL_ORGANISATION": SOCIAL,
    }
    for kind, number in subjects.items():
        list_entry(city, kind, kind, number, "某主体")
    wrong = {
        "KIND_UNKNOWN": ("ALIEN", USCC),
        "ID_MISSING": ("ENTERPRISE", None),
        "ID_INVALID": ("ENTERPRISE", "12345"),
        "NO_MATCH": ("ENTERPRISE", NUMBERS.uscc("91", NUMBERS.org_code(is_new=True))),
        "KIND_MISMATCH": ("ENTERPRISE", SOCIAL),
        "AMBIGUOUS": ("PERSON", "440199960229997"),
    }
    for reason, (kind, number) in wrong.items():
        list_entry(city, reason, kind, number, "某主体")
    list_entry(city, "person in disguise", "ENTERPRISE", PERSON, "王小明")
    assert {kind: len(city.rows(f"credit.{kind.lower()}")) for kind in KINDS} == dict.fromkeys(KINDS, 1)
    reasons = {row["record_id"]: row["reason"] for row in city.rows("credit.unmatched").values()}
    assert reasons == {
        **{record_id_of("aic.credit_list", reason): reason for reason in wrong},
        record_id_of("aic.credit_list", "person in disguise"): "KIND_MISMATCH",
    }
    assert sorted(item["kind"] for item in city.queue()) == ["AMBIGUOUS", "KIND_MISMATCH", "KIND_MISMATCH"]
    city.tick("2016-11-01")
    city.tick("2016-11-02")
    total = city.rows("credit.statistic")["ALL"]
    assert (total["received"], total["unmatched"], total["pending"], total["is_balanced"]) == (12, 7, 0, True)
    assert sum(total[kind.lower()] for kind in KINDS) + total["unmatched"] == total["received"]
    city.delete("aic.credit_list", {"list_no": "PERSON"})
    city.tick("2016-11-03")
    city.tick("2016-11-04")
    assert city.rows("credit.statistic")["ALL"]["received"] == 11
    city.check_rows()


def test_i1_the_same_enterprise_by_any_of_its_numbers_also_one_that_is_registered_later(city: Rehearsal) -> None:
    for number, method in ((USCC, "O0"), (ORG_CODE, "O1"), (REGISTRATION_NO, "O2")):
        record_id = penalise(city, method, subject_id=number)
        row = city.rows("credit.enterprise")[record_id]
        assert (row["subject_key"], row["match_method"]) == ("aic:E1", method)
    late = NUMBERS.registration_no()
    record_id = penalise(city, "P9", subject_id=late)
    assert city.rows("credit.unmatched")[record_id]["reason"] == "NO_MATCH"
    city.insert("aic.enterprise", ent_id="E2", registration_no=late, name="乙店", status="ACTIVE")
    assert not city.rows("credit.unmatched")
    assert city.rows("credit.enterprise")[record_id]["subject_key"] == "aic:E2"
    short = penalise(city, "P10", subject_kind="PERSON", subject_id=fifteen_digits(PERSON), subject_name="王小明")
    assert city.rows("credit.person")[short]["subject_key"] == f"person:{PERSON}"
    city.check_rows()


def test_i1_two_live_owners_of_one_number_are_a_conflict_a_dead_one_is_not(city: Rehearsal) -> None:
    record_id = penalise(city)
    city.insert("aic.enterprise", ent_id="E9", uscc=USCC, name="冒名公司", status="ACTIVE")
    assert city.rows("credit.unmatched")[record_id]["reason"] == "AMBIGUOUS"
    city.update("aic.enterprise", {"ent_id": "E9"}, status="DEREGISTERED")
    assert city.rows("credit.enterprise")[record_id]["subject_key"] == "aic:E1"
    assert not city.queue()


def test_i2_public_is_in_professional_is_in_government(city: Rehearsal) -> None:
    penalise(city)
    penalise(city, "P2", subject_kind="PERSON", subject_id=PERSON, subject_name="王小明")
    list_entry(city, "L1", "INSTITUTION", INSTITUTION, "某事业单位")
    city.insert(
        "hrss.insurance_arrears",
        employer_uscc=USCC,
        insurance_kind="PENSION",
        period="201609",
        employer_name="广州甲食品有限公司",
        amount=cents("120.50"),
        due_date=days("2016-09-30"),
    )
    for sort, tables in tables_at(0).items():
        rows = [
            {
                identity: row
                for identity, row in city.rows(feed).items()
                if (row["subject_kind"] == "PERSON") == (sort == "person")
            }
            for feed in VIEW_FEEDS
        ]
        for place, (narrow, wide) in enumerate(itertools.pairwise(VIEWS)):
            assert set(tables[narrow].columns) < set(tables[wide].columns)
            assert breaches(tables[narrow], tables[wide]) == []
            same = ("record_id", "disputed", "corrected")
            assert row_breaches(rows[place], rows[place + 1], tables[narrow], equal=same) == []
    assert [len(city.rows(feed)) for feed in VIEW_FEEDS] == [3, 4, 4], "arrears are not for the public"
    public = city.rows("credit.view_public")[record_id_of("fda.penalty", "P2")]
    assert (public["subject_name"], public["subject_id"], public["detail"]) == ("王*明", None, None)
    assert PERSON not in str(city.rows("credit.view_public"))
    assert PERSON not in str(city.rows("credit.view_professional"))
    city.check_rows()


def test_i2_a_field_table_that_opens_more_to_the_public_is_refused() -> None:
    lines = [{"column": "subject_id", "public": "FULL", "professional": "MASK", "government": "FULL"}]
    with pytest.raises(Misconfigured, match="public shows more of a person's subject_id"):
        check("person", field_tables(lines, "test"))


def test_i3_at_publish_until_it_leaves_all_three_views_at_once_without_any_source_action(city: Rehearsal) -> None:
    record_id = penalise(city)
    assert seen_in(city, record_id) == ALL_VIEWS
    city.tick("2017-05-31T23:59:59+08:00")
    assert seen_in(city, record_id) == ALL_VIEWS
    assert city.rows("credit.joint_punishment")
    before = len(city.history)
    city.tick("2017-06-01")
    gone = [change for change in city.history[before:] if change.after is None]
    views = [change for change in gone if change.feed in VIEW_FEEDS]
    assert sorted(change.feed for change in views) == sorted(VIEW_FEEDS)
    assert {change.reason for change in gone} == {"PUBLICATION_EXPIRED"}
    assert len({change.position.major for change in views}) == 1, "one fold, one batch"
    assert not city.rows("credit.joint_punishment")
    assert city.rows("credit.enterprise")[record_id]["state"] == "EXPIRED"
    city.check_rows()


def test_i3_a_term_that_is_prolonged_or_over_on_arrival(city: Rehearsal) -> None:
    record_id = penalise(city)
    city.update("fda.penalty", {"decision_no": "P1"}, publish_until=days("2018-06-01"))
    city.tick("2017-06-02")
    assert seen_in(city, record_id) == ALL_VIEWS
    late = penalise(city, "P2", publish_until=days("2016-12-01"))
    assert seen_in(city, late) == {}


def object_to(city: Rehearsal, record_id: str, objection_id: str = "Y1", **columns: object) -> None:
    entry = FEEDS.at(0, "fda.penalty")
    city.insert(
        "aic.credit_objection",
        objection_id=objection_id,
        record_id=record_id,
        **(
            {
                "field": "amount",
                "seen_value_hash": value_hash(entry, "amount", cents("5000.00")),
                "raised_at": 1_477_900_000_000_000,
                "state": "OPEN",
                **columns,
            }
        ),
    )


def doubts(city: Rehearsal, record_id: str) -> set[tuple[bool, bool]]:
    rows = [city.rows(feed)[record_id] for feed in (*VIEW_FEEDS, "credit.enterprise")]
    return {(row["disputed"], row["corrected"]) for row in rows}


def test_i4_disputed_while_open_corrected_once_the_value_is(city: Rehearsal) -> None:
    record_id = penalise(city)
    object_to(city, record_id)
    assert doubts(city, record_id) == {(True, False)}
    city.update("aic.credit_objection", {"objection_id": "Y1"}, state="PROVIDER_CHECKING")
    city.update("aic.credit_objection", {"objection_id": "Y1"}, state="UPHELD", decided_at=1_477_990_000_000_000)
    assert doubts(city, record_id) == {(True, False)}, "the wrong value still stands"
    correction = city.change(
        "fda.penalty",
        city.row("fda.penalty", {"decision_no": "P1"}),
        city.row(
            "fda.penalty",
            {"decision_no": "P1", "subject_kind": "ENTERPRISE", "subject_id": USCC, "amount": cents("500.00")},
        ),
    )
    city.take([correction])
    assert doubts(city, record_id) == {(False, True)}
    row = city.rows("credit.objection")["Y1"]
    assert (row["state"], row["correction_position"]) == ("CORRECTED", str(correction.position))
    assert row["correction_of"] == value_hash(FEEDS.at(0, "fda.penalty"), "amount", cents("5000.00"))
    city.check_rows()


def test_i4_a_rejected_objection_leaves_the_record_as_it_was(city: Rehearsal) -> None:
    record_id = penalise(city)
    object_to(city, record_id)
    city.update("aic.credit_objection", {"objection_id": "Y1"}, state="REJECTED")
    assert doubts(city, record_id) == {(False, False)}
    assert city.rows("credit.objection")["Y1"]["state"] == "REJECTED"


def test_i4_an_objection_to_nothing_waits_for_a_person(city: Rehearsal) -> None:
    object_to(city, "0" * 32, "Y1")
    object_to(city, penalise(city), "Y2", field="colour")
    object_to(city, "P1", "Y3")
    kinds = {item["conflict_id"]: item["kind"] for item in city.queue()}
    assert kinds == {
        "objection:Y1": "OBJECTION_WITHOUT_RECORD",
        "objection:Y2": "OBJECTION_FIELD_UNKNOWN",
        "!:aic.credit_objection|Y3": "RECORD_ID_INVALID",
    }
    city.check_rows()


def test_i4_a_view_name_of_a_field_may_be_doubted_too(city: Rehearsal) -> None:
    seen = value_hash({}, "cause", "经营过期食品")
    record_id = penalise(city)
    object_to(city, record_id, field="title", seen_value_hash=seen, state="UPHELD")
    assert doubts(city, record_id) == {(True, False)}
    city.update("fda.penalty", {"decision_no": "P1"}, cause="标签不合格")
    assert doubts(city, record_id) == {(False, True)}
    dated = {"happened": "decided_date"}
    assert value_hash(dated, "decided_date", days("2016-06-01")) == value_hash({}, "x", "2016-06-01")
    assert value_hash({}, "x", None) == value_hash({}, "x", "")


def test_i5_a_revoked_penalty_leaves_the_black_list_and_joint_punishment(city: Rehearsal) -> None:
    first, second = penalise(city, "P1"), penalise(city, "P2", subject_id=REGISTRATION_NO)
    measures = city.rows("credit.joint_punishment")
    assert {row["measure"] for row in measures.values()} == {"BAR_PROCUREMENT", "MORE_INSPECTIONS"}
    assert all(row["records"] == sorted([first, second]) for row in measures.values())
    city.update("fda.penalty", {"decision_no": "P1"}, revoked_date=days("2016-11-01"))
    assert seen_in(city, first) == {}
    assert all(row["records"] == [second] for row in city.rows("credit.joint_punishment").values())
    city.update("fda.penalty", {"decision_no": "P2"}, revoked_date=days("2016-11-01"))
    assert not city.rows("credit.joint_punishment")
    gone = [change for change in city.history if change.after is None and change.feed != "credit.unmatched"]
    assert {change.reason for change in gone} == {"RETRACTED"}
    assert {row["state"] for row in city.rows("credit.enterprise").values()} == {"REVOKED"}
    city.check_rows()


def test_i5_credit_repair_and_a_deleted_source_row(city: Rehearsal) -> None:
    record_id = penalise(city)
    city.insert("aic.credit_repair", repair_no="X1", record_id=record_id, status="APPLIED")
    assert seen_in(city, record_id) == ALL_VIEWS
    city.update("aic.credit_repair", {"repair_no": "X1"}, status="GRANTED", repaired_date=days("2016-11-01"))
    assert seen_in(city, record_id) == {}
    assert not city.rows("credit.joint_punishment")
    city.delete("fda.penalty", {"decision_no": "P1"})
    assert not city.rows("credit.enterprise")
    assert city.changes_of("credit.enterprise")[-1].reason == "SOURCE_DELETED"


def test_a_licence_is_published_while_it_is_valid_whoever_holds_it(city: Rehearsal) -> None:
    for number, (id_type, holder, uscc) in enumerate(
        [("USCC", USCC, USCC), ("REGISTRATION_NO", REGISTRATION_NO, None), ("CITIZEN_ID", PERSON, None)]
    ):
        city.insert(
            "fda.licence",
            licence_kind="FOOD_SERVICE",
            licence_no=str(number),
            holder_id_type=id_type,
            holder_id=holder,
            holder_name="某主体",
            uscc=uscc,
            status="VALID",
            issue_date=days("2016-01-01"),
            valid_to=days("2020-01-01"),
        )
    assert (len(city.rows("credit.enterprise")), len(city.rows("credit.person"))) == (2, 1)
    assert not city.rows("credit.joint_punishment")
    city.update("fda.licence", {"licence_kind": "FOOD_SERVICE", "licence_no": "0"}, status="REVOKED")
    assert len(city.rows("credit.view_public")) == 2
    city.check_rows()


def test_any_interleaving_of_the_feeds_ends_in_the_same_databases_and_views() -> None:
    source = Rehearsal(FLOW, CONTRACTS)
    record_id = record_id_of("fda.penalty", "P1")
    register = [
        source.insert(
            "aic.enterprise", ent_id="E1", uscc=USCC, registration_no=REGISTRATION_NO, name="甲", status="ACTIVE"
        ),
        source.update("aic.enterprise", {"ent_id": "E1"}, name="甲乙"),
    ]
    penalise(source)
    penalties = [
        source.update("fda.penalty", {"decision_no": "P1"}, amount=cents("500.00")),
        source.update("fda.penalty", {"decision_no": "P1"}, subject_id=REGISTRATION_NO),
    ]
    object_to(source, record_id)
    objections = [source.update("aic.credit_objection", {"objection_id": "Y1"}, state="UPHELD")]
    source.tick("2016-11-01")
    source.tick("2016-11-02")
    feeds = [feed for feed in FLOW.outputs if source.rows(feed)]
    for number, merged in enumerate(interleavings([register, penalties, objections], SEED, 25)):
        city = Rehearsal(FLOW, CONTRACTS)
        city.take(merged)
        city.tick("2016-11-01")
        city.tick("2016-11-02")
        for feed in feeds:
            assert city.rows(feed) == source.rows(feed), f"{feed}, merge {number} of seed {SEED}"
