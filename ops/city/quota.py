"""Quota (中小客车指标): who applies for a new car, what seven departments say, and the draws of the past.

On the opening day October's applications are answered and undrawn, November's are under review.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, timedelta

from ops.city.chance import OPENING, days_ago, moment_of
from ops.city.city import City
from ops.city.people.assets import adult, firm_id
from ops.city.people.roll import Row

APPLICATION, DRAW, AWARD = "transport.quota_application", "transport.quota_draw", "transport.quota_award"
PERSONS = 6_630_000
ORGANISATIONS = 110_000
CLOSED_PERIOD, OPEN_PERIOD = "201610", "201611"
CUTOFF_DAY = 9
FREEZE_DAY = 20
DRAW_DAY = 26
MONTHLY = {"ORDINARY": 5_000, "NEW_ENERGY": 1_000, "AUCTION": 4_000}
"""Quotas of a month: 120,000 a year, 50 % by lottery, 10 % new energy, 40 % by auction."""
REASONS = {
    "transport": ("HAS_QUOTA", "QUOTA_RECENTLY_USED"),
    "police": ("HAS_VEHICLE", "NO_DRIVING_LICENCE", "RESIDENCE_EXPIRED"),
    "hrss": ("INSURANCE_TOO_SHORT",),
    "state_tax": ("TAX_TOO_LITTLE",),
    "local_tax": ("TAX_TOO_LITTLE", "NO_INCOME_TAX"),
    "aic": ("NOT_REGISTERED", "LISTED_ABNORMAL"),
    "qts": ("CODE_EXPIRED",),
}
AGENCIES = tuple(REASONS)
"""The seven departments that answer at once (并联审批), with what they refuse for."""
TRIES = 20


def apply(city: City) -> None:
    """Everything about quotas as it stood before the opening day."""
    rng = city.rng
    persons = city.count(PERSONS)
    for place in range(persons + city.count(ORGANISATIONS)):
        is_open = rng.random() < 0.12
        period = OPEN_PERIOD if is_open else CLOSED_PERIOD
        day = days_ago(rng, 1, 20) if is_open else days_ago(rng, 23, 51)
        if rng.random() < 0.002 and not is_open:
            day = OPENING - timedelta(days=20)  # handed in after the cut-off
        columns = application_columns(city, place < persons, period, moment_of(rng, day))
        _review(city, city.put(APPLICATION, **columns), is_open=is_open)
    for kind in ("ORDINARY", "NEW_ENERGY"):
        city.put(DRAW, **draw_columns(city, CLOSED_PERIOD, kind))
    _auction(city)


def application_columns(city: City, is_person: bool, period: str, submitted: datetime) -> Row:
    """An application's (指标申请) columns; a few name a kind of applicant that does not exist."""
    rng = city.rng
    firm = None if is_person else city.rolls["aic.enterprise"].pick(rng)
    if firm is None:
        person = _applicant(city, period, submitted.date())
        applicant = {"id_type": "CITIZEN_ID", "applicant_id": person["citizen_id"], "name": person["name"].strip()}
    else:
        id_type, number = firm_id(firm)
        applicant = {"id_type": id_type, "applicant_id": number, "name": firm["name"]}
    kind = "PERSON" if is_person else "ORGANISATION"
    return {
        "app_code": f"{period}{city.numbers.serial('quota'):07}",
        "applicant_kind": kind if rng.random() > 0.0007 else rng.choice(("个人", "P", "")),
        **applicant,
        "quota_kind": "NEW_ENERGY" if rng.random() < 0.1 else "ORDINARY",
        "method": "LOTTERY" if rng.random() < 0.9 else "AUCTION",
        "period": period,
        "submitted_at": submitted,
        "cutoff_at": datetime(int(period[:4]), int(period[4:]), CUTOFF_DAY, 16, 0, tzinfo=UTC),
        "status": "SUBMITTED",
    }


def _applicant(city: City, period: str, today: date) -> Row:
    """Somebody who has not applied in this period; seldom somebody who has (E5)."""
    applicants: set[tuple[str, str]] = city.memory.setdefault("applicants", set())
    person, tries = adult(city, today), 1
    while (period, person["citizen_id"]) in applicants and tries < TRIES and city.rng.random() > 0.02:
        person, tries = adult(city, today), tries + 1
    applicants.add((period, person["citizen_id"]))
    return person


def answer_columns(city: City, application: Row, agency: str, answered: datetime) -> Row:
    """One department's answer (审核结果) in the first round: most agree, and a few forget to say why not."""
    rng = city.rng
    verdict = rng.choices(("PASS", "FAIL", "NEED_INFO", "通过"), (9810, 130, 55, 5))[0]
    serial = city.numbers.serial("evidence")
    return {
        "app_code": application["app_code"],
        "review_round": 1,
        "agency": agency,
        "verdict": verdict,
        "reason_code": rng.choice(REASONS[agency]) if verdict == "FAIL" and rng.random() < 0.98 else None,
        "evidence_ref": f"{agency}-{serial:08}" if verdict != "PASS" else None,
        "answered_at": answered,
    }


def _review(city: City, application: Row, *, is_open: bool) -> None:
    rng = city.rng
    silent = 0.45 if is_open else 0.004
    failed, is_waited_for = False, False
    last = application["submitted_at"].date()
    for agency in AGENCIES:
        if rng.random() < silent:
            is_waited_for = True
            continue
        earliest = last if is_open else max(last, date(2016, 10, 1))
        day = min(earliest + timedelta(days=1 + int(rng.random() * 6)), OPENING - timedelta(days=1))
        row = answer_columns(city, application, agency, moment_of(rng, day))
        row["answered_at"] = max(row["answered_at"], application["submitted_at"] + timedelta(minutes=5))
        city.put(f"{agency}.quota_result", **row)
        failed = failed or row["verdict"] == "FAIL"
        is_waited_for = is_waited_for or row["verdict"] not in {"PASS", "FAIL"}
    application["status"] = "NOT_VALID" if failed else "REVIEWING" if is_waited_for else "VALID"
    if application["status"] != "REVIEWING":
        application["status_date"] = OPENING - timedelta(days=2 if is_open else 14)
    if failed and not is_open and rng.random() < 0.3:
        requested = moment_of(rng, OPENING - timedelta(days=1 + int(rng.random() * 9)))
        asked = {"app_code": application["app_code"], "review_round": 2, "requested_at": requested}
        city.put("transport.quota_review", **asked)


def draw_key(city: City, period: str, kind: str) -> bytes:
    """The draw key of a period: what the dice, the notary and the commission put together."""
    return hashlib.sha256(f"GZ-{period}-{kind}|city:{city.seed}".encode()).digest()


def draw_columns(city: City, period: str, kind: str) -> Row:
    """A draw's (摇号) columns before it is held: the commitment to the key, and not the key."""
    return {
        "period": period,
        "quota_kind": kind,
        "key_commitment": hashlib.sha256(draw_key(city, period, kind)).hexdigest(),
        "quota": city.count(MONTHLY[kind]),
        "algorithm": "HMAC-SHA256",
    }


def award_columns(city: City, application: Row, day: date) -> Row:
    """An award's (中签指标) columns."""
    return {
        "quota_no": f"GZ{application['period']}{city.numbers.serial('quota_no'):06}",
        "app_code": application["app_code"],
        "valid_to": day + timedelta(days=365),
        "status": "VALID",
    }


def _auction(city: City) -> None:
    """Quotas of October that were auctioned: the highest bids had them at once, and some have their car."""
    bidders = [
        row
        for row in city.rolls[APPLICATION]
        if (row["method"], row["period"], row["status"]) == ("AUCTION", CLOSED_PERIOD, "VALID")
    ]
    for application in bidders[: city.count(MONTHLY["AUCTION"])]:
        award = city.put(AWARD, **award_columns(city, application, OPENING - timedelta(days=5)))
        application["status"], application["status_date"] = "AWARDED", OPENING - timedelta(days=5)
        if city.rng.random() < 0.3:
            award["status"], award["status_date"] = "USED", OPENING - timedelta(days=2)
