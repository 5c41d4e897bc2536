"""Household checks (居民家庭经济状况核对): cases with members, authorisations, declarations, answers and decisions.

The figures are those of the brief at the city's scale, for 2013-01 to 2016-10: accepted 63,816 cases, completed 67,704, found
ineligible 9,642. More was completed than accepted because some of it had waited since before 2013 (HANDBOOK §1.3, N1).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import date, datetime, timedelta

from ops.city import dirt
from ops.city.chance import OPENING, UNLIMITED, days_ago, moment_of, money
from ops.city.city import City
from ops.city.people.assets import adult
from ops.city.people.roll import Row

CASE, MEMBER, AUTHORISATION = "civil.check_case", "civil.check_member", "civil.check_authorisation"
DECLARATION, DECISION, OBJECTION = "civil.check_declaration", "civil.check_decision", "civil.check_objection"
ACCESS = "civil.check_report_access"
ANSWERS = {"construction.check_answer": "PUBLIC_HOUSING", "housing_fund.check_answer": "HOUSING_LOAN"}
"""Agencies that answer themselves, with the source (来源) that each of them is."""
COMPLETED = {"LIVING_ALLOWANCE": 39_210, "RENTAL_HOUSING": 21_219, "LOW_INCOME": 4_280, "MEDICAL_AID": 2_995}
KINDS = tuple(COMPLETED)
ACCEPTED = 63_816
UNDER_WAY = 10_000
"""Cases of the real city that are not finished on the opening day."""
INELIGIBLE = 9_642
RECHECKED = 616
SCOPES = ("VEHICLE", "PROPERTY", "INCOME", "INSURANCE", "TAX")
_RELATIONS = {"HEAD": "OTHER", "SPOUSE": "SPOUSE", "CHILD": "CHILD", "PARENT": "PARENT"}


def belongings(city: City) -> dict[str, list[tuple[str, str]]]:
    """What each person could declare: source and reference. Taken once; who sells later has declared what was."""
    if "belongings" not in city.memory:
        city.memory["belongings"] = _belongings(city)
    return city.memory["belongings"]


def _belongings(city: City) -> dict[str, list[tuple[str, str]]]:
    found: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for source, feed, owner, reference in (
        ("VEHICLE", "police.vehicle", "owner_id", "vin"),
        ("PROPERTY", "land.property", "owner_id", "unit_no"),
        ("LEGAL_REPRESENTATIVE", "aic.enterprise", "legal_rep_id", "ent_id"),
        ("SHAREHOLDING", "aic.shareholder", "holder_id", "ent_id"),
    ):
        for row in city.rolls[feed]:
            found[row[owner]].append((source, row[reference]))
    for ent_id, staff in city.staff.items():
        firm = city.rolls["aic.enterprise"].get(ent_id)
        if firm is not None:
            for number, _ in staff:
                found[number].append(("EMPLOYMENT_INSURANCE", firm["uscc"] or firm["name"]))
    return dict(found)


def check(city: City) -> None:
    """File the cases of the years before the opening day."""
    rng = city.rng
    kinds = [kind for kind, count in COMPLETED.items() for _ in range(city.count(count))]
    under_way = city.count(UNDER_WAY)
    since_2013 = max(1, city.count(ACCEPTED) - under_way)
    rng.shuffle(kinds)
    for place, kind in enumerate(kinds):
        day = days_ago(rng, 60, 1390) if place < since_2013 else date(2012, 12, 31) - timedelta(days=rng.randrange(90))
        ended = min(day + timedelta(days=30 + int(rng.random() * 25)), OPENING)
        ended = ended if place < since_2013 else date(2013, 1, 20) + timedelta(days=rng.randrange(60))
        is_ineligible = place < city.count(INELIGIBLE)
        is_rechecked = place < city.count(RECHECKED)
        _completed(city, kind, day, ended, is_ineligible=is_ineligible, is_rechecked=is_rechecked)
    for place in range(under_way):
        rows = _put(city, check_rows(city, moment_of(rng, days_ago(rng, 2, 20)), rng.choices(KINDS, (58, 31, 6, 5))[0]))
        if place % 2 and len(rows[AUTHORISATION]) == len(rows[MEMBER]):  # otherwise no agency was asked anything (G1)
            case = rows[CASE][0]
            case["status"], case["status_date"] = "CHECKING", OPENING - timedelta(days=1)
            for feed in ANSWERS:
                for columns in answer_rows(city, rows, feed, moment_of(rng, OPENING - timedelta(days=1))):
                    city.put(feed, **columns)


def _put(city: City, wanted: dict[str, list[Row]]) -> dict[str, list[Row]]:
    return {feed: [city.put(feed, **row) for row in found] for feed, found in wanted.items()}


def _completed(city: City, kind: str, day: date, ended: date, *, is_ineligible: bool, is_rechecked: bool) -> None:
    rows = _put(city, check_rows(city, moment_of(city.rng, day), kind))
    case = rows[CASE][0]
    case["status"], case["status_date"] = "CLOSED", ended
    first = not is_ineligible if is_rechecked else is_ineligible
    decided = moment_of(city.rng, ended - timedelta(days=8 if is_rechecked else 1))
    city.put(DECISION, **decision_columns(case, 1, decided, is_ineligible=first))
    if is_rechecked:
        city.put(DECISION, **decision_columns(case, 2, moment_of(city.rng, ended), is_ineligible=is_ineligible))
        city.put(ACCESS, **access_columns(city, case, decided))
        city.put(OBJECTION, **objection_columns(city, rows, decided) | {"status": "CORRECTED", "status_date": ended})


def check_rows(city: City, accepted_at: datetime, kind: str) -> dict[str, list[Row]]:
    """A household check (核对业务) with its members, their authorisations and what they declare."""
    rng = city.rng
    person, family = some_household(city, accepted_at.date())
    case_no = f"HD{accepted_at:%Y}{city.numbers.serial('check'):06}"
    day = accepted_at.date()
    # Who draws an allowance is checked again and again: that authorisation has no end until it is withdrawn.
    until = UNLIMITED if kind == "LIVING_ALLOWANCE" else day + timedelta(days=180)
    scope = list(SCOPES) if rng.random() < 0.8 else rng.sample(SCOPES, 4)
    rows: dict[str, list[Row]] = {CASE: [], MEMBER: [], AUTHORISATION: [], DECLARATION: []}
    for place, member in enumerate(family, start=1):
        is_applicant = member is person
        number = member["citizen_id"]
        rows[MEMBER].append(
            {
                "case_no": case_no,
                "citizen_id": number,
                "name": dirt.name(rng, member["name"].strip()),
                "relation": "SELF" if is_applicant else _RELATIONS.get(member["relation_to_head"], "OTHER"),
                "is_supporter": not is_applicant and member["relation_to_head"] == "CHILD",
            }
        )
        if is_applicant or rng.random() > 0.005:  # somebody seldom refuses to sign: then nobody is asked (G1)
            rows[AUTHORISATION].append(
                {
                    "authorisation_id": f"{case_no}-{place}",
                    "case_no": case_no,
                    "signer_id": number,
                    "scope": scope,
                    "valid_from": day,
                    "valid_to": until,
                }
            )
        rows[DECLARATION] += _declared(city, case_no, number, day)
    rows[CASE].append(
        {
            "case_no": case_no,
            "kind": kind,
            "district": person["hukou_region"],
            "applicant_id": person["citizen_id"],
            "accepted_at": accepted_at,
            "authorisation_id": f"{case_no}-{family.index(person) + 1}",
            "status": "ACCEPTED",
        }
    )
    return rows


def some_household(city: City, today: date) -> tuple[Row, list[Row]]:
    """Somebody of age and the living of the same household; small ones apply more often, 2.24 persons a case on average."""
    size = city.rng.choices((1, 2, 3, 4), (30, 31, 25, 14))[0]
    tries = 12
    while True:
        person = adult(city, today)
        family = [each for each in city.households[person["household_no"]] if each["status"] == "REGISTERED"]
        tries -= 1
        if len(family) == size or not tries:
            return person, family


def _declared(city: City, case_no: str, number: str, day: date) -> list[Row]:
    """What a member says that it has: one in seven leaves something out, which the registers know."""
    found: list[Row] = []
    for source, reference in belongings(city).get(number, ()):
        if city.rng.random() < 0.86:
            amount = money(city.rng, 5_000, 300_000) if source in {"VEHICLE", "PROPERTY", "SHAREHOLDING"} else None
            found.append(
                {
                    "case_no": case_no,
                    "citizen_id": number,
                    "source": source,
                    "item_no": len(found) + 1,
                    "reference": reference,
                    "amount": amount,
                    "declared_date": day,
                }
            )
    return found


def answer_rows(city: City, rows: Mapping[str, list[Row]], feed: str, answered: datetime) -> list[Row]:
    """One agency's answers (核对应答) for every member: mostly that there is nothing, and seldom none at all."""
    rng = city.rng
    found: list[Row] = []
    for member in rows[MEMBER]:
        outcome = rng.choices(("NO_RECORD", "RECORDS", "AMBIGUOUS", "ERROR", ""), (84, 11, 2, 1, 2))[0]
        if not outcome:
            continue
        has = outcome == "RECORDS"
        serial = city.numbers.serial(feed) if has else 0
        found.append(
            {
                "case_no": member["case_no"],
                "citizen_id": member["citizen_id"],
                "source": ANSWERS[feed],
                "outcome": outcome,
                "record_count": 1 if has else 3 if outcome == "AMBIGUOUS" else 0,
                "match_tier": "P0" if has else "P6" if outcome == "AMBIGUOUS" else None,
                "reference": f"{ANSWERS[feed][:2]}{serial:07}" if has else None,
                "value": "公租房" if has and feed.startswith("construction") else None,
                "amount": money(rng, 20_000, 600_000) if has and feed.startswith("housing_fund") else None,
                "observed_date": days_ago(rng, 200, 2500) if has else None,
                "answered_at": answered,
            }
        )
    return found


def decision_columns(case: Row, number: int, decided: datetime, *, is_ineligible: bool) -> Row:
    """A decision's (核对决定) columns."""
    return {
        "case_no": case["case_no"],
        "round": number,
        "outcome": "INELIGIBLE" if is_ineligible else "ELIGIBLE",
        "report_version": 1,
        "decided_at": decided,
    }


def objection_columns(city: City, rows: Mapping[str, list[Row]], raised: datetime) -> Row:
    """An objection's (核对疑义) columns: to one source's word on one member."""
    member = city.rng.choice(rows[MEMBER])
    serial = city.numbers.serial("check_objection")
    return {
        "objection_id": f"YY{serial:07}",
        "case_no": member["case_no"],
        "report_version": 1,
        "citizen_id": member["citizen_id"],
        "source": city.rng.choice(("VEHICLE", "PROPERTY", "EMPLOYMENT_INSURANCE", "PUBLIC_HOUSING")),
        "evidence_ref": f"ZM{serial:07}" if city.rng.random() < 0.7 else None,
        "raised_at": raised,
        "status": "OPEN",
    }


def access_columns(city: City, case: Row, opened: datetime) -> Row:
    """Somebody opens a report; one officer in twenty wants to use it for something else, which is refused (G8)."""
    rng = city.rng
    return {
        "access_id": f"CY{city.numbers.serial('access'):08}",
        "case_no": case["case_no"],
        "report_version": 1,
        "officer": f"HD{int(rng.random() * 60):04}",
        "purpose": case["kind"] if rng.random() < 0.95 else "TAX_INSPECTION",
        "opened_at": opened,
    }
