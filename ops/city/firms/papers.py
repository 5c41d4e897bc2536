"""Papers: licences, court lists and construction permits."""

from __future__ import annotations

from datetime import date, timedelta

from ops.city import dirt
from ops.city.chance import UNLIMITED, days_ago, money
from ops.city.city import City
from ops.city.firms.credit import coded_firm
from ops.city.firms.registration import ITEMS_OF
from ops.city.people import names
from ops.city.people.assets import adult, firm_id
from ops.city.people.roll import Row

PERMITS = 60_000
DEBTORS = 90_000
_FOOD, _DRUGS = ("FOOD_SERVICE", "FOOD_PRODUCTION"), ("DRUG", "DEVICE")
LICENCES = {
    "fda.licence": (("H62", "Q83"), 0.7, "JY", "食品药品监督管理局"),
    "health.licence": (("H62", "Q83", "K70"), 0.25, "WS", "卫生和计划生育局"),
    "fire.licence": (("H62", "K70", "E47"), 0.2, "XF", "公安消防大队"),
    "edu.licence": (("I65",), 0.15, "JX", "教育局"),
}
"""Register to the trades that need its licence, the share that has one, the letters of its numbers, and who issues it."""
_KINDS = {
    "health.licence": ("PUBLIC_PLACE", "PUBLIC_PLACE", "MEDICAL", "WATER"),
    "fire.licence": ("PRE_OPENING", "PRE_OPENING", "DESIGN"),
    "edu.licence": ("TRAINING", "TRAINING", "KINDERGARTEN", "SCHOOL"),
}


def issue(city: City) -> None:
    """Write what the departments had on paper before the opening day."""
    rng = city.rng
    for firm in list(city.rolls["aic.enterprise"]):
        for feed, (trades, share, _, _) in LICENCES.items():
            if firm["industry"] in trades and rng.random() < share:
                city.put(feed, **licence_columns(city, feed, firm, days_ago(rng, 1, 1700)))
    for _ in range(city.count(DEBTORS)):
        city.put("court.dishonest_debtor", **debtor_columns(city, days_ago(rng, 1, 900)))
    for _ in range(city.count(PERMITS)):
        city.put("construction.permit", **construction_columns(city, days_ago(rng, 1, 900)))


def licence_columns(city: City, feed: str, firm: Row, day: date) -> Row:
    """A licence's (许可证) columns, as the register named by `feed` keeps them."""
    rng = city.rng
    _, _, letters, office = LICENCES[feed]
    id_type, number = firm_id(firm)
    if firm["kind"] == "SOLE_TRADER" and rng.random() < 0.1:  # issued to the person
        id_type, number = "CITIZEN_ID", firm["legal_rep_id"]
    kinds = _KINDS.get(feed) or (_DRUGS if firm["industry"] == "Q83" else _FOOD)
    region = firm["reg_region"]
    days = 5 * 365 if rng.random() < 0.99 else -1
    return {
        "licence_kind": rng.choice(kinds),
        "licence_no": f"{letters}{region}{city.numbers.serial('licence'):08}",
        "holder_id_type": id_type,
        "holder_id": number,
        "holder_name": dirt.name(rng, firm["name"].strip(), 0.02),
        "uscc": firm["uscc"],
        "item_code": rng.choice(ITEMS_OF[feed.partition(".")[0]]),
        "region": region,
        "issuer": f"广州市{names.REGIONS[region]}区{office}",
        "issue_date": day,
        "valid_to": UNLIMITED if rng.random() < 0.15 else day + timedelta(days=days),
        "status": "VALID",
    }


def debtor_columns(city: City, day: date) -> Row:
    """A dishonest debtor's (失信被执行人) columns."""
    rng = city.rng
    firm = city.rolls["aic.enterprise"].pick(rng) if rng.random() < 0.4 else None
    person = adult(city)
    return {
        "court_case_no": f"（{day.year}）粤01执{city.numbers.serial('debtor')}号",
        "subject_id": firm_id(firm)[1] if firm else person["citizen_id"],
        "subject_kind": "ENTERPRISE" if firm else "PERSON",
        "subject_name": (firm or person)["name"].strip(),
        "court": f"广州市{names.REGIONS[names.region(rng)]}区人民法院",
        "listed_date": day,
    }


def construction_columns(city: City, day: date) -> Row:
    """A construction permit's (施工许可) columns."""
    rng = city.rng
    anybody = city.rolls["aic.enterprise"].pick(rng)
    owner, builder = coded_firm(city) or anybody, coded_firm(city, ("E47",)) or anybody
    assert owner is not None
    assert builder is not None
    region = names.region(rng)
    return {
        "permit_no": f"{region}{day:%Y%m%d}{city.numbers.serial('construction'):05}",
        "project": f"{names.address(rng, region)[:12]}商住楼项目",
        "owner_uscc": owner["uscc"],
        "owner_name": owner["name"].strip(),
        "contractor_uscc": builder["uscc"],
        "contractor_name": builder["name"].strip(),
        "contractor_region": builder["reg_region"] if rng.random() < 0.7 else "440300",
        "region": region,
        "amount": money(rng, 100, 90_000),
        "start_date": day,
        "status": "ISSUED",
    }
