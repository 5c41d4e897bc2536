"""Firms: enterprises, sole traders, institutions and social organisations, and their registers at other departments."""

from __future__ import annotations

from datetime import date, timedelta

from ops.city import dirt
from ops.city.chance import OPENING, at, days_ago, money, next_period
from ops.city.city import City
from ops.city.people import names
from ops.city.people.roll import Row

ORGANISATIONS = 1_930_000
INSTITUTIONS = 20_000
SOCIAL_ORGANISATIONS = 10_000
COVERAGE = 0.129
"""The share of enterprises with a unified social credit code, in October 2016."""
ITEMS = tuple(f"{trade}{number:02}" for trade in names.TRADE_CODES for number in range(1, 7))
TAXES = {"state_tax": ("VAT", "INCOME"), "local_tax": ("BUSINESS", "PERSONAL_INCOME", "STAMP")}
FILED_PERIODS = ("201607", "201608", "201609")
"""A month is filed in the first half of the next one."""
_KINDS = ("ENTERPRISE", "SOLE_TRADER", "FARMER_COOP")


def found(city: City) -> None:
    """Register every organisation, then those that joined the newer register of codes."""
    rng = city.rng
    for _ in range(city.count(INSTITUTIONS)):
        city.put("staffing.institution", **institution_columns(city))
    for _ in range(city.count(SOCIAL_ORGANISATIONS)):
        city.put("civil.social_organisation", **social_columns(city))
    total = city.count(ORGANISATIONS) - city.count(INSTITUTIONS) - city.count(SOCIAL_ORGANISATIONS)
    with_code = set(rng.sample(range(total), round(total * COVERAGE)))
    for place in range(total):
        columns = enterprise_columns(city, days_ago(rng, 30, 6500), has_uscc=place in with_code)
        if place and rng.random() < 0.004:  # registered twice, under two internal numbers
            twin = city.rolls["aic.enterprise"].pick(rng)
            columns["name"] = twin["name"] if twin else columns["name"]
        firm = city.put("aic.enterprise", **columns)
        for feed, rows in enrolment(city, firm).items():
            for row in rows:
                city.put(feed, **row)
        _history(city, firm)


def enterprise_columns(city: City, day: date, *, has_uscc: bool) -> Row:
    """A registered entity's (商事主体) columns; its numbers hang together as GB 32100-2015 wants."""
    rng = city.rng
    kind = rng.choices(_KINDS, (55, 43, 2))[0]
    trade = rng.choice(names.TRADE_CODES)
    region = names.region(rng)
    owner = city.rolls["police.resident"].pick(rng)
    assert owner is not None, "people settle before firms are founded"
    org_code = None
    if has_uscc or (kind != "SOLE_TRADER" and rng.random() < 0.9):
        org_code = city.numbers.org_code(day.year > 2014)
    uscc = city.numbers.uscc("92" if kind == "SOLE_TRADER" else "91", org_code or "") if has_uscc else None
    if uscc and rng.random() < 0.008:
        uscc = dirt.wrong_check(uscc)
    has_place = rng.random() < 0.8
    lon, lat = names.place(rng, region)
    return {
        "ent_id": f"E{city.numbers.serial('enterprise'):07}",
        "uscc": uscc,
        "registration_no": city.numbers.registration_no() if not has_uscc or rng.random() < 0.7 else None,
        "org_code": org_code,
        "name": dirt.name(rng, names.firm(rng, trade, kind)),
        "kind": kind,
        "industry": trade,
        "scope_text": names.TRADES[trade][1],
        "legal_rep_name": owner["name"].strip(),
        "legal_rep_id_type": "CITIZEN_ID",
        "legal_rep_id": owner["citizen_id"],
        "capital": money(rng, 1, 2000) if kind != "SOLE_TRADER" else None,
        "currency": "CNY",
        "registry": f"广州市工商行政管理局{names.REGIONS[region]}分局",
        "reg_region": region,
        "address": names.address(rng, region),
        "lon": lon if has_place else None,
        "lat": lat if has_place else None,
        "established": day,
        "expires": day + timedelta(days=7300) if kind == "ENTERPRISE" else None,
        "status": "ACTIVE",
    }


def enrolment(city: City, firm: Row) -> dict[str, list[Row]]:
    """What other registers write when a firm is new: shareholders, scope items, organisation code, tax registrations."""
    rng = city.rng
    rows: dict[str, list[Row]] = {"aic.shareholder": [], "aic.scope_item": []}
    if firm["kind"] != "SOLE_TRADER":
        holders = {firm["legal_rep_id"]: firm["legal_rep_name"]}
        for _ in range(rng.choice((0, 1, 1, 2))):
            person = city.rolls["police.resident"].pick(rng)
            if person is not None:
                holders[person["citizen_id"]] = person["name"].strip()
        rows["aic.shareholder"] = [shareholder_columns(city, firm, *holder, len(holders)) for holder in holders.items()]
    for item in rng.sample(ITEMS, rng.choice((1, 2, 3))):
        permit_kind = rng.choices(("GENERAL", "AFTER", "BEFORE"), (70, 25, 5))[0]
        rows["aic.scope_item"].append({"ent_id": firm["ent_id"], "item_code": item, "permit_kind": permit_kind})
    if firm["org_code"]:
        rows["qts.organisation_code"] = [org_code_columns(city, firm)]
    for tax in TAXES:
        if rng.random() < 0.69:  # the province's average before the exchange
            rows[f"{tax}.registration"] = [tax_columns(city, firm, tax)]
    return rows


def shareholder_columns(city: City, firm: Row, holder_id: str, name: str, holders: int) -> Row:
    """A shareholder's (股东) columns."""
    return {
        "ent_id": firm["ent_id"],
        "holder_id_type": "CITIZEN_ID",
        "holder_id": holder_id,
        "name": dirt.name(city.rng, name),
        "amount": money(city.rng, 1, 500),
        "ratio": f"{100 / holders:.4f}" if city.rng.random() < 0.95 else None,
    }


def org_code_columns(city: City, firm: Row) -> Row:
    """An organisation code's (组织机构代码) columns; a few are mistyped."""
    code = firm["org_code"]
    issued = min(firm["established"] + timedelta(days=10), max(firm["established"], OPENING))
    valid_to = issued + timedelta(days=4 * 365)
    is_over = valid_to < OPENING and city.rng.random() < 0.3
    return {
        "org_code": dirt.wrong_check(code) if city.rng.random() < 0.003 else code,
        "name": dirt.name(city.rng, firm["name"].strip(), 0.02),
        "registration_no": firm["registration_no"],
        "issued_date": issued,
        "valid_to": valid_to,
        "status": "EXPIRED" if is_over else "VALID",
        "status_date": valid_to if is_over else None,
    }


def tax_columns(city: City, firm: Row, tax: str) -> Row:
    """A tax registration's (税务登记) columns; a sole trader's number is the owner's citizen ID with a suffix."""
    region = firm["reg_region"]
    if firm["uscc"]:
        tax_no = firm["uscc"]
    elif firm["org_code"]:
        tax_no = f"440199{firm['org_code']}"
    else:
        suffix = city.numbers.serial(f"{tax}:{firm['legal_rep_id']}")
        tax_no = f"{firm['legal_rep_id']}{suffix:02}"
    if "ent_id" in firm:
        tax_numbers(city)[firm["ent_id"], tax] = tax_no
    office = "国家税务局" if tax == "state_tax" else "地方税务局"
    days = 20 if city.rng.random() < 0.9 else 40 + int(city.rng.random() * 160)  # one in ten comes late
    return {
        "tax_no": tax_no,
        "uscc": firm["uscc"],
        "org_code": firm["org_code"],
        "name": dirt.name(city.rng, firm["name"].strip(), 0.02),
        "tax_authority": f"广州市{names.REGIONS[region]}区{office}",
        "region": region,
        "registered_date": min(firm["established"] + timedelta(days=days), max(firm["established"], OPENING)),
        "status": "NORMAL",
    }


def tax_numbers(city: City) -> dict[tuple[str, str], str]:
    """Entity and tax to the number it is registered by, or was at last: of a sole trader nothing else tells it."""
    return city.memory.setdefault("tax_numbers", {})


def filing_columns(city: City, payer: Row, tax_kind: str, period: str) -> Row:
    """A tax filing's (纳税申报) columns; one in ten declares nothing."""
    rng = city.rng
    is_zero = rng.random() < 0.1
    return {
        "tax_no": payer["tax_no"],
        "tax_kind": tax_kind if rng.random() > 0.0005 else "UNKNOWN",
        "period": period,
        "declared_amount": "0.00" if is_zero else money(rng, 50, 90_000),
        "revenue": "0.00" if is_zero else money(rng, 2_000, 3_000_000),
        "filed_at": at(next_period(period), 15),
    }


def change_columns(city: City, firm: Row, item: str, old: str | None, new: str | None, day: date) -> Row:
    """A registered change's (变更登记) columns."""
    return {
        "ent_id": firm["ent_id"],
        "seq": city.numbers.serial(f"change:{firm['ent_id']}"),
        "item": item,
        "old_value": old,
        "new_value": new,
        "changed_date": day,
    }


def _history(city: City, firm: Row) -> None:
    """What befell the firm before the opening day: changes, listings, its end, filings."""
    rng = city.rng
    for _ in range(rng.choice((0, 0, 1, 2))):
        old = names.firm(rng, firm["industry"], firm["kind"])
        day = firm["established"] + timedelta(days=int(rng.random() * max(1, (OPENING - firm["established"]).days)))
        city.put("aic.enterprise_change", **change_columns(city, firm, "NAME", old, firm["name"], day))
    if rng.random() < 0.06:
        listed = days_ago(rng, 1, 600)
        removed = min(listed + timedelta(days=90), OPENING) if rng.random() < 0.4 else None
        cause = rng.choice(("NO_ANNUAL_REPORT", "UNREACHABLE", "FALSE_INFORMATION"))
        city.put("aic.abnormal_listing", ent_id=firm["ent_id"], listed_date=listed, cause=cause, removed_date=removed)
    if rng.random() < 0.08:
        firm["status"] = rng.choices(("REVOKED", "DEREGISTERED", "MOVED_OUT"), (30, 60, 10))[0]
        firm["status_date"] = days_ago(rng, 1, 900) if rng.random() < 0.95 else None


def file_taxes(city: City) -> None:
    """File the taxes of the months before the opening day."""
    for tax, kinds in TAXES.items():
        for payer in list(city.rolls[f"{tax}.registration"]):
            for period in FILED_PERIODS:
                for kind in kinds[: city.rng.choice((1, 2))]:
                    city.put(f"{tax}.filing", **filing_columns(city, payer, kind, period))


def institution_columns(city: City) -> Row:
    """An institution's (事业单位) columns."""
    rng = city.rng
    region = names.region(rng)
    word = rng.choice(
        ("实验学校", "人民医院", "档案馆", "图书馆", "疾病预防控制中心", "房屋管理所", "统计局", "文化馆")
    )
    return {
        "uscc": city.numbers.uscc("12", city.numbers.org_code(False)),
        "name": f"广州市{names.REGIONS[region]}区第{city.numbers.serial('institution')}{word}",
        "kind": "GOVERNMENT" if word == "统计局" else "INSTITUTION",
        "level": rng.choice(("CITY", "DISTRICT")),
        "region": region,
        "status": "ACTIVE",
    }


def social_columns(city: City) -> Row:
    """A social organisation's (社会组织) columns."""
    rng = city.rng
    kind, word = rng.choice(
        (("ASSOCIATION", "商会"), ("PRIVATE_NON_ENTERPRISE", "养老服务中心"), ("FOUNDATION", "慈善基金会"))
    )
    return {
        "uscc": city.numbers.uscc(
            {"ASSOCIATION": "51", "FOUNDATION": "53"}.get(kind, "52"), city.numbers.org_code(False)
        ),
        "name": f"广州市{rng.choice(names.SURNAMES)}氏{rng.choice(('汇', '爱', '同', '康'))}{word}",
        "kind": kind,
        "legal_rep_name": names.surname(rng) + names.given_name(rng, "1"),
        "region": names.region(rng),
        "status": "ACTIVE",
    }
