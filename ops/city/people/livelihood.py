"""Livelihood: where people work and study, their insurance and pensions, and the cards of the disabled."""

from __future__ import annotations

from datetime import date, timedelta

from ops.city import dirt
from ops.city.chance import OPENING, age_of, at, days_ago, money
from ops.city.city import City
from ops.city.numbers import fifteen_digits
from ops.city.people.roll import Row

DISABLED = 144_000
INSURANCE_KINDS = ("PENSION", "MEDICAL")
OPENING_PERIODS = ("201607", "201608", "201609", "201610")


def work_and_study(city: City) -> None:
    """Give adults employers and insurance months (参保缴费), the old pensions, children schools, some a disability card."""
    rng = city.rng
    employers = [firm for firm in city.rolls["aic.enterprise"] if firm["status"] == "ACTIVE"]
    weights = [1 / (place + 3) for place in range(len(employers))]
    for person in list(city.rolls["police.resident"]):
        if person["status"] != "REGISTERED":
            continue
        age = age_of(person["birth_date"], OPENING)
        if 6 <= age <= 17:
            city.put("edu.student", **student_columns(city, person, max(1, min(12, age - 5))))
        elif 22 <= age <= 59 and rng.random() < 0.5:
            firm = rng.choices(employers, weights)[0]
            number = person["citizen_id"]
            at_hrss = fifteen_digits(number) if rng.random() < 0.03 else number
            city.staff[firm["ent_id"]].append((at_hrss, person))
        elif age >= 60 and rng.random() < 0.7:
            for period in OPENING_PERIODS[1:]:
                city.put("hrss.pension_payment", **pension_columns(city, person, period))
    _insure(city, employers)
    registered = [person for person in city.rolls["police.resident"] if person["status"] == "REGISTERED"]
    for person in rng.sample(registered, min(city.count(DISABLED), len(registered))):
        city.put("disabled.card", **card_columns(city, person, days_ago(rng, 30, 3000)))


def _insure(city: City, employers: list[Row]) -> None:
    for firm in employers:
        base = money(city.rng, 3000, 18000)
        for period in OPENING_PERIODS:
            for number, person in city.staff[firm["ent_id"]]:
                for kind in INSURANCE_KINDS:
                    columns = insurance_columns(firm, person, number, kind, period, base)
                    columns |= {"paid": True, "paid_at": at(period, 15)}
                    city.put("hrss.insurance_month", **columns)


def student_columns(city: City, person: Row, grade: int) -> Row:
    """A student's record (学籍) columns."""
    school = int(city.rng.random() * 40)
    return {
        "student_no": f"G{person['citizen_id']}{city.numbers.serial('student') % 100:02}",
        "citizen_id": person["citizen_id"],
        "name": dirt.name(city.rng, person["name"].strip()),
        "school_code": f"{person['hukou_region']}{school:03}",
        "grade": grade,
        "region": person["hukou_region"],
        "status": "ENROLLED",
    }


def insurance_columns(firm: Row, person: Row, number: str, kind: str, period: str, base: str) -> Row:
    """An insurance month's columns, not yet paid."""
    return {
        "citizen_id": number,
        "insurance_kind": kind,
        "period": period,
        "employer_uscc": firm["uscc"],
        "employer_name": firm["name"],
        "region": person["hukou_region"],
        "base_amount": base,
        "paid": False,
        "paid_at": None,
    }


def pension_columns(city: City, person: Row, period: str) -> Row:
    """A pension payment's (养老金发放) columns."""
    return {
        "citizen_id": person["citizen_id"],
        "period": period,
        "amount": money(city.rng, 1800, 7000),
        "paid_at": at(period, 10),
        "status": "PAID",
    }


def card_columns(city: City, person: Row, day: date) -> Row:
    """A disability card's (残疾人证) columns; one number in a hundred is mistyped."""
    rng = city.rng
    kind, level = rng.choice("1234567"), rng.choice("1234")
    number = person["citizen_id"] if rng.random() < 0.99 else dirt.wrong_check(person["citizen_id"])
    return {
        "card_no": f"{number}{kind}{level}",
        "citizen_id": person["citizen_id"],
        "name": person["name"].strip(),
        "kind": kind,
        "level": level,
        "region": person["hukou_region"],
        "issue_date": day,
        "valid_to": day + timedelta(days=3650),
        "status": "VALID",
    }
