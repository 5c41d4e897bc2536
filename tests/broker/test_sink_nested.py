"""Nested columns of a flow's feed at every sink: the same JSON in a table, in files of each format and in a request."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as pq
import pytest

from ops.show.tail import View, tail
from schemas.errors import Rejected
from sinks.drops.folder import DropFolder
from sinks.drops.format import format_of
from sinks.drops.sink import DropSink
from sinks.postgresql.sink import PostgresSink
from sinks.sink import TopicTrouble
from tests.broker.test_sink_webhook import Receiver
from tests.stage.delivering import OutFeed, decimal
from tests.stage.webhooks import sink_to

DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 2}
PERMIT: dict[str, Any] = {
    "type": "record",
    "name": "Permit",
    "fields": [
        {"name": "agency", "type": "string"},
        {"name": "amount", "type": ["null", DECIMAL], "default": None},
        {"name": "issued", "type": ["null", {"type": "int", "logicalType": "date"}], "default": None},
        {"name": "seen_at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "share", "type": "double"},
        {"name": "codes", "type": {"type": "array", "items": "string"}},
    ],
}
FIELDS: list[Any] = [
    {"name": "ent_id", "type": "string", "doc": "主体编号"},
    {"name": "permits", "type": {"type": "array", "items": PERMIT}, "doc": "许可信息"},
    {"name": "counts", "type": {"type": "map", "values": ["null", "long"]}, "doc": "计数"},
    {"name": "origin", "type": ["null", {**PERMIT, "name": "Origin"}], "default": None, "doc": "来源"},
    {"name": "rules", "type": {"type": "array", "items": "string"}, "doc": "规则"},
]
RAW = {
    "agency": '食药监 "\\" {,}',
    "amount": decimal("-0.07"),
    "issued": 17_000,
    "seen_at": 1_480_000_000_000_001,
    "share": float("inf"),
    "codes": ["a", "b\nc"],
}
BARE = {**RAW, "amount": None, "issued": None, "codes": [], "share": 0.5}
ROW = {"ent_id": "e1", "permits": [RAW, BARE], "counts": {"2015": 1 << 40, "空": None}, "origin": RAW, "rules": ["W1"]}
LATER = {"ent_id": "e1", "permits": [], "counts": {}, "origin": None, "rules": []}
SHOWN = {
    "agency": '食药监 "\\" {,}',
    "amount": "-0.07",
    "issued": "2016-07-18",
    "seen_at": "2016-11-24T15:06:40.000001Z",
    "share": "Infinity",
    "codes": ["a", "b\nc"],
}
SHOWN_BARE = {**SHOWN, "amount": None, "issued": None, "codes": [], "share": 0.5}
NESTED = {"permits": [SHOWN, SHOWN_BARE], "counts": {"2015": 1 << 40, "空": None}, "origin": SHOWN, "rules": ["W1"]}


@pytest.fixture
def feed(unique: str) -> OutFeed:
    return OutFeed(unique, "registration.disclosure", FIELDS, key=("ent_id",))


@pytest.fixture
def dsn(postgres: Any) -> str:
    return postgres.create_database("nested")


@pytest.fixture
def sink(feed: OutFeed, dsn: str) -> Iterator[PostgresSink]:
    sink = PostgresSink(
        dsn=dsn, subscriber=feed.subscriber, schema_of=feed.schemas.__getitem__, schema="public", tables={}
    )
    yield sink
    sink.close()


def table(dsn: str, columns: str = "permits, counts, origin, rules") -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(f"SELECT {columns} FROM registration_disclosure ORDER BY ent_id".encode()).fetchall()


def test_a_table_keeps_nested_columns_as_jsonb(dsn: str, feed: OutFeed, sink: PostgresSink) -> None:
    types = "pg_typeof(permits)::text, pg_typeof(counts)::text, pg_typeof(origin)::text, pg_typeof(rules)::text"
    create, update = feed.record("c", ROW), feed.record("u", LATER)
    sink.write([feed.batch(create)])
    assert table(dsn, types) == [("jsonb", "jsonb", "jsonb", "text[]")]
    assert table(dsn) == [tuple(NESTED.values())]
    assert table(dsn, "permits->0->>'agency', (counts->>'2015')::bigint") == [(SHOWN["agency"], 1 << 40)]
    sink.write([feed.batch(update)])
    assert table(dsn) == [([], {}, None, [])]
    sink.write([feed.batch(create, update)])
    assert table(dsn) == [([], {}, None, [])], "SK-01: an older position changes nothing, nor does an equal one"
    sink.write([feed.batch(feed.record("u", ROW), feed.record("c", {**LATER, "ent_id": "e2"}))])
    assert table(dsn) == [tuple(NESTED.values()), ([], {}, None, [])]
    sink.write([feed.batch(feed.record("d", ROW), feed.tombstone(ROW))])
    assert table(dsn, "ent_id") == [("e2",)]


def test_a_record_may_gain_a_field_and_a_table_a_nested_column(dsn: str, feed: OutFeed, sink: PostgresSink) -> None:
    sink.write([feed.batch(feed.record("c", ROW))])
    wider = {**PERMIT, "fields": [*PERMIT["fields"], {"name": "note", "type": ["null", "string"], "default": None}]}
    steps = {"name": "steps", "type": ["null", {"type": "array", "items": {**PERMIT, "name": "Step"}}]}
    feed.use([FIELDS[0], {"name": "permits", "type": {"type": "array", "items": wider}}, *FIELDS[2:], steps])
    later = {**ROW, "permits": [{**RAW, "note": "续"}], "steps": [BARE]}
    sink.write([feed.batch(feed.record("u", later))])
    assert table(dsn, "permits, steps") == [([{**SHOWN, "note": "续"}], [SHOWN_BARE])]


def test_a_departments_own_json_columns_are_kept_and_others_are_not(
    dsn: str, feed: OutFeed, sink: PostgresSink
) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE registration_disclosure (ent_id text PRIMARY KEY, permits json, counts text, origin jsonb, "
            'rules text[], _mesh_token text COLLATE "C" NOT NULL)'
        )
    sink.write([feed.batch(feed.record("c", ROW))])
    assert table(dsn, "permits, counts::json, origin") == [tuple(NESTED.values())[:3]]
    sink.close()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("ALTER TABLE registration_disclosure ALTER permits TYPE text[] USING NULL")
    other = PostgresSink(
        dsn=dsn, subscriber=feed.subscriber, schema_of=feed.schemas.__getitem__, schema="public", tables={}
    )
    with pytest.raises(TopicTrouble, match=r"column permits: is text\[\], the contract says jsonb"):
        other.write([feed.batch(feed.record("u", ROW))])
    other.close()


def test_a_text_that_no_database_holds_is_refused_within_json_as_outside(feed: OutFeed, sink: PostgresSink) -> None:
    with pytest.raises(Rejected) as refused:
        sink.write([feed.batch(feed.record("c", {**ROW, "permits": [{**RAW, "agency": "秘\0密"}]}))])
    assert refused.value.reason == "sql_22P05"
    assert "秘" not in str(refused.value), "errors carry no values"


def dropped(tmp_path: Path, feed: OutFeed, name: str) -> Path:
    ending, write_file = format_of(name, "test")
    sink = DropSink(
        place=DropFolder(tmp_path),
        subscriber=feed.subscriber,
        schema_of=feed.schemas.__getitem__,
        ending=ending,
        write_file=write_file,
    )
    sink.write([feed.batch(feed.record("c", ROW), feed.record("u", LATER), feed.record("d", LATER))])
    return next((tmp_path / feed.feed).glob(f"*{ending}"))


def test_json_lines_hold_nested_columns_as_they_are(tmp_path: Path, feed: OutFeed) -> None:
    lines = [json.loads(line) for line in dropped(tmp_path, feed, "jsonl").read_text("utf-8").splitlines()]
    assert [line["_mesh_op"] for line in lines] == ["c", "u", "d"]
    assert {name: lines[0][name] for name in NESTED} == NESTED
    assert {name: lines[1][name] for name in LATER} == LATER


def test_csv_holds_nested_columns_as_json(tmp_path: Path, feed: OutFeed) -> None:
    with dropped(tmp_path, feed, "csv").open(encoding="utf-8", newline="") as file:
        first, later, _ = list(csv.DictReader(file))
    assert {name: json.loads(first[name]) for name in NESTED} == NESTED
    assert (later["permits"], later["counts"], later["origin"]) == ("[]", "{}", "")


def test_parquet_holds_nested_columns_as_json(tmp_path: Path, feed: OutFeed) -> None:
    first, later, _ = pq.read_table(dropped(tmp_path, feed, "parquet")).to_pylist()
    assert {name: json.loads(first[name]) for name in NESTED} == NESTED
    assert (later["permits"], later["counts"], later["origin"]) == ("[]", "{}", None)


def test_a_request_holds_nested_columns_and_the_flows_reason(feed: OutFeed) -> None:
    receiver = Receiver()
    sink = sink_to(receiver.url, feed)
    gone = feed.record("d", ROW)
    gone = gone._replace(headers=[*(gone.headers or ()), ("reason", b"PUBLICATION_EXPIRED")])
    try:
        for record in (feed.record("c", ROW), gone):
            assert sink.send([sink.message(feed.topic, record)]) is None
    finally:
        sink.close()
        receiver.close()
    created, removed = [body for _, body in receiver.requests]
    assert created["after"] == {"ent_id": "e1", **NESTED}
    assert (removed["before"], removed["reason"]) == (created["after"], "PUBLICATION_EXPIRED")


def test_tail_shows_nested_columns_as_people_read_them(feed: OutFeed) -> None:
    batch = feed.batch(feed.record("c", ROW))
    view = View(contract=feed.contract)
    (line,) = tail(feed.topic, [batch], feed.codec, view, as_json=True)
    assert json.loads(line)["after"] == {"ent_id": "e1", **NESTED}
    _, text = tail(feed.topic, [batch], feed.codec, view)
    assert '"issued": "2016-07-18"' in text
    assert '"amount": "-0.07"' in text
    hidden = OutFeed(
        feed.subscriber, feed.feed, [{**each, "confluent:tags": ["PII"]} for each in FIELDS], key=("ent_id",)
    )
    (line,) = tail(feed.topic, [batch], feed.codec, View(contract=hidden.contract), as_json=True)
    assert json.loads(line)["after"] == dict.fromkeys(ROW, "•••")
