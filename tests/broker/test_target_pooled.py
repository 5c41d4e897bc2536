"""A subscriber's database behind a pooler that pools by transaction, such as PgBouncer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from schemas.errors import Rejected
from sinks.postgresql.sink import PostgresSink
from tests.stage.delivering import OutFeed, decimal
from tests.stage.pooler import CONNECTIONS, Pooler, pooler


@pytest.fixture(params=[True, False], ids=["refuses options", "ignores options"])
def pooled(request: pytest.FixtureRequest, dsn: str) -> Iterator[Pooler]:
    with pooler(dsn, is_strict=request.param) as running:
        yield running


def person(number: int, name: str) -> dict[str, Any]:
    return {"id": number, "name": name, "amount": decimal("1.50")}


def test_rows_arrive_though_every_transaction_has_another_connection(dsn: str, unique: str, pooled: Pooler) -> None:
    feed = OutFeed(unique, "police.person")
    schemas = feed.schemas.__getitem__
    sink = PostgresSink(dsn=pooled.dsn, subscriber=unique, schema_of=schemas, schema="public", tables={})
    try:
        for turn in range(3 * CONNECTIONS):
            records = [feed.record("u", person(number, f"turn {turn}")) for number in range(20)]
            sink.write([feed.batch(*records)])
        sink.write([feed.batch(feed.record("d", person(19, "")), feed.tombstone(person(19, "")))])
        sink.check()
        with psycopg.connect(dsn) as connection:
            connection.execute("ALTER TABLE police_person ADD CHECK (name <> 'bad')")
        with pytest.raises(Rejected):
            sink.write([feed.batch(feed.record("u", person(1, "bad")))])
        sink.write([feed.batch(feed.record("u", person(1, "good")))])
    finally:
        sink.close()
    with psycopg.connect(dsn) as connection:
        found = dict(connection.execute("SELECT id, name FROM police_person").fetchall())
    assert found == {**{number: f"turn {3 * CONNECTIONS - 1}" for number in range(19)}, 1: "good"}
    assert min(pooled.transactions) >= 3, "all connections took part"
    assert pooled.refused <= 1, "what is refused once is not asked for again"
