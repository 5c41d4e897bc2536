"""Assets: cars, homes and their sales."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from ops.city import dirt
from ops.city.chance import OPENING, age_of, days_ago, money
from ops.city.city import City
from ops.city.numbers import fifteen_digits
from ops.city.people import names
from ops.city.people.roll import Row

VEHICLES = 2_300_000
PROPERTIES = 6_000_000


def own(city: City) -> None:
    """Hand out everything in this file as it stood before the opening day."""
    rng = city.rng
    for _ in range(city.count(VEHICLES)):
        city.put("police.vehicle", **vehicle_columns(city, days_ago(rng, 1, 4500)))
    for _ in range(city.count(PROPERTIES)):
        home = city.put("land.property", **property_columns(city, days_ago(rng, 1, 6000)))
        if rng.random() < 0.25:
            sold = sale_columns(city, home, adult(city)["citizen_id"], home["owner_id"], home["acquired_date"])
            city.put("land.property_sale", **sold)
            if rng.random() < 0.93:
                city.put("local_tax.deed_tax", **deed_tax_columns(city, sold))


def adult(city: City, today: date = OPENING) -> Row:
    """A registered resident of age."""
    while True:
        person = city.rolls["police.resident"].pick(city.rng)
        assert person is not None, "people settle before they own anything"
        if person["status"] == "REGISTERED" and age_of(person["birth_date"], today) >= 18:
            return person


def firm_id(firm: Row) -> tuple[str, str]:
    """Type and number by which other departments know the firm."""
    if firm["uscc"]:
        return "USCC", firm["uscc"]
    return (
        ("REGISTRATION_NO", firm["registration_no"])
        if firm["registration_no"]
        else ("ORG_CODE", firm["org_code"] or "")
    )


def owner_columns(city: City, person: Row, day: date) -> Row:
    """How a register names its owner; what is old may carry a 15-digit number."""
    number = person["citizen_id"]
    if day.year < 2006 and city.rng.random() < 0.5:
        number = fifteen_digits(number)
    return {
        "owner_id_type": "CITIZEN_ID",
        "owner_id": number,
        "owner_name": dirt.name(city.rng, person["name"].strip()),
    }


def vehicle_columns(city: City, day: date) -> Row:
    """A vehicle's (机动车) columns."""
    rng = city.rng
    return {
        "vin": city.numbers.vin(),
        "plate_no": city.numbers.plate_no(),
        **owner_columns(city, adult(city), day),
        "use_type": rng.choices(("PRIVATE", "TAXI", "FREIGHT", "OFFICIAL"), (86, 4, 8, 2))[0],
        "vehicle_class": rng.choice(("K31", "K32", "K33", "H31", "M21")),
        "first_registered": day,
        "status": "NORMAL" if rng.random() < 0.998 else rng.choice(("正常", "N", "SEIZED")),
    }


def property_columns(city: City, day: date) -> Row:
    """A property's (不动产) columns."""
    rng = city.rng
    region = names.region(rng)
    lon, lat = names.place(rng, region)
    has_place = rng.random() < 0.7
    serial = city.numbers.serial("property")
    return {
        "unit_no": f"{region}001001GB{serial:08}F00010001",
        "cert_no": f"粤（{day.year}）广州市不动产权第{serial:08}号",
        **owner_columns(city, adult(city), day),
        "share": "1.0000" if rng.random() < 0.9 else "0.5000",
        "usage": rng.choices(("RESIDENTIAL", "COMMERCIAL", "OFFICE", "INDUSTRIAL"), (88, 6, 4, 2))[0],
        "area_m2": money(rng, 30, 180),
        "region": region,
        "address": names.address(rng, region),
        "lon": lon if has_place else None,
        "lat": lat if has_place else None,
        "crs": rng.choices(("CGCS2000", "GCJ02", "BJ54"), (90, 9, 1))[0],
        "acquired_date": day,
        "status": rng.choices(("REGISTERED", "MORTGAGED"), (70, 30))[0],
    }


def sale_columns(city: City, home: Row, seller_id: str, buyer_id: str, day: date) -> Row:
    """A property sale's (房屋交易) columns."""
    return {
        "contract_no": f"F{day.year}{city.numbers.serial('sale'):08}",
        "unit_no": home["unit_no"],
        "seller_id": seller_id,
        "buyer_id": buyer_id,
        "price": money(city.rng, 400_000, 9_000_000),
        "signed_date": day - timedelta(days=20),
        "transferred_date": day,
    }


def deed_tax_columns(city: City, sale: Row) -> Row:
    """A deed-tax receipt's (契税) columns."""
    day = sale["transferred_date"] or sale["signed_date"]
    return {
        "receipt_no": f"Q{city.numbers.serial('deed_tax'):010}",
        "contract_no": sale["contract_no"],
        "amount": f"{float(sale['price']) * 0.03:.2f}",
        "paid_at": datetime(day.year, day.month, day.day, 7, 30, tzinfo=UTC),
    }
