"""Tables of an id and a name, captured, and whether their feeds say what the database says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg

from schemas.change import Op
from tests.stage.capturing import Rig, contract
from tests.stage.until import until_none

FIELDS = {"id": "long", "name": "string"}


def make(db: psycopg.Connection[Any], *tables: str, rows: int = 3, identity: str = "FULL") -> None:
    """Tables with rows 1 to `rows`."""
    for table in tables:
        db.execute(f"CREATE TABLE {table} (id bigint PRIMARY KEY, name text)")
        db.execute(f"ALTER TABLE {table} REPLICA IDENTITY {identity}")
        db.execute(f"INSERT INTO {table} SELECT g, 'row ' || g FROM generate_series(1, {rows}) g")


def add(rig: Rig, *tables: str, **gov: Any) -> list[str]:
    """Onboard the tables; their feeds."""
    feeds = [f"{rig.agency}.{table}" for table in tables]
    for feed in feeds:
        rig.add(contract(feed, FIELDS, **gov))
    return feeds


def until_equal(rig: Rig, db: psycopg.Connection[Any], feed: str, table: str = "", within_seconds: float = 60) -> None:
    """What a subscriber of the feed holds comes to be what the table holds; `table` is the feed's own by default."""
    table = table or feed.rsplit(".", 1)[1]

    def difference() -> str:
        there = {(row[0],): {"id": row[0], "name": row[1]} for row in db.execute(f"SELECT id, name FROM {table}")}
        here: Mapping[Any, Any] = rig.fold(feed)
        return "" if here == there else f"the feed has {sorted(here)}, the table {sorted(there)}"

    until_none(difference, within_seconds, f"{feed} equals {table}")


def captured(rig: Rig, db: psycopg.Connection[Any], *tables: str) -> list[str]:
    """Tables that capture has copied and streamed before it stopped; their feeds."""
    make(db, *tables)
    feeds = add(rig, *tables)
    with rig.capturing():
        for feed in feeds:
            until_equal(rig, db, feed)
        rig.until_streaming()
    return feeds


def until_flowing(rig: Rig, db: psycopg.Connection[Any], feed: str) -> None:
    """A change of the feed's table arrives."""
    table = feed.rsplit(".", 1)[1]
    db.execute(f"INSERT INTO {table} SELECT max(id) + 1, 'still flowing' FROM {table}")
    until_equal(rig, db, feed, within_seconds=20)


def truncates(rig: Rig, feed: str) -> int:
    """How often subscribers were told that all rows are gone."""
    return rig.seen.events[feed, Op.TRUNCATE.value]
