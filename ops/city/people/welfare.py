"""Welfare: housing funds, unemployment, and the foreigners in the city."""

from __future__ import annotations

from datetime import date, timedelta

from ops.city import dirt
from ops.city.chance import OPENING, days_ago, money
from ops.city.city import City
from ops.city.people import names
from ops.city.people.assets import adult
from ops.city.people.roll import Row

UNEMPLOYED = 240_000
FOREIGNERS = 80_000
_FIRST = (
    "JAMES",
    "MARIA",
    "AMINA",
    "KENJI",
    "PIERRE",
    "OLGA",
    "AHMED",
    "LI NA",
    "GRACE",
    "DIEGO",
    "SUN-HEE",
    "IBRAHIM",
)
_LAST = (
    "SMITH",
    "OKAFOR",
    "TANAKA",
    "IVANOVA",
    "DUPONT",
    "HASSAN",
    "KIM",
    "SILVA",
    "O'BRIEN",
    "MÜLLER",
    "NGUYEN",
    "DIALLO",
)
NATIONALITIES = ("USA", "NGA", "JPN", "RUS", "FRA", "EGY", "KOR", "BRA", "IRL", "DEU", "VNM", "MLI")
VISAS = ("Z", "M", "X1", "Q1", "L")


def provide(city: City) -> None:
    """Open accounts for those who work, register those who do not, and those who come from abroad."""
    rng = city.rng
    for ent_id, staff in city.staff.items():
        firm = city.rolls["aic.enterprise"].get(ent_id)
        for _, person in staff if firm else ():
            if rng.random() < 0.55:
                columns = account_columns(city, person, firm["name"].strip() if firm else None)
                city.put("housing_fund.account", **columns)
    for _ in range(city.count(UNEMPLOYED)):
        columns = unemployment_columns(city, adult(city), days_ago(rng, 10, 700))
        if rng.random() < 0.5:
            columns["ended_date"] = min(columns["registered_date"] + timedelta(days=120), OPENING)
        city.put("hrss.unemployment", **columns)
    for _ in range(city.count(FOREIGNERS)):
        city.put("police.foreigner", **foreigner_columns(city, OPENING))


def account_columns(city: City, person: Row, employer: str | None) -> Row:
    """A housing-fund account's (公积金账户) columns."""
    rng = city.rng
    return {
        "account_no": f"GJJ{city.numbers.serial('fund'):09}",
        "citizen_id": person["citizen_id"],
        "name": dirt.name(rng, person["name"].strip()),
        "employer": employer,
        "balance": money(rng, 500, 180_000),
        "monthly_amount": money(rng, 200, 4_000),
        "status": "NORMAL",
    }


def unemployment_columns(city: City, person: Row, day: date) -> Row:
    """An unemployment registration's (失业登记) columns."""
    rng = city.rng
    return {
        "registration_id": f"SY{day:%Y}{city.numbers.serial('unemployment'):07}",
        "citizen_id": person["citizen_id"],
        "registered_date": day,
        "benefit_amount": money(rng, 1_400, 1_600) if rng.random() < 0.6 else None,
    }


def foreigner_columns(city: City, today: date) -> Row:
    """A foreigner's (外籍人员) columns."""
    rng = city.rng
    has_chinese_name = rng.random() < 0.15
    sex = rng.choice("12")
    return {
        "nationality": rng.choice(NATIONALITIES),
        "passport_no": f"TEST{city.numbers.serial('passport'):07}",
        "name_latin": f"{rng.choice(_LAST)}, {rng.choice(_FIRST)}",
        "name_cn": names.surname(rng) + names.given_name(rng, sex) if has_chinese_name else None,
        "sex": sex,
        "birth_date": today - timedelta(days=int(rng.uniform(1, 70) * 365)),
        "visa_type": rng.choice(VISAS),
        "stay_until": today + timedelta(days=int(rng.uniform(-20, 700))),
        "residence_region": names.region(rng),
    }
