"""Taxes: what the tax offices can see of others' registers: power and water, land, and taxpayers who are late or unknown.

What should have come and has not is what the tax flow warns of: firms that never registered, sales without deed tax, much
power and no revenue. Offices had answered old warnings by their numbers, which follow from the rows alone; new ones they answer
as the mesh brings them (ops/city/office/inspection.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta

from ops.city.chance import OPENING, at, days_ago, moment_of, money, next_period
from ops.city.city import City
from ops.city.firms.credit import coded_firm
from ops.city.firms.firms import TAXES, tax_columns
from ops.city.flow_data import warning_id
from ops.city.people import names
from ops.city.people.assets import firm_id
from ops.city.people.roll import Row
from schemas.expression.identifiers import validate_uscc

USAGE, PARCEL = "utilities.usage", "land.parcel_sale"
HOUSEHOLD_METERS = 900_000
PARCELS = 24_000
READ_PERIODS = ("201607", "201608", "201609")
STRANGERS = 2_000
SPENDERS = 4
"""Firms per demo city that use much power and declare nothing (W6): enough to see the rule at work, at any scale."""
PRECISION = {"W1": 0.7, "W2": 0.6, "W3": 0.55, "W7": 0.15}
"""Share of a rule's warnings that the offices confirm."""
_RULES_SINCE = date(2008, 7, 8)


@dataclass(frozen=True, slots=True)
class Meter:
    """A water or power meter: who holds it, where, and about how much goes through it in a month."""

    account_no: str
    utility: str
    holder: tuple[str, str]
    address: str
    usual: float


@dataclass(frozen=True, slots=True)
class Warned:
    """A warning that an office has had: when it could be answered at the earliest, and by whom."""

    cause: date
    due: date
    feed: str
    warning_id: str


@dataclass(slots=True)
class Books:
    """Meters, firms that never registered for tax, parcels not paid for."""

    meters: list[Meter] = field(default_factory=list[Meter])
    unregistered: deque[Row] = field(default_factory=deque[Row])
    unpaid: deque[Row] = field(default_factory=deque[Row])


def books(city: City) -> Books:
    """The city's books."""
    return city.memory.setdefault("taxes", Books())


def levy(city: City) -> None:
    """Everything in this file as it stood before the opening day."""
    _meters(city)
    for period in READ_PERIODS:
        for meter in books(city).meters:
            city.put(USAGE, **usage_columns(city, meter, period))
    for _ in range(city.count(PARCELS)):
        signed = days_ago(city.rng, 40, 900)
        parcel = city.put(PARCEL, **parcel_columns(city, signed))
        parcel["updated_at"] = moment_of(city.rng, signed + timedelta(days=int(city.rng.random() * 39)))
        if float(parcel["paid_amount"]) < float(parcel["price"]):
            books(city).unpaid.append(parcel)
        elif parcel["grantee_uscc"] and city.rng.random() < 0.6:
            _land_use(city, parcel)
    _strangers(city)
    _warnings(city)


def _meters(city: City) -> None:
    """A meter for every other firm and some households; a few firms with revenue 0 run machines all night."""
    rng = city.rng
    spenders = 0
    for firm in city.rolls["aic.enterprise"]:
        if firm["status"] != "ACTIVE" or rng.random() < 0.5:
            continue
        usual = rng.lognormvariate(7.5, 0.6)
        if spenders < SPENDERS and _declares_nothing(city, firm):
            spenders += 1
            usual *= 60
        books(city).meters.append(_meter(city, "POWER", firm_id(firm), firm["address"], usual))
    for _ in range(city.count(HOUSEHOLD_METERS)):
        home = city.rolls["land.property"].pick(rng)
        if home is not None:
            utility = rng.choice(("POWER", "WATER"))
            usual = rng.lognormvariate(5.3 if utility == "POWER" else 2.8, 0.5)
            holder = (home["owner_id_type"], home["owner_id"])
            books(city).meters.append(_meter(city, utility, holder, home["address"], usual))


def _meter(city: City, utility: str, holder: tuple[str, str], address: str, usual: float) -> Meter:
    return Meter(f"{utility[0]}{city.numbers.serial('meter'):09}", utility, holder, address, usual)


def _declares_nothing(city: City, firm: Row) -> bool:
    """Let the firm declare revenue 0 for the last three months, if it is a taxpayer that files monthly."""
    number = firm["uscc"] or (f"440199{firm['org_code']}" if firm["org_code"] else "")
    found = [
        row
        for tax, kinds in TAXES.items()
        for kind in kinds
        for period in READ_PERIODS
        if (row := city.rolls[f"{tax}.filing"].get(number, kind, period)) is not None
    ]
    if {row["period"] for row in found if row["tax_kind"] in {"VAT", "BUSINESS"}} != set(READ_PERIODS):
        return False
    for row in found:
        row["declared_amount"] = row["revenue"] = "0.00"
    return True


def usage_columns(city: City, meter: Meter, period: str) -> Row:
    """A month's water or power (水电用量) of a meter."""
    id_type, number = meter.holder
    quantity = meter.usual * (0.85 + city.rng.random() * 0.3)
    return {
        "account_no": meter.account_no,
        "period": period,
        "utility": meter.utility,
        "holder_id_type": id_type,
        "holder_id": number,
        "address": meter.address,
        "quantity": f"{quantity:.2f}",
        "unit": "KWH" if meter.utility == "POWER" else "M3",
    }


def parcel_columns(city: City, signed: date) -> Row:
    """A parcel sale's (土地出让) columns; some are not paid in full."""
    rng = city.rng
    firm = coded_firm(city, ("K70", "C18")) if rng.random() < 0.95 else None
    region = names.region(rng)
    price = 8_000_000 + int(rng.random() * 900_000_000)
    serial = city.numbers.serial("parcel")
    return {
        "contract_no": f"440199-{signed:%Y}-{serial:06}",
        "grantee_uscc": firm["uscc"] if firm else None,
        "grantee_name": firm["name"].strip() if firm else names.firm(rng, "K70", "ENTERPRISE"),
        "parcel_no": f"{region}001002GB{serial:05}",
        "area_m2": money(rng, 900, 80_000),
        "price": f"{price}.00",
        "due_date": signed + timedelta(days=60),
        "paid_amount": f"{price if rng.random() < 0.75 else price // 2}.00",
    }


def _land_use(city: City, parcel: Row) -> None:
    for period in READ_PERIODS[1:]:
        number = parcel["grantee_uscc"]
        if city.rolls["local_tax.filing"].get(number, "LAND_USE", period) is None:
            city.put("local_tax.filing", **land_use_columns(city, number, period))


def land_use_columns(city: City, tax_no: str, period: str) -> Row:
    """A filing of land-use tax (城镇土地使用税) for a month: due by the fifteenth of the next."""
    return {
        "tax_no": tax_no,
        "tax_kind": "LAND_USE",
        "period": period,
        "declared_amount": money(city.rng, 500, 60_000),
        "revenue": "0.00",
        "filed_at": at(next_period(period), 12),
    }


def _strangers(city: City) -> None:
    """Taxpayers whom neither commerce nor anybody else knows (W9)."""
    for _ in range(city.count(STRANGERS)):
        region = names.region(city.rng)
        stranger: Row = {
            "uscc": None,
            "org_code": city.numbers.org_code(False),
            "name": names.firm(city.rng, "F51", "ENTERPRISE"),
            "reg_region": region,
            "established": days_ago(city.rng, 100, 2000),
        }
        city.put("state_tax.registration", **tax_columns(city, stranger, "state_tax"))


def _warnings(city: City) -> None:
    """Number the warnings that the flow can make of the opening day's rows, and answer half of those that are old."""
    rng = city.rng
    found = [*_of_firms(city), *_of_licences(city)]
    paid = {row["contract_no"] for row in city.rolls["local_tax.deed_tax"]}
    sales = city.rolls["land.property_sale"]
    found += [_of_sale(sale) for sale in sales if sale["contract_no"] not in paid]
    found = [warned for warned in found if warned.cause >= _RULES_SINCE]
    found.sort(key=lambda warned: (warned.due, warned.warning_id))
    for warned in found:
        if warned.due < OPENING - timedelta(days=60) and rng.random() < 0.5:
            day = max(warned.due + timedelta(days=5 + int(rng.random() * 30)), OPENING - timedelta(days=400))
            city.put(warned.feed, **feedback_columns(city, warned) | {"answered_at": moment_of(rng, day)})


def _of_firms(city: City) -> Iterator[Warned]:
    """Firms that tax never heard of (W1), and those that ended while tax has them as normal (W2)."""
    status_at_tax = {
        row["org_code"]: row["status"]
        for tax in TAXES
        for row in city.rolls[f"{tax}.registration"]
        if row["org_code"] is not None
    }
    for firm in city.rolls["aic.enterprise"]:
        if firm["org_code"] is None:
            continue
        entity, status = f"ent:{firm['ent_id']}", status_at_tax.get(firm["org_code"])
        if status is None and firm["status"] == "ACTIVE":
            books(city).unregistered.append(firm)
            yield _warned("state_tax", firm["established"], warning_id("W1", entity, "registered"))
        elif status == "NORMAL" and firm["status"] in {"DEREGISTERED", "REVOKED"} and firm["status_date"] is not None:
            days = (firm["status_date"] - date(1970, 1, 1)).days
            yield _warned("state_tax", firm["status_date"], warning_id("W2", entity, f"{firm['status']}|{days}"))


def _of_licences(city: City) -> Iterator[Warned]:
    """Food licences that were issued to somebody whom tax does not know (W7)."""
    unknown = {
        firm["uscc"] for firm in books(city).unregistered if firm["uscc"] and validate_uscc(firm["uscc"]).is_valid
    }
    for licence in city.rolls["fda.licence"]:
        if licence["uscc"] in unknown and licence["licence_kind"] in {"FOOD_SERVICE", "FOOD_PRODUCTION"}:
            event = f"fda.licence|{licence['licence_kind']}|{licence['licence_no']}"
            party = f"party:USCC|{licence['uscc']}"
            yield _warned("state_tax", licence["issue_date"], warning_id("W7", party, event))


def _warned(agency: str, cause: date, number: str, days: int = 36) -> Warned:
    return Warned(cause, cause + timedelta(days=days), f"{agency}.warning_feedback", number)


def _of_sale(sale: Row) -> Warned:
    """A sale whose deed tax does not come (W3)."""
    number = warning_id("W3", f"sale:{sale['contract_no']}", "transferred")
    return _warned("local_tax", sale["transferred_date"], number, days=96)


def feedback_columns(city: City, warned: Warned) -> Row:
    """An office's answer (税源预警反馈), without its time; about licences the offices mostly know better (F5)."""
    is_right = city.rng.random() < PRECISION[warned.warning_id.partition("-")[0]]
    return {
        "warning_id": warned.warning_id,
        "outcome": "CONFIRMED" if is_right else "FALSE_POSITIVE",
        "amount_recovered": money(city.rng, 800, 240_000) if is_right else None,
    }
