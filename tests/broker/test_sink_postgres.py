"""The PostgreSQL sink on a real server: types, order, duplicates, removals, drift, fences."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from schemas.errors import Fenced, Misconfigured, Rejected, Transient
from sinks.postgresql.sink import PostgresSink
from sinks.postgresql.table.run import RUN_MIN
from sinks.sink import BEGINNING, TopicTrouble
from tests.stage.delivering import PERSON, OutFeed, decimal

OPEN: list[PostgresSink] = []


@pytest.fixture(autouse=True)
def close_sinks() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().close()


def sink_of(dsn: str, feed: OutFeed, **options: Any) -> PostgresSink:
    settings = {"schema": "public", "tables": {}, **options}
    sink = PostgresSink(dsn=dsn, subscriber=feed.subscriber, schema_of=feed.schemas.__getitem__, **settings)
    OPEN.append(sink)
    return sink


def rows(dsn: str, sql: str = "SELECT id, name, amount::text FROM police_person ORDER BY id") -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(sql.encode()).fetchall()


def run(dsn: str, sql: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(sql.encode())


def person(number: int, name: str = "甲", amount: str = "1.50") -> dict[str, Any]:
    return {"id": number, "name": name, "amount": decimal(amount)}


def logical(base: str, name: str, **more: Any) -> dict[str, Any]:
    return {"type": base, "logicalType": name, **more}


NUMERIC = logical("bytes", "decimal", precision=38, scale=10)
INTERVAL = {
    "type": "record",
    "name": "Interval",
    "fields": [{"name": "months", "type": "int"}, {"name": "days", "type": "int"}, {"name": "micros", "type": "long"}],
}
# Avro type, raw value, the PostgreSQL expression it must equal, the type the column must have.
VALUES: list[tuple[Any, Any, str, str]] = [
    ("boolean", True, "true", "boolean"),
    ("int", -(2**31), "(-2147483648)::int", "integer"),
    ("int", 63, "63", "integer"),
    ("int", 64, "64", "integer"),
    ("long", 2**63 - 1, "9223372036854775807", "bigint"),
    ("long", -(2**63), "(-9223372036854775808)::bigint", "bigint"),
    ("float", -0.0, "'-0'::real", "real"),
    ("float", float("nan"), "'NaN'::real", "real"),
    ("double", 1e308, "1e308::float8", "double precision"),
    ("double", float("-inf"), "'-Infinity'::float8", "double precision"),
    ("string", "", "''", "text"),
    ("string", 'a\tb\\N\n"q" {,}', "E'a\\tb\\\\N\\n\"q\" {,}'", "text"),
    ("string", "公民" * 50, "repeat('公民', 50)", "text"),
    ("string", "x" * 84, "repeat('x', 84)", "text"),
    ("bytes", b"\x00\xff\x01", "'\\x00ff01'::bytea", "bytea"),
    ("bytes", b"", "''::bytea", "bytea"),
    (NUMERIC, decimal("-12345678901234567890.0123456789"), "-12345678901234567890.0123456789", "numeric(38,10)"),
    (NUMERIC, decimal("0.0000000001"), "0.0000000001", "numeric(38,10)"),
    (logical("bytes", "decimal", precision=5, scale=0), decimal("-7"), "-7", "numeric(5,0)"),
    (logical("int", "date"), -719162, "'0001-01-01'::date", "date"),
    (logical("int", "date"), 2932896, "'9999-12-31'::date", "date"),
    (logical("long", "time-micros"), 86_399_999_999, "'23:59:59.999999'::time", "time without time zone"),
    (logical("int", "time-millis"), 1, "'00:00:00.001'::time", "time without time zone"),
    (
        logical("long", "timestamp-micros"),
        -1,
        "'1969-12-31 23:59:59.999999+00'::timestamptz",
        "timestamp with time zone",
    ),
    (logical("long", "timestamp-millis"), 1, "'1970-01-01 00:00:00.001+00'::timestamptz", "timestamp with time zone"),
    (
        logical("long", "local-timestamp-micros"),
        253_402_300_799_999_999,
        "'9999-12-31 23:59:59.999999'::timestamp",
        "timestamp without time zone",
    ),
    (
        logical("string", "uuid"),
        "0e6f16f5-e49c-4b82-8796-7c1f0f6b0a01",
        "'0e6f16f5-e49c-4b82-8796-7c1f0f6b0a01'::uuid",
        "uuid",
    ),
    (
        {"type": "array", "items": ["null", "string"]},
        ["a", None, "NULL", 'q"\\,{}', ""],
        "ARRAY['a', NULL, 'NULL', E'q\"\\\\,{}', '']",
        "text[]",
    ),
    ({"type": "array", "items": "float"}, [1.5, -0.0, 0.10000000149011612], "'{1.5,-0,0.1}'::real[]", "real[]"),
    ({"type": "array", "items": ["null", "bytes"]}, [b"\x00\xff", None], r"ARRAY['\x00ff', NULL]::bytea[]", "bytea[]"),
    ({"type": "array", "items": "int"}, [], "'{}'::int[]", "integer[]"),
    ({"type": "array", "items": ["null", logical("int", "date")]}, [0, None], "'{1970-01-01,NULL}'::date[]", "date[]"),
    ({"type": "array", "items": ["null", NUMERIC]}, [decimal("1.0000000000")], "'{1}'::numeric[]", "numeric(38,10)[]"),
    (
        {"type": "map", "values": ["null", "string"]},
        {"k": None, "l": "v"},
        """'{"k": null, "l": "v"}'::jsonb""",
        "jsonb",
    ),
    (INTERVAL, {"months": 14, "days": -3, "micros": 1}, "'14 months -3 days 1 microsecond'::interval", "interval"),
]
LOSSLESS: list[tuple[Any, Any, str, str]] = [
    (logical("int", "date"), "infinity", "'infinity'::date", "date"),
    (logical("int", "date"), "0044-03-15 BC", "'0044-03-15 BC'::date", "date"),
    (logical("int", "date"), 0, "'1970-01-01'::date", "date"),
    (NUMERIC, "NaN", "'NaN'::numeric", "numeric(38,10)"),
    (NUMERIC, decimal("2.5000000000"), "2.5", "numeric(38,10)"),
    (logical("long", "timestamp-micros"), "-infinity", "'-infinity'::timestamptz", "timestamp with time zone"),
    (
        logical("long", "timestamp-micros"),
        1,
        "'1970-01-01 00:00:00.000001+00'::timestamptz",
        "timestamp with time zone",
    ),
    (logical("long", "time-micros"), "24:00:00", "'24:00:00'::time", "time without time zone"),
]


@pytest.mark.parametrize("rows_more", [0, RUN_MIN], ids=["one by one", "side by side"])
def test_every_type_arrives_equal_to_its_source(dsn: str, unique: str, rows_more: int) -> None:
    cases = [(*case, False) for case in VALUES] + [(*case, True) for case in LOSSLESS]
    fields: list[Any] = [{"name": "id", "type": "int"}]
    for number, (kind, _, _, _, is_lossless) in enumerate(cases):
        fields.append({"name": f"c{number}", "type": ["null", kind, "string"] if is_lossless else ["null", kind]})
    feed = OutFeed(unique, "police.person", fields)
    full = {"id": 1, **{f"c{number}": case[1] for number, case in enumerate(cases)}}
    sink = sink_of(dsn, feed)
    more = [feed.record("c", full | {"id": 3 + number}) for number in range(rows_more)]
    sink.write([feed.batch(feed.record("c", full), feed.record("c", {"id": 2}), *more)])
    sink.close()
    with psycopg.connect(dsn) as connection:
        for number, (_, _, expression, type_name, _) in enumerate(cases):
            sql = (
                f"SELECT id, c{number} IS NOT DISTINCT FROM {expression}, format_type(a.atttypid, a.atttypmod), c{number}::text "
                f"FROM police_person, pg_attribute a WHERE attrelid = 'police_person'::regclass AND attname = 'c{number}' ORDER BY id"
            )
            (_, *first), (_, _, _, null), *others = connection.execute(sql.encode()).fetchall()
            assert first[:2] == [True, type_name], (number, expression, first[2])
            assert null is None
            assert len(others) == rows_more
            assert all(other == first for _, *other in others)


def test_a_replay_of_everything_in_any_order_ends_in_the_same_rows(dsn: str, unique: str) -> None:
    feed = OutFeed(unique, "police.person")
    history = [
        feed.record("r", person(1, "snapshot"), token=0),
        feed.record("u", person(1, "second")),
        feed.record("c", person(2, "new")),
        feed.record("d", person(2)),
        feed.tombstone(person(2)),
        feed.record("c", person(3, "old")),
        feed.record("d", person(3)),
        feed.tombstone(person(3)),
        feed.record("c", person(3, "again")),
        feed.record("u", person(1, "third", "-0.07")),
    ]
    expected = [(1, "third", "-0.07"), (3, "again", "1.50")]
    sink = sink_of(dsn, feed)
    for record in history:
        sink.write([feed.batch(record)])
    assert rows(dsn) == expected
    sink.write([feed.batch(*history)])
    assert rows(dsn) == expected
    stale = [record for record in history if record.value is not None]
    random.Random(7).shuffle(stale)
    for record in stale:
        sink.write([feed.batch(record)])
    assert rows(dsn) == expected, "SK-01, SK-04: older tokens change nothing, and nothing rises from the dead"


@pytest.mark.parametrize("size", [1, 2, 7])
def test_batches_cut_anywhere_give_the_same_rows(dsn: str, unique: str, size: int) -> None:
    feed, dice = OutFeed(unique, "police.person"), random.Random(size)
    expected: dict[int, str] = {}
    records = []
    for number in range(300):
        key = dice.randrange(12)
        if key in expected and dice.random() < 0.4:
            del expected[key]
            records += [feed.record("d", person(key)), feed.tombstone(person(key))]
        else:
            expected[key] = f"n{number}"
            records.append(feed.record("c", person(key, f"n{number}")))
    sink = sink_of(dsn, feed)
    for start in range(0, len(records), size):
        sink.write([feed.batch(*records[start : start + size])])
    sink.close()
    assert {number: name for number, name, _ in rows(dsn)} == expected
    assert rows(dsn, "SELECT topic, next_offset FROM _mesh_offsets") == [(feed.topic, len(records))]


def test_absent_columns_keep_their_values(dsn: str, unique: str) -> None:
    feed = OutFeed(unique, "police.person")
    sink = sink_of(dsn, feed)
    sink.write([feed.batch(feed.record("c", person(1, "kept")), feed.record("c", person(2, "kept")))])
    partial = {"id": 1, "amount": decimal("9.00")}
    sink.write([feed.batch(feed.record("u", partial, unchanged=["name"]))])
    in_one_batch = [feed.record("u", person(2, "newer")), feed.record("u", {**partial, "id": 2}, unchanged=["name"])]
    sink.write([feed.batch(*in_one_batch)])
    assert rows(dsn) == [(1, "kept", "9.00"), (2, "newer", "9.00")]
    with pytest.raises(Rejected, match="no row to complete"):
        sink.write([feed.batch(feed.record("u", {**partial, "id": 3}, unchanged=["name"]))])
    assert len(rows(dsn)) == 2, "SK-03: no row with invented nulls"


def test_a_truncate_removes_what_is_older_and_stays(dsn: str, unique: str) -> None:
    feed = OutFeed(unique, "police.person")
    sink = sink_of(dsn, feed)
    old = [feed.record("c", person(number)) for number in (1, 2)]
    truncate = feed.record("t", {})
    new = feed.record("c", person(2, "after"))
    sink.write([feed.batch(*old, truncate, new)])
    assert rows(dsn) == [(2, "after", "1.50")]
    sink.write([feed.batch(*old)])
    assert rows(dsn) == [(2, "after", "1.50")]


def test_a_lone_tombstone_deletes_what_compaction_left(dsn: str, unique: str) -> None:
    feed = OutFeed(unique, "police.person")
    sink = sink_of(dsn, feed)
    sink.write([feed.batch(feed.record("c", person(1)), feed.record("c", person(2)))])
    sink.close()
    afresh = sink_of(dsn, feed)
    afresh.write([feed.batch(feed.tombstone(person(1)))])
    assert rows(dsn) == [(2, "甲", "1.50")]
    afresh.write([feed.batch(feed.tombstone(person(2)), feed.record("c", person(2, "back")))])
    assert rows(dsn) == [(2, "back", "1.50")]


def test_a_wider_grant_fills_rows_of_equal_position(dsn: str, unique: str) -> None:
    feed = OutFeed(unique, "police.person", PERSON[:2])
    sink = sink_of(dsn, feed)
    sink.write([feed.batch(feed.record("c", {"id": 1, "name": "甲"}, token=5))])
    feed.use(PERSON)
    sink.write([feed.batch(feed.record("r", person(1, "甲", "7.00"), token=5))])
    assert rows(dsn) == [(1, "甲", "7.00")]


def test_a_new_column_comes_by_itself_and_a_changed_type_does_not(dsn: str, unique: str) -> None:
    feed = OutFeed(unique, "police.person")
    sink = sink_of(dsn, feed)
    old = feed.record("c", person(1))
    feed.use([*PERSON, {"name": "phone", "type": ["null", "string"], "doc": "电话"}])
    mixed = [old, feed.record("c", {**person(2), "phone": "1"}), feed.record("u", {**person(1), "phone": "2"})]
    sink.write([feed.batch(*mixed)])
    assert rows(dsn, "SELECT id, phone FROM police_person ORDER BY id") == [(1, "2"), (2, "1")]
    assert rows(
        dsn, "SELECT col_description('police_person'::regclass, 5), obj_description('police_person'::regclass)"
    ) == [("电话", "人员")]
    sink.close()
    run(dsn, "ALTER TABLE police_person ALTER name TYPE int USING NULL")
    with pytest.raises(TopicTrouble, match="column name: is integer, the contract says text"):
        sink_of(dsn, feed).write([feed.batch(feed.record("c", person(3)))])


def test_a_departments_own_text_types_are_kept(dsn: str, unique: str) -> None:
    run(
        dsn,
        'CREATE TABLE t (id int PRIMARY KEY, name char(5), amount numeric(18,2), _mesh_token text COLLATE "C" NOT NULL)',
    )
    feed = OutFeed(unique, "police.person")
    sink = sink_of(dsn, feed, tables={"police.person": "t"})
    sink.write([feed.batch(feed.record("c", person(1, "ab")))])
    assert rows(dsn, "SELECT id, name FROM t") == [(1, "ab   ")]
    with pytest.raises(Rejected) as refused:
        sink.write([feed.batch(feed.record("c", person(2, "秘密秘密秘密")))])
    assert refused.value.reason == "sql_22001"
    assert "秘密" not in str(refused.value), "errors carry no values"


def test_a_strangers_table_is_left_alone(dsn: str, unique: str) -> None:
    run(dsn, "CREATE TABLE police_person (id int PRIMARY KEY, name text, amount numeric(18,2))")
    feed = OutFeed(unique, "police.person")
    with pytest.raises(TopicTrouble, match="not made by the mesh"):
        sink_of(dsn, feed).write([feed.batch(feed.record("c", person(1)))])


def test_two_feeds_never_share_a_table(dsn: str, unique: str) -> None:
    feed = OutFeed(unique, "police.person")
    other = OutFeed(unique, "police.car", schemas=feed.schemas)
    sink = sink_of(dsn, feed, tables={"police.car": "police_person"})
    sink.write([feed.batch(feed.record("c", person(1)))])
    with pytest.raises(TopicTrouble, match="would take the rows"):
        sink.write([other.batch(other.record("c", person(1)))])


def test_an_earlier_owner_is_fenced(dsn: str, unique: str) -> None:
    feed = OutFeed(unique, "police.person")
    zombie, owner = sink_of(dsn, feed), sink_of(dsn, feed)
    assert zombie.start_offsets([(feed.topic, 0)]) == {(feed.topic, 0): BEGINNING}
    zombie.write([feed.batch(feed.record("c", person(1)))])
    assert owner.start_offsets([(feed.topic, 0), (feed.topic, 1)]) == {(feed.topic, 0): 1, (feed.topic, 1): BEGINNING}
    with pytest.raises(Fenced):
        zombie.write([feed.batch(feed.record("c", person(2)))])
    assert len(rows(dsn)) == 1
    owner.write([feed.batch(feed.record("c", person(2)))])
    owner.skip(feed.topic, 0, 9)
    assert sink_of(dsn, feed).start_offsets([(feed.topic, 0)]) == {(feed.topic, 0): 9}


def test_a_lost_connection_is_transient_and_the_resend_changes_nothing(dsn: str, unique: str) -> None:
    feed = OutFeed(unique, "police.person")
    sink = sink_of(dsn, feed)
    sink.write([feed.batch(feed.record("c", person(1)))])
    run(
        dsn,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    batch = feed.batch(feed.record("c", person(2)))
    with pytest.raises(Transient):
        sink.write([batch])
    sink.write([batch])
    assert [number for number, _, _ in rows(dsn)] == [1, 2]


def test_a_run_longer_than_one_transaction_arrives_whole(dsn: str, unique: str) -> None:
    feed = OutFeed(unique, "police.person")
    sink = sink_of(dsn, feed)
    records = [feed.record("c", person(number % 3000)) for number in range(7001)]
    parts = [list(part) for _, part in itertools.groupby(records, key=lambda record: record.offset // 2500)]
    sink.write([feed.batch(*part, partition=number) for number, part in enumerate(parts)])
    assert rows(dsn, "SELECT count(*) FROM police_person") == [(3000,)]
    assert rows(dsn, "SELECT max(next_offset), count(*) FROM _mesh_offsets") == [(7001, 3)]


@pytest.mark.parametrize("breakage", ["cut", "tail", "magic"])
def test_broken_bytes_are_rejected_and_nothing_is_written(dsn: str, unique: str, breakage: str) -> None:
    feed = OutFeed(unique, "police.person")
    good, record = feed.record("c", person(1)), feed.record("c", person(2))
    assert record.value is not None
    value = {"cut": record.value[:-9], "tail": record.value + b"\0", "magic": b"\1" + record.value[1:]}[breakage]
    sink = sink_of(dsn, feed)
    with pytest.raises(Rejected):
        sink.write([feed.batch(good, record._replace(value=value))])
    sink.write([feed.batch(good)])
    assert [number for number, _, _ in rows(dsn)] == [1]


def test_what_commits_slowly_as_a_later_record_is_rejected_is_known_to_the_next_write(dsn: str, unique: str) -> None:
    feed = OutFeed(unique, "police.person")
    sink = sink_of(dsn, feed)
    sink.write([feed.batch(feed.record("c", person(1)))])
    run(
        dsn,
        "CREATE FUNCTION pause() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END'",
    )
    late = "AFTER INSERT ON police_person DEFERRABLE INITIALLY DEFERRED"  # as the transaction commits
    run(dsn, f"CREATE CONSTRAINT TRIGGER late {late} FOR EACH ROW EXECUTE FUNCTION pause()")
    good, record = feed.record("c", person(2)), feed.record("c", person(3))
    with pytest.raises(Rejected):  # of another schema, so that what came before it is sent
        sink.write([feed.batch(good, record._replace(value=b"\1" + (record.value or b"")[1:]))])
    sink.write([feed.batch(good)])
    assert [number for number, _, _ in rows(dsn)] == [1, 2]


def test_a_wrong_address_says_what_to_do(dsn: str, unique: str) -> None:
    feed = OutFeed(unique, "police.person")
    batch = feed.batch(feed.record("c", person(1)))
    with pytest.raises(Misconfigured, match="postgresql://"):
        sink_of("somewhere", feed).write([batch])
    with pytest.raises(Misconfigured, match="refuses the login"):
        sink_of(dsn + "_nowhere", feed).write([batch])
    with pytest.raises(Transient, match="does not answer"):
        sink_of("postgresql://mesh@127.0.0.1:1/x", feed).write([batch])


def test_columns_named_as_our_fields_arrive_and_those_of_our_prefix_are_refused(dsn: str, unique: str) -> None:
    names = ["op", "committed_at", "source", "key", "value", "before", "topic", "t", "s", "g"]
    fields = [{"name": "id", "type": "int"}, *({"name": name, "type": ["null", "string"]} for name in names)]
    feed = OutFeed(unique, "police.person", fields)
    sink = sink_of(dsn, feed)
    row = {"id": 1, **{name: f"its {name}" for name in names}}
    sink.write([feed.batch(feed.record("c", row))])
    sink.write([feed.batch(feed.record("u", row, unchanged=["op"]))])
    listed = ", ".join(f'"{name}"' for name in names)
    assert rows(dsn, f"SELECT {listed} FROM police_person") == [tuple(f"its {name}" for name in names)]
    other = OutFeed(unique, "police.car", [*fields[:1], {"name": "_mesh_token", "type": ["null", "string"]}])
    sink = sink_of(dsn, other)
    with pytest.raises(TopicTrouble, match="the mesh's own"):
        sink.write([other.batch(other.record("c", {"id": 1, "_mesh_token": "x"}))])
