"""A small city's open data: what the flow publishes of its rows, for tests of the API that answers from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ops.opendata.follow import FEEDS
from ops.opendata.store import News, Store
from schemas.agreement.directory import Directory, FeedEntry
from schemas.contract import Contract
from streams.engine.effects import RowChange
from tests.stage.rehearsal import Rehearsal, cents, city_contracts, days, micros

DAY = 86_400_000_000
CONTRACTS = city_contracts()


def fill(city: Rehearsal, firms: int = 40) -> None:
    """So many firms in Tianhe, the second half of them with a food licence, and 30 residents (one group of three times k)."""
    for number in range(firms):
        firm(city, number)
    for number in range(firms // 2, firms * 3 // 2):
        columns = {"licence_kind": "DRUG", "holder_id_type": "USCC", "region": "440106", "status": "VALID"}
        city.insert("fda.licence", licence_no=str(number), uscc=f"U{number}", **columns)
    for number in range(30):
        resident(city, number, "MARRIED" if number % 2 else "DIVORCED")


def fill_districts(city: Rehearsal) -> None:
    """Firms, stalls and food licences of four districts, more of them in one than in the other, in places of their own."""
    centres = {
        "440106": (113.36, 23.16),
        "440111": (113.33, 23.30),
        "440105": (113.32, 23.08),
        "440118": (113.80, 23.35),
    }
    for order, (region, (lon, lat)) in enumerate(centres.items()):
        for number in range(30 - 6 * order if order != 1 else 24):
            name = f"{region}-{number}"
            place = {"lon": lon + 0.012 * (number % 2), "lat": lat, "reg_region": region}
            identity = {"ent_id": name, "uscc": f"U{name}", "name": f"企业{name}", "legal_rep_id": f"SECRET{name}"}
            firm(city, number, **identity, **place)
            stall = {"ent_id": f"S{name}", "uscc": f"S{name}", "kind": "SOLE_TRADER", "name": f"某人{name}"}
            firm(city, number, **stall, **place)
            columns = {"licence_kind": "DRUG", "holder_id_type": "USCC", "region": region, "status": "VALID"}
            city.insert("fda.licence", licence_no=name, uscc=f"U{name}", **columns)


def firm(city: Rehearsal, number: int, **columns: Any) -> None:
    row = {
        "ent_id": f"E{number}",
        "uscc": f"U{number}",
        "name": f"企业{number}",
        "kind": "ENTERPRISE",
        "industry": "F" if number % 4 else "A",
        "reg_region": "440106",
        "established": days("2015-01-01"),
        "capital": cents("100.00"),
        "status": "ACTIVE",
        "lon": 113.2644,
        "lat": 23.1291,
        "legal_rep_id": f"SECRET{number}",
    }
    city.insert("aic.enterprise", **(row | columns))


def resident(city: Rehearsal, number: int, marital_status: str) -> None:
    row = {
        "id_type": "CITIZEN_ID",
        "id_no": f"P{number:04}",
        "name": f"某人{number}",
        "sex": "1",
        "birth_date": days("1990-03-04"),
        "hukou_region": "440106",
        "life_status": "ALIVE",
        "marital_status": marital_status,
        "supersedes": [],
        "former_names": [],
    }
    city.insert("base.person", **row)


def tick(city: Rehearsal, day: int) -> None:
    """A day passes; what is counted from what is counted settles within it."""
    for part in range(4):
        city.tick(micros("2016-11-01") + day * DAY + part)


def entry(contract: Contract, number: int = 0) -> FeedEntry:
    return FeedEntry(
        contract=contract, version=1, key_schema_id=2 * number + 1, value_schema_id=2 * number + 2, partitions=1
    )


def directory(contracts: Iterable[Contract] = CONTRACTS.values()) -> Callable[[], Directory]:
    present = Directory(feeds={contract.feed: entry(contract) for contract in contracts})
    return lambda: present


def published(city: Rehearsal) -> list[RowChange]:
    """What the flow wrote to the open feeds that the API reads."""
    return [change for change in city.history if change.feed in FEEDS]


def news(changes: Iterable[RowChange]) -> Iterator[News]:
    """Changes of open feeds as the store takes them."""
    for change in changes:
        row = change.after if change.after is not None else change.before
        assert row is not None
        key = {column: row[column] for column in CONTRACTS[change.feed].key}
        at = change.committed_at_ms
        yield News(kind=FEEDS[change.feed], key=key, row=change.after, committed_ms=at, published_ms=at + 1500)


def catch_up(store: Store, city: Rehearsal) -> None:
    """Give the store everything that the flow has written so far, as if read in one batch."""
    store.take(list(news(published(city))), {})
