"""The comparison against real sinks and a real source: exact when all is there, and telling when anything is not."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import date
from typing import Any

import psycopg
import pytest

from ops.city.city import City
from ops.city.opening_day import create, fill
from ops.proof.compare import compare, entitled
from ops.proof.ddl import create_table
from producers.postgresql.read_back import rows as source_rows
from schemas.agreement.grant import Grant, Mask
from sinks.document import Documents
from sinks.drops.copy import FileCopy
from sinks.drops.folder import DropFolder
from sinks.drops.format import format_of
from sinks.drops.sink import DropSink
from sinks.http.copy import WebhookCopy
from sinks.postgresql.copy import DeliveredCopy
from sinks.postgresql.sink import PostgresSink
from tests.stage.city_databases import city_databases
from tests.stage.delivering import OutFeed, decimal


def logical(base: str, name: str, **more: Any) -> dict[str, Any]:
    return {"type": base, "logicalType": name, **more}


SPAN = {
    "type": "record",
    "name": "Interval_span",
    "fields": [{"name": "months", "type": "int"}, {"name": "days", "type": "int"}, {"name": "micros", "type": "long"}],
}
FIELDS = [
    {"name": "id", "type": "int"},
    {"name": "name", "type": ["null", "string"]},
    {"name": "amount", "type": ["null", logical("bytes", "decimal", precision=18, scale=2)]},
    {"name": "day", "type": ["null", logical("int", "date")]},
    {"name": "seen", "type": ["null", logical("long", "timestamp-micros")]},
    {"name": "local", "type": ["null", logical("long", "local-timestamp-micros")]},
    {"name": "raw", "type": ["null", "bytes"]},
    {"name": "tags", "type": ["null", {"type": "array", "items": ["null", "string"]}]},
    {"name": "flag", "type": ["null", "boolean"]},
    {"name": "place", "type": ["null", "double"]},
    {"name": "token", "type": ["null", logical("string", "uuid")]},
    {"name": "items", "type": ["null", "string"], "pg.type": "jsonb"},
    {"name": "ratio", "type": ["null", "float"], "pg.type": "real"},
    {"name": "worth", "type": ["null", "double"], "pg.type": "double precision"},
    {"name": "span", "type": ["null", SPAN, "string"], "pg.type": "interval"},
    {"name": "net", "type": ["null", "string"], "pg.type": "inet"},
    {"name": "big", "type": ["null", "string"], "pg.type": "numeric"},
    {"name": "until", "type": ["null", logical("int", "date"), "string"], "pg.type": "date"},
    {
        "name": "since",
        "type": ["null", logical("long", "timestamp-micros"), "string"],
        "pg.type": "timestamp with time zone",
    },
]
FULL = {
    "id": 1,
    "name": '公民, "甲"\n\u2028㛃𠮷',
    "amount": decimal("-0.07"),
    "day": -1,
    "seen": 1_700_000_000_000_001,
    "local": -1,
    "raw": b"\x00\xff",
    "tags": ["a", None, ""],
    "flag": False,
    "place": 0.1,
    "token": "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
    "items": '{"a": 1}',
    "ratio": 1.1,
    "worth": float("nan"),
    "span": {"months": -13, "days": 2, "micros": -3_600_000_001},
    "net": "10.0.0.1/24",
    "big": "0.00000012345678901234567890123456789012345678901234567890",
    "until": "infinity",
    "since": "0044-03-15 12:00:00+00 BC",
}
IN_SOURCE = """INSERT INTO public.t VALUES
 (1, E'公民, "甲"\\n\\u2028㛃𠮷', -0.07, '1969-12-31', '2023-11-14 22:13:20.000001Z', '1969-12-31 23:59:59.999999',
  '\\x00ff', '{a,NULL,""}', false, 0.1, '6ba7b810-9dad-11d1-80b4-00c04fd430c8', '{"a":1}',
  1.1, 'NaN', '-1 years -1 mons 2 days -01:00:00.000001', '10.0.0.1/24', 0.00000012345678901234567890123456789012345678901234567890,
  'infinity', '0044-03-15 12:00:00+00 BC');
 INSERT INTO public.t (id) VALUES (2)"""


@pytest.fixture
def feed(unique: str) -> OutFeed:
    return OutFeed(unique, "police.t", FIELDS)


@pytest.fixture
def source(postgres: Any, feed: OutFeed) -> str:
    dsn = postgres.create_database("compared")
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in create_table(feed.contract):
            connection.execute(statement)
        connection.execute(IN_SOURCE)
    return dsn


def delivered(feed: OutFeed) -> list[Any]:
    """Two rows that stay and one that goes, the first of them after an older state."""
    stale = {**FULL, "name": "old"}
    gone = {**FULL, "id": 3}
    return [
        feed.record("r", stale),
        feed.record("u", FULL),
        feed.record("c", gone),
        feed.record("c", {"id": 2}),
        feed.record("d", gone),
    ]


def test_a_table_is_compared_to_the_last_value(postgres: Any, feed: OutFeed, source: str) -> None:
    dsn = postgres.create_database("copy")
    sink = PostgresSink(dsn=dsn, subscriber=feed.subscriber, schema_of=feed.schemas.__getitem__, schema="gz", tables={})
    copy, grant = DeliveredCopy(dsn=dsn, schema="gz"), feed.grant.grant
    assert compare(grant, feed.contract, source_rows(source, feed.contract), copy).missing == 2, "no table yet"
    sink.write([feed.batch(*delivered(feed))])
    sink.close()
    assert compare(grant, feed.contract, source_rows(source, feed.contract), copy).to_json() == {
        "expected": 2,
        "found": 2,
        "missing": 0,
        "surplus": 0,
        "different": 0,
        "withdrawn": 0,
        "exact": True,
    }
    for damage in (
        "amount = -0.08",
        "tags = '{a,b}'",
        "local = local + interval '1 microsecond'",
        "flag = NULL",
        "worth = 0",
        "until = '-infinity'",
    ):
        with psycopg.connect(dsn) as connection:
            connection.execute(f"UPDATE gz.police_t SET {damage} WHERE id = 1")
            connection.commit()
            assert compare(grant, feed.contract, source_rows(source, feed.contract), copy).different == 1, damage
    with psycopg.connect(dsn) as connection:
        connection.execute("UPDATE gz.police_t SET id = 9 WHERE id = 2")
    found = compare(grant, feed.contract, source_rows(source, feed.contract), copy)
    assert (found.missing, found.surplus) == (1, 1)


@pytest.mark.parametrize("name", ["jsonl", "parquet"])
def test_drops_are_compared_to_the_last_value(tmp_path: Any, feed: OutFeed, source: str, name: str) -> None:
    ending, write_file = format_of(name, "test")
    sink = DropSink(
        place=DropFolder(tmp_path),
        subscriber=feed.subscriber,
        schema_of=feed.schemas.__getitem__,
        ending=ending,
        write_file=write_file,
    )
    copy = FileCopy(directory=tmp_path, format=name)
    for record in delivered(feed):
        sink.write([feed.batch(record)])
    assert compare(feed.grant.grant, feed.contract, source_rows(source, feed.contract), copy).is_exact
    sink.write([feed.batch(feed.record("u", {**FULL, "place": 0.2}))])
    assert compare(feed.grant.grant, feed.contract, source_rows(source, feed.contract), copy).different == 1


def test_a_receivers_log_is_compared_to_the_last_value(tmp_path: Any, feed: OutFeed, source: str) -> None:
    documents = Documents(feed.schemas.__getitem__, feed.subscriber)
    log = tmp_path / "received.jsonl"
    with log.open("w") as file:
        for record in delivered(feed):
            document = documents.document(feed.topic, record)
            assert document is not None
            file.write(json.dumps(document.json(), ensure_ascii=False) + "\n")
    assert compare(feed.grant.grant, feed.contract, source_rows(source, feed.contract), WebhookCopy(log=log)).is_exact


def test_what_a_grant_entitles_to_is_what_plain_sql_says(postgres: Any, mariadb: Any) -> None:
    """Filter, rejected rows, projection and masks of one grant, against a query written by hand."""
    city = City(3, scale=1 / 4000)
    dsns = city_databases(postgres, mariadb, "small")
    create(city, dsns)
    fill(city, dsns)
    contract = city.contracts["police.resident"]
    grant = Grant(
        grant_id="hrss.police.resident",
        subscriber="hrss",
        feed="police.resident",
        columns=("citizen_id", "name", "birth_date", "mobile"),
        purpose="test",
        row_filter="hukou_region == '440106' && status != 'DECEASED' && birth_date < '1990-01-01'",
        mask={"citizen_id": Mask.HASH, "name": Mask.MASK, "birth_date": Mask.MASK, "mobile": Mask.DROP},
    )
    with psycopg.connect(dsns["police"]) as connection:
        query = (
            "SELECT citizen_id, name FROM public.resident WHERE hukou_region = '440106' AND status <> 'DECEASED' "
            "AND birth_date < %s AND citizen_id <> ALL (%s)"
        )
        everyone = [number for (number,) in connection.execute("SELECT citizen_id FROM public.resident")]
        weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
        wrong = [
            number
            for number in everyone
            if "10X98765432"[sum(int(d) * w for d, w in zip(number[:17], weights, strict=True)) % 11] != number[17]
        ]
        rows = connection.execute(query, (date(1990, 1, 1), wrong)).fetchall()
    expected = set()
    for number, name in rows:
        hashed = hmac.new(b"key", number.encode(), hashlib.sha256).hexdigest()
        hidden = name[0] + "*" * (len(name) - 2) + name[-1] if len(name) > 2 else name[0] + "*"
        expected.add((hashed, hidden, None))
    assert set(entitled(grant, contract, source_rows(dsns["police"], contract), b"key").values()) == expected
    assert len(expected) > 50
