"""What the flows read of the example city: every register is filled and alive, rows hang together, dates are the city's own."""

from __future__ import annotations

import hashlib
from collections import Counter
from datetime import UTC, date, datetime, timedelta

import pytest

from ops.city import flow_data, quota
from ops.city.chance import OPENING, UNLIMITED
from ops.city.city import City
from ops.city.firms import certificates, registration, taxes
from ops.city.opening_day import settle
from ops.city.people import household
from ops.city.people.life import Happenings
from schemas.dated.configuration import midnight
from streams.flows.certificate.types import EXTRACTS, TYPES
from streams.flows.credit.record import record_id_of
from streams.flows.quota.cycle import find_period
from streams.flows.quota.draw import commitment
from streams.flows.registration.rules import owners
from streams.operators.watch import Cause

SEED = 11
AHEAD = {"valid_to", "due_date", "due_at", "cutoff_at", "publish_until", "expires", "stay_until"}
"""Columns that may say what is to come."""
FEEDBACK = ("state_tax.warning_feedback", "local_tax.warning_feedback")


@pytest.fixture(scope="module")
def city():
    made = City(SEED)
    settle(made)
    return made


@pytest.fixture(scope="module")
def lived():
    """A smaller city after a while, with what happened to each table."""
    made = City(SEED, scale=1 / 3000)
    happenings = Happenings(made)
    ops = Counter()
    while made.changes < 60_000:
        for _, changes in happenings.next():
            ops.update((change.feed, change.op) for change in changes)
    return made, ops, happenings.scene.today


def rows(city, feed):
    return list(city.rolls[feed])


def refers(city, feed, columns, to):
    """The rows of a feed whose columns name no row of another one."""
    return [row for row in city.rolls[feed] if city.rolls[to].get(*(row[name] for name in columns)) is None]


def later_than(city, day):
    """Columns that hold a date after a day, though they say what has happened."""
    moment = datetime(day.year, day.month, day.day, 16, 0, tzinfo=UTC)
    found = set()
    for feed, roll in city.rolls.items():
        for row in roll:
            for name, value in row.items():
                if name in AHEAD:
                    continue
                if isinstance(value, datetime):
                    is_late = value.replace(tzinfo=value.tzinfo or UTC) > moment
                else:
                    is_late = isinstance(value, date) and value > day
                if is_late:
                    found.add(f"{feed}.{name}")
    return found


# ── filled and alive ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_table_has_rows_on_the_opening_day(city):
    assert [feed for feed, roll in city.rolls.items() if not len(roll)] == []


def test_every_table_lives(lived):
    """Those that are written by the departments' own programs do so on a mesh only (tests/broker/test_quota_life.py)."""
    city, ops, _ = lived
    offices = {*(f"{agency}.quota_result" for agency in quota.AGENCIES), "transport.quota_review", quota.AWARD}
    offices |= {f"{agency}.registration_claim" for agency in (registration.COORDINATOR, *registration.CLAIMING)}
    offices |= {
        household.DECISION,
        household.OBJECTION,
        household.ACCESS,
        *household.ANSWERS,
        *FEEDBACK,
        certificates.USE,
    }
    still = {*offices, "certs.certificate_type"}
    assert {feed for feed in city.rolls if not ops[feed, "c"]} <= still
    assert {feed for feed in city.rolls if not ops[feed, "u"] + ops[feed, "d"]} <= {
        *still,
        "aic.enterprise_change",
        "civil.marriage",
        "civil.check_declaration",
        "civil.check_member",
        "health.birth_certificate",
        "police.id_change",
        "land.property_sale",
        "local_tax.deed_tax",
    }


def test_what_has_happened_is_not_in_the_future(city, lived):
    assert later_than(city, OPENING) == set()
    after, _, today = lived
    assert later_than(after, today) == set()


# ── hangs together ───────────────────────────────────────────────────────────────────────────────────────────────────────

_CASE = "civil.check_case"
REFERENCES = [
    *((f"{agency}.quota_result", ["app_code"], quota.APPLICATION) for agency in quota.AGENCIES),
    ("transport.quota_review", ["app_code"], quota.APPLICATION),
    (quota.AWARD, ["app_code"], quota.APPLICATION),
    *((feed, ["case_no"], _CASE) for feed in (household.MEMBER, household.AUTHORISATION, household.DECLARATION)),
    *((feed, ["case_no"], _CASE) for feed in (household.DECISION, household.OBJECTION, household.ACCESS)),
    *((feed, ["case_no", "citizen_id"], household.MEMBER) for feed in household.ANSWERS),
    (household.DECLARATION, ["case_no", "citizen_id"], household.MEMBER),
    (household.OBJECTION, ["case_no", "citizen_id"], household.MEMBER),
    (household.AUTHORISATION, ["case_no", "signer_id"], household.MEMBER),
    (certificates.CERTIFICATE, ["type_code"], "certs.certificate_type"),
]


@pytest.mark.parametrize(("feed", "columns", "to"), REFERENCES)
def test_references_hold(city, lived, feed, columns, to):
    assert refers(city, feed, columns, to) == []
    assert refers(lived[0], feed, columns, to) == []


def test_references_hold_on_the_opening_day(city):
    assert refers(city, certificates.USE, ["cert_id"], certificates.CERTIFICATE) == []
    assert refers(city, certificates.CHECK, ["cert_id"], certificates.CERTIFICATE) == []
    assert refers(city, "local_tax.deed_tax", ["contract_no"], "land.property_sale") == []
    for agency in ("aic", *registration.CLAIMING):
        feed = f"{agency}.registration_claim"
        assert refers(city, feed, ["ent_id", "item_code"], "aic.scope_item") == []
    coded = {firm["uscc"] for firm in rows(city, "aic.enterprise")}
    assert {row["employer_uscc"] for row in rows(city, "hrss.insurance_arrears")} <= coded
    assert {row["grantee_uscc"] for row in rows(city, "land.parcel_sale")} <= coded
    residents = {row["citizen_id"] for row in rows(city, "police.resident")}
    for feed in ("housing_fund.account", "hrss.unemployment"):
        assert {row["citizen_id"] for row in rows(city, feed)} <= residents


def test_objections_and_repairs_name_records_as_the_public_knows_them(city):
    known = {
        record_id_of(feed, "|".join(str(part) for part in city.rolls[feed].key_of(row)))
        for feed in ("fda.penalty", "court.dishonest_debtor", "aic.credit_list")
        for row in city.rolls[feed]
    }
    for feed in ("aic.credit_objection", "aic.credit_repair"):
        assert {row["record_id"] for row in rows(city, feed)} <= known
    digests = {
        hashlib.sha256((row[name] or "").encode()).hexdigest()
        for feed, names in (("fda.penalty", ("amount", "result")), ("court.dishonest_debtor", ("court",)))
        for row in city.rolls[feed]
        for name in names
    } | {hashlib.sha256(row["cause"].encode()).hexdigest() for row in rows(city, "aic.credit_list")}
    assert {row["seen_value_hash"] for row in rows(city, "aic.credit_objection")} <= digests


# ── the flows' own names ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_city_names_things_as_the_flows_do():
    assert flow_data.record_id("fda.penalty", "号1") == record_id_of("fda.penalty", "号1")
    cause = Cause(rule="W1", entity="ent:E1", event="registered", at=0, deadline=0, due=0)
    assert flow_data.warning_id("W1", "ent:E1", "registered") == cause.id
    moment = midnight(OPENING)
    for item, agencies in registration.OWNERS.items():
        assert agencies == tuple(owner.agency for owner in owners(item, "AFTER", moment)), item
    assert certificates.TYPES.keys() == TYPES.keys()
    assert len(TYPES) == 138
    lines = {(entry.values["matter_code"], entry.values["type_code"]) for entry in EXTRACTS.entries}
    assert {(line[0], code) for code, found in certificates.LINES.items() for line in found} == lines


def test_warnings_are_answered_by_the_numbers_that_the_flow_gives(city):
    """The small cities' feedback is about warnings that the flow has, once its clock is past the opening day."""
    answers = [row for feed in FEEDBACK for row in city.rolls[feed]]
    rules = Counter(row["warning_id"].partition("-")[0] for row in answers)
    assert {"W1", "W2", "W3"} <= rules.keys() <= {"W1", "W2", "W3", "W7"}
    assert {row["outcome"] for row in answers} == {"CONFIRMED", "FALSE_POSITIVE"}
    known = {flow_data.warning_id("W1", f"ent:{row['ent_id']}", "registered") for row in city.rolls["aic.enterprise"]}
    sales = rows(city, "land.property_sale")
    known |= {flow_data.warning_id("W3", f"sale:{row['contract_no']}", "transferred") for row in sales}
    assert {row["warning_id"] for row in answers if row["warning_id"].startswith(("W1", "W3"))} <= known


# ── the figures of the brief ─────────────────────────────────────────────────────────────────────────────────────────────


def test_household_checks_have_the_figures_of_the_brief(city):
    cases = rows(city, _CASE)
    completed = [case for case in cases if case["status"] == "CLOSED"]
    since = [case for case in cases if case["accepted_at"].year >= 2013]
    assert abs(len(completed) - 67.7) < 2
    assert abs(len(since) - 63.8) < 2
    assert len(completed) > len(since), "more was completed than accepted: some had waited since before (N1)"
    last = {}
    for row in sorted(rows(city, household.DECISION), key=lambda row: row["round"]):
        last[row["case_no"]] = row["outcome"]
    assert round(sum(outcome == "INELIGIBLE" for outcome in last.values()) / len(completed), 2) in {0.14, 0.15}
    assert 1.9 < len(rows(city, household.MEMBER)) / len(cases) < 2.8, "2.24 persons a case"
    assert Counter(case["kind"] for case in completed).most_common(1)[0][0] == "LIVING_ALLOWANCE"


def test_seven_departments_answer_for_a_quota(city):
    applications = rows(city, quota.APPLICATION)
    by_period = Counter(row["period"] for row in applications)
    assert set(by_period) == {"201610", "201611"}
    answered = Counter(
        row["app_code"]
        for agency in quota.AGENCIES
        for row in city.rolls[f"{agency}.quota_result"]
        if row["review_round"] == 1
    )
    closed = [row for row in applications if row["period"] == "201610"]
    assert sum(answered[row["app_code"]] == 7 for row in closed) / len(closed) > 0.95
    assert any(answered[row["app_code"]] < 7 for row in closed), "somebody is silent"
    verdicts = Counter(row["verdict"] for row in rows(city, "police.quota_result"))
    assert verdicts["PASS"] > 0.95 * verdicts.total()
    assert verdicts["FAIL"] > verdicts["NEED_INFO"] > 0
    persons = Counter((row["period"], row["applicant_id"]) for row in applications if row["id_type"] == "CITIZEN_ID")
    assert 0 < sum(count > 1 for count in persons.values()) < 0.01 * len(persons), "one application a person and period"
    for row in applications:
        period = find_period(row["period"])
        assert period is not None
        assert period.cutoff_at == row["cutoff_at"].timestamp() * 1_000_000


def test_a_draw_is_promised_before_it_is_held(lived):
    city, _, today = lived
    opening = City(SEED, scale=1 / 20_000)
    settle(opening)
    for draw in opening.rolls[quota.DRAW]:
        assert (draw["period"], draw["draw_key"]) == ("201610", None)
    held = {row["period"]: row["draw_key"] for row in city.rolls[quota.DRAW]}
    assert today > date(2016, 11, 10)
    assert held["201610"]
    assert held["201611"] is None
    for draw in city.rolls[quota.DRAW]:
        if draw["draw_key"]:
            assert commitment(bytes.fromhex(draw["draw_key"])) == draw["key_commitment"]


def test_some_use_much_power_and_declare_nothing(city):
    meters = sorted((meter for meter in taxes.books(city).meters if meter.utility == "POWER"), key=lambda m: m.usual)
    spenders = meters[-taxes.SPENDERS :]
    for meter in spenders:
        number = meter.holder[1]
        firm = next(
            row
            for row in city.rolls["aic.enterprise"]
            if number in {row["uscc"], row["registration_no"], row["org_code"]}
        )
        tax_no = firm["uscc"] or f"440199{firm['org_code']}"
        filed = [
            row
            for feed in ("state_tax.filing", "local_tax.filing")
            for row in city.rolls[feed]
            if row["tax_no"] == tax_no and row["tax_kind"] in {"VAT", "BUSINESS"}
        ]
        assert {row["period"] for row in filed} == set(taxes.READ_PERIODS)
        assert {row["revenue"] for row in filed} == {"0.00"}


def test_five_kinds_of_subjects_are_on_the_lists(city):
    kinds = Counter(row["subject_kind"] for row in rows(city, "aic.credit_list"))
    assert set(kinds) == {"ENTERPRISE", "PERSON", "INSTITUTION", "SOCIAL_ORGANISATION", "GOVERNMENT"}
    unlimited = [row for row in rows(city, "fda.penalty") if row["publish_until"] == UNLIMITED]
    assert 0 < len(unlimited) < 0.2 * len(rows(city, "fda.penalty"))
    assert all(row["publish_until"] > row["decided_date"] + timedelta(days=300) for row in rows(city, "fda.penalty"))


def test_a_death_that_was_a_mistake_is_taken_back(lived):
    _, ops, _ = lived
    assert ops["health.death_certificate", "d"] > 0
