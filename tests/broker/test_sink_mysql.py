"""The sink of MariaDB and MySQL on a real MariaDB: types, order, duplicates, removals, fences."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

import pytest

from schemas.errors import Fenced, Misconfigured, Rejected, Transient
from sinks.mysql.sink import MysqlSink
from sinks.sink import BEGINNING, TopicTrouble
from tests.stage.delivering import PERSON, OutFeed, decimal
from tests.stage.maria import MariaServer, connected, rows, run

OPEN: list[MysqlSink] = []


@pytest.fixture(autouse=True)
def close_sinks() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().close()


@pytest.fixture
def address(mariadb: MariaServer, unique: str) -> str:
    return mariadb.create_database(unique)


def sink_of(address: str, feed: OutFeed, **options: Any) -> MysqlSink:
    settings = {"tables": {}, **options}
    sink = MysqlSink(address=address, subscriber=feed.subscriber, schema_of=feed.schemas.__getitem__, **settings)
    OPEN.append(sink)
    return sink


def person(number: int, name: str = "甲", amount: str = "1.50") -> dict[str, Any]:
    return {"id": number, "name": name, "amount": decimal(amount)}


def logical(base: str, name: str, **more: Any) -> dict[str, Any]:
    return {"type": base, "logicalType": name, **more}


NUMERIC = logical("bytes", "decimal", precision=38, scale=10)
VAST = logical("bytes", "decimal", precision=80, scale=40)
INTERVAL = {
    "type": "record",
    "name": "Interval",
    "fields": [{"name": "months", "type": "int"}, {"name": "days", "type": "int"}, {"name": "micros", "type": "long"}],
}
ENUM = {"type": "enum", "name": "Colour", "symbols": ["RED", "GREEN"]}
FIXED = {"type": "fixed", "name": "Two", "size": 2}
# Avro type, raw value, an expression that it must equal, the type the column must have.
VALUES: list[tuple[Any, Any, str, str]] = [
    ("boolean", True, "TRUE", "tinyint(1)"),
    ("boolean", False, "FALSE", "tinyint(1)"),
    ("int", -(2**31), "-2147483648", "int(11)"),
    ("int", 63, "63", "int(11)"),
    ("int", 64, "64", "int(11)"),
    ("long", 2**63 - 1, "9223372036854775807", "bigint(20)"),
    ("long", -(2**63), "-9223372036854775808", "bigint(20)"),
    ("float", -0.0, "-0e0", "double"),
    ("float", 0.10000000149011612, "0.10000000149011612e0", "double"),
    ("double", 1e308, "1e308", "double"),
    ("double", 5e-324, "5e-324", "double"),
    ("string", "", "''", "longtext"),
    (
        "string",
        "a\tb\\N\n\"q\" {,} 'x' \0 ",
        "CONCAT('a', CHAR(9), 'b', CHAR(92), 'N', CHAR(10), '\"q\" {,} ''x'' ', CHAR(0), ' ')",
        "longtext",
    ),
    ("string", "\\", "CHAR(92)", "longtext"),
    ("string", "公民" * 50, "REPEAT('公民', 50)", "longtext"),
    ("string", "𠀀", "CONVERT(x'F0A08080' USING utf8mb4)", "longtext"),
    ("string", "x" * 84, "REPEAT('x', 84)", "longtext"),
    ("bytes", b"\x00\xff\x01'\\", "x'00ff01275c'", "longblob"),
    ("bytes", b"", "''", "longblob"),
    (FIXED, b"\x00\xff", "x'00ff'", "longblob"),
    (ENUM, "GREEN", "'GREEN'", "longtext"),
    (NUMERIC, decimal("-12345678901234567890.0123456789"), "-12345678901234567890.0123456789", "decimal(38,10)"),
    (NUMERIC, decimal("0.0000000001"), "0.0000000001", "decimal(38,10)"),
    (logical("bytes", "decimal", precision=5, scale=0), decimal("-7"), "-7", "decimal(5,0)"),
    (VAST, decimal("1" + "0" * 39 + "." + "0" * 39 + "7"), f"'1{'0' * 39}.{'0' * 39}7'", "longtext"),
    (logical("int", "date"), -719162, "DATE'0001-01-01'", "date"),
    (logical("int", "date"), 2932896, "DATE'9999-12-31'", "date"),
    (logical("long", "time-micros"), 86_399_999_999, "TIME'23:59:59.999999'", "time(6)"),
    (logical("int", "time-millis"), 1, "TIME'00:00:00.001'", "time(6)"),
    (logical("long", "timestamp-micros"), -1, "TIMESTAMP'1969-12-31 23:59:59.999999'", "datetime(6)"),
    (logical("long", "timestamp-millis"), 1, "TIMESTAMP'1970-01-01 00:00:00.001'", "datetime(6)"),
    (
        logical("long", "local-timestamp-micros"),
        253_402_300_799_999_999,
        "TIMESTAMP'9999-12-31 23:59:59.999999'",
        "datetime(6)",
    ),
    (
        logical("string", "uuid"),
        "0e6f16f5-e49c-4b82-8796-7c1f0f6b0a01",
        "'0e6f16f5-e49c-4b82-8796-7c1f0f6b0a01'",
        "char(36)",
    ),
    (
        {"type": "array", "items": ["null", "string"]},
        ["a", None, "NULL", 'q"\\,{}', ""],
        r"""'["a", null, "NULL", "q\\"\\\\,{}", ""]'""",
        "longtext",
    ),
    ({"type": "array", "items": "int"}, [], "'[]'", "longtext"),
    ({"type": "array", "items": ["null", NUMERIC]}, [decimal("1.0000000000")], "'[\"1.0000000000\"]'", "longtext"),
    ({"type": "map", "values": ["null", "string"]}, {"k": None, "l": "公"}, """'{"k": null, "l": "公"}'""", "longtext"),
    (INTERVAL, {"months": 14, "days": -3, "micros": 1}, """'{"months": 14, "days": -3, "micros": 1}'""", "longtext"),
]
LOSSLESS: list[tuple[Any, Any, str, str]] = [
    (logical("int", "date"), 0, "DATE'1970-01-01'", "date"),
    (NUMERIC, decimal("2.5000000000"), "2.5", "decimal(38,10)"),
    (logical("long", "timestamp-micros"), 1, "TIMESTAMP'1970-01-01 00:00:00.000001'", "datetime(6)"),
    (logical("long", "time-micros"), "24:00:00", "TIME'24:00:00'", "time(6)"),
]
BEYOND: list[tuple[Any, Any]] = [
    (logical("int", "date"), "infinity"),
    (logical("int", "date"), "0044-03-15 BC"),
    (NUMERIC, "NaN"),
    (NUMERIC, "1.00000000001"),
    (logical("long", "timestamp-micros"), "-infinity"),
    (logical("long", "local-timestamp-micros"), "10000-01-01 00:00:00"),
    ("double", float("nan")),
    ("double", float("-inf")),
    ("float", float("inf")),
]


def test_every_type_arrives_equal_to_its_source(address: str, unique: str) -> None:
    cases = [(*case, False) for case in VALUES] + [(*case, True) for case in LOSSLESS]
    fields: list[Any] = [{"name": "id", "type": "int"}]
    for number, (kind, _, _, _, is_lossless) in enumerate(cases):
        fields.append({"name": f"c{number}", "type": ["null", kind, "string"] if is_lossless else ["null", kind]})
    feed = OutFeed(unique, "police.person", fields)
    full = {"id": 1, **{f"c{number}": case[1] for number, case in enumerate(cases)}}
    sink = sink_of(address, feed)
    sink.write([feed.batch(feed.record("c", full), feed.record("c", {"id": 2}))])
    sink.close()
    for number, (_, _, expression, type_name, _) in enumerate(cases):
        is_equal = f"c{number} <=> {expression}"
        if type_name in {"longtext", "longblob"}:
            is_equal = f"CAST(c{number} AS BINARY) <=> CAST({expression} AS BINARY)"
        found = rows(address, f"SELECT {is_equal}, CAST(c{number} AS CHAR) FROM police_person ORDER BY id")
        (equal, text), (_, null) = found
        [(kind,)] = rows(
            address,
            "SELECT column_type FROM information_schema.columns WHERE table_schema = DATABASE() "
            f"AND table_name = 'police_person' AND column_name = 'c{number}'",
        )
        assert (equal, kind) == (1, type_name), (number, expression, text)
        assert null is None


@pytest.mark.parametrize(("kind", "value"), BEYOND, ids=[str(value) for _, value in BEYOND])
def test_what_a_type_cannot_hold_is_refused_until_the_column_is_text(
    address: str, unique: str, kind: Any, value: Any
) -> None:
    branches = ["null", kind, "string"] if isinstance(value, str) else ["null", kind]
    feed = OutFeed(unique, "police.person", [{"name": "id", "type": "int"}, {"name": "c", "type": branches}])
    sink = sink_of(address, feed)
    good = feed.record("c", {"id": 1})
    bad = feed.record("c", {"id": 2, "c": value})
    sink.write([feed.batch(good)])
    with pytest.raises(Rejected, match="cannot hold") as refused:
        sink.write([feed.batch(bad)])
    assert refused.value.reason == "value_out_of_range"
    assert str(value) not in str(refused.value), "errors carry no values"
    run(address, refused.value.fix.partition(",")[0])
    sink.write([feed.batch(bad)])
    text = value if isinstance(value, str) else {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    assert rows(address, "SELECT id, c FROM police_person ORDER BY id") == [(1, None), (2, text)]


KEYS: list[tuple[Any, list[Any]]] = [
    ("string", ["a", "A", "a ", "a\\", "é", "e", "", "公" * 700]),
    ("bytes", [b"a", b"a\0", b"", b"\xff" * 900]),
    ("boolean", [True, False]),
    ("long", [2**63 - 1, -(2**63), 0]),
    (NUMERIC, [decimal("1.0000000001"), decimal("1.0000000002"), decimal("-12345678901234567890.0123456789")]),
    (logical("int", "date"), [0, -719162, 2932896]),
    (logical("long", "timestamp-micros"), [0, 1, 253_402_300_799_999_999]),
    (logical("long", "time-micros"), [0, 1, 86_399_999_999]),
    (logical("string", "uuid"), ["0e6f16f5-e49c-4b82-8796-7c1f0f6b0a01", "0e6f16f5-e49c-4b82-8796-7c1f0f6b0a02"]),
    ("double", [0.1, 5e-324, 1e308]),
]


@pytest.mark.parametrize(("kind", "values"), KEYS, ids=[str(kind) for kind, _ in KEYS])
def test_keys_of_every_type_are_told_apart_and_found_again(
    address: str, unique: str, kind: Any, values: list[Any]
) -> None:
    fields = [
        {"name": "id", "type": kind},
        {"name": "a", "type": ["null", "string"]},
        {"name": "b", "type": ["null", "int"]},
    ]
    feed = OutFeed(unique, "police.person", fields)
    sink = sink_of(address, feed)
    sink.write([feed.batch(*(feed.record("c", {"id": key, "a": "x", "b": n}) for n, key in enumerate(values)))])
    assert rows(address, "SELECT b FROM police_person ORDER BY b") == [(n,) for n in range(len(values))]
    sink.write(
        [feed.batch(*(feed.record("u", {"id": key, "a": f"y{n}"}, unchanged=["b"]) for n, key in enumerate(values)))]
    )
    assert rows(address, "SELECT a, b FROM police_person ORDER BY b") == [(f"y{n}", n) for n in range(len(values))]
    for key in values[1:]:
        sink.write([feed.batch(feed.record("d", {"id": key}), feed.tombstone({"id": key}))])
    assert rows(address, "SELECT b FROM police_person") == [(0,)]
    sink_of(address, feed).write([feed.batch(feed.tombstone({"id": values[0]}))])
    assert rows(address, "SELECT b FROM police_person") == []


def test_a_replay_of_everything_in_any_order_ends_in_the_same_rows(address: str, unique: str) -> None:
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
    sink = sink_of(address, feed)
    for record in history:
        sink.write([feed.batch(record)])
    assert rows(address) == expected
    sink.write([feed.batch(*history)])
    assert rows(address) == expected
    stale = [record for record in history if record.value is not None]
    random.Random(7).shuffle(stale)
    for record in stale:
        sink.write([feed.batch(record)])
    assert rows(address) == expected, "SK-01, SK-04: older tokens change nothing, and nothing rises from the dead"


@pytest.mark.parametrize("size", [1, 2, 7])
def test_batches_cut_anywhere_give_the_same_rows(address: str, unique: str, size: int) -> None:
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
    sink = sink_of(address, feed)
    for start in range(0, len(records), size):
        sink.write([feed.batch(*records[start : start + size])])
    sink.close()
    assert {number: name for number, name, _ in rows(address)} == expected
    assert rows(address, "SELECT topic, next_offset FROM _mesh_offsets") == [(feed.topic, len(records))]


def test_absent_columns_keep_their_values(address: str, unique: str) -> None:
    feed = OutFeed(unique, "police.person")
    sink = sink_of(address, feed)
    sink.write([feed.batch(feed.record("c", person(1, "kept")), feed.record("c", person(2, "kept")))])
    partial = {"id": 1, "amount": decimal("9.00")}
    update = feed.record("u", partial, unchanged=["name"])
    sink.write([feed.batch(update)])
    in_one_batch = [feed.record("u", person(2, "newer")), feed.record("u", {**partial, "id": 2}, unchanged=["name"])]
    sink.write([feed.batch(*in_one_batch)])
    sink.write([feed.batch(update)])
    assert rows(address) == [(1, "kept", "9.00"), (2, "newer", "9.00")]
    with pytest.raises(Rejected, match="no row to complete"):
        sink.write([feed.batch(feed.record("u", {**partial, "id": 3}, unchanged=["name"]))])
    assert len(rows(address)) == 2, "SK-03: no row with invented nulls"


def test_a_truncate_removes_what_is_older_and_stays(address: str, unique: str) -> None:
    feed = OutFeed(unique, "police.person")
    sink = sink_of(address, feed)
    old = [feed.record("c", person(number)) for number in (1, 2)]
    truncate = feed.record("t", {})
    new = feed.record("c", person(2, "after"))
    sink.write([feed.batch(*old, truncate, new)])
    assert rows(address) == [(2, "after", "1.50")]
    sink.write([feed.batch(*old)])
    assert rows(address) == [(2, "after", "1.50")]
    afresh = sink_of(address, feed)
    afresh.write([feed.batch(feed.record("t", {}))])
    afresh.write([feed.batch(*old)])
    assert rows(address) == []


def test_a_key_that_changed_is_one_row(address: str, unique: str) -> None:
    feed = OutFeed(unique, "police.person")
    sink = sink_of(address, feed)
    moved = [
        feed.record("c", person(1)),
        feed.record("d", person(1)),
        feed.tombstone(person(1)),
        feed.record("c", person(9)),
    ]
    sink.write([feed.batch(moved[0])])
    sink.write([feed.batch(*moved[1:])])
    sink.write([feed.batch(*moved)])
    assert rows(address) == [(9, "甲", "1.50")]


def test_a_lone_tombstone_deletes_what_compaction_left(address: str, unique: str) -> None:
    feed = OutFeed(unique, "police.person")
    sink = sink_of(address, feed)
    sink.write([feed.batch(feed.record("c", person(1)), feed.record("c", person(2)))])
    sink.close()
    afresh = sink_of(address, feed)
    afresh.write([feed.batch(feed.tombstone(person(1)))])
    assert rows(address) == [(2, "甲", "1.50")]
    afresh.write([feed.batch(feed.tombstone(person(2)), feed.record("c", person(2, "back")))])
    assert rows(address) == [(2, "back", "1.50")]


def test_a_wider_grant_fills_rows_of_equal_position(address: str, unique: str) -> None:
    feed = OutFeed(unique, "police.person", PERSON[:2])
    sink = sink_of(address, feed)
    sink.write([feed.batch(feed.record("c", {"id": 1, "name": "甲"}, token=5))])
    feed.use(PERSON)
    sink.write([feed.batch(feed.record("r", person(1, "甲", "7.00"), token=5))])
    assert rows(address) == [(1, "甲", "7.00")]


def test_a_new_column_comes_by_itself(address: str, unique: str) -> None:
    feed = OutFeed(unique, "police.person")
    sink = sink_of(address, feed)
    old = feed.record("c", person(1))
    feed.use([*PERSON, {"name": "phone", "type": ["null", "string"], "doc": "电话"}])
    mixed = [old, feed.record("c", {**person(2), "phone": "1"}), feed.record("u", {**person(1), "phone": "2"})]
    sink.write([feed.batch(*mixed)])
    assert rows(address, "SELECT id, phone FROM police_person ORDER BY id") == [(1, "2"), (2, "1")]
    [(column,)] = rows(
        address,
        "SELECT column_comment FROM information_schema.columns WHERE table_schema = DATABASE() "
        "AND table_name = 'police_person' AND column_name = 'phone'",
    )
    [(table,)] = rows(
        address,
        "SELECT table_comment FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'police_person'",
    )
    assert column == "电话"
    assert table.startswith("人员 [mesh ")


def test_a_departments_own_text_types_are_kept_and_nothing_is_clipped(address: str, unique: str) -> None:
    run(
        address,
        "CREATE TABLE t (id int PRIMARY KEY, name varchar(5), amount decimal(18,2), _mesh_token varbinary(255) NOT NULL)",
    )
    feed = OutFeed(unique, "police.person")
    sink = sink_of(address, feed, tables={"police.person": "t"})
    sink.write([feed.batch(feed.record("c", person(1, "ab")))])
    assert rows(address, "SELECT id, name FROM t") == [(1, "ab")]
    with pytest.raises(Rejected) as refused:
        sink.write([feed.batch(feed.record("c", person(2, "秘密秘密秘密")))])
    assert refused.value.reason == "sql_1406"
    assert "秘密" not in str(refused.value), "errors carry no values"
    with pytest.raises(Rejected) as refused:
        sink.write([feed.batch(feed.record("c", person(2, "abcd      ")))])
    assert refused.value.reason == "sql_1265", "blanks that do not fit are values too"


def test_a_strangers_table_is_left_alone(address: str, unique: str) -> None:
    run(address, "CREATE TABLE police_person (id int PRIMARY KEY, name text, amount decimal(18,2))")
    feed = OutFeed(unique, "police.person")
    with pytest.raises(TopicTrouble, match="not made by the mesh"):
        sink_of(address, feed).write([feed.batch(feed.record("c", person(1)))])


def test_two_feeds_never_share_a_table(address: str, unique: str) -> None:
    feed = OutFeed(unique, "police.person")
    other = OutFeed(unique, "police.car", schemas=feed.schemas)
    sink = sink_of(address, feed, tables={"police.car": "police_person"})
    sink.write([feed.batch(feed.record("c", person(1)))])
    with pytest.raises(TopicTrouble, match="would take the rows"):
        sink.write([other.batch(other.record("c", person(1)))])


def test_an_earlier_owner_is_fenced(address: str, unique: str) -> None:
    feed = OutFeed(unique, "police.person")
    zombie, owner = sink_of(address, feed), sink_of(address, feed)
    assert zombie.start_offsets([(feed.topic, 0)]) == {(feed.topic, 0): BEGINNING}
    zombie.write([feed.batch(feed.record("c", person(1)))])
    assert owner.start_offsets([(feed.topic, 0), (feed.topic, 1)]) == {(feed.topic, 0): 1, (feed.topic, 1): BEGINNING}
    with pytest.raises(Fenced):
        zombie.write([feed.batch(feed.record("c", person(2)))])
    assert len(rows(address)) == 1
    owner.write([feed.batch(feed.record("c", person(2)))])
    owner.skip(feed.topic, 0, 9)
    assert sink_of(address, feed).start_offsets([(feed.topic, 0)]) == {(feed.topic, 0): 9}


def test_a_lost_connection_is_transient_and_the_resend_changes_nothing(address: str, unique: str) -> None:
    feed = OutFeed(unique, "police.person")
    sink = sink_of(address, feed)
    sink.write([feed.batch(feed.record("c", person(1)))])
    with connected(address) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()")
        for (number,) in cursor.fetchall():
            cursor.execute(f"KILL {number}")
    batch = feed.batch(feed.record("c", person(2)))
    with pytest.raises(Transient):
        sink.write([batch])
    sink.write([batch])
    assert [number for number, _, _ in rows(address)] == [1, 2]


def test_a_run_longer_than_one_transaction_arrives_whole(address: str, unique: str) -> None:
    feed = OutFeed(unique, "police.person")
    sink = sink_of(address, feed)
    records = [feed.record("c", person(number % 3000)) for number in range(7001)]
    parts = [list(part) for _, part in itertools.groupby(records, key=lambda record: record.offset // 2500)]
    sink.write([feed.batch(*part, partition=number) for number, part in enumerate(parts)])
    assert rows(address, "SELECT COUNT(*) FROM police_person") == [(3000,)]
    assert rows(address, "SELECT MAX(next_offset), COUNT(*) FROM _mesh_offsets") == [(7001, 3)]


def test_rows_larger_than_a_statement_go_apart_and_one_larger_than_a_packet_is_refused(
    address: str, unique: str
) -> None:
    feed = OutFeed(unique, "police.person")
    sink = sink_of(address, feed)
    large = [feed.record("c", person(number, "x" * (3 << 20))) for number in range(4)]
    sink.write([feed.batch(*large, feed.record("c", person(9)))])
    assert rows(address, "SELECT id, LENGTH(name) FROM police_person WHERE id < 9") == [(n, 3 << 20) for n in range(4)]
    with pytest.raises(Rejected, match="does not fit") as refused:
        sink.write([feed.batch(feed.record("c", person(5, "x" * (17 << 20))))])
    assert refused.value.reason == "row_too_large"
    assert "max_allowed_packet" in refused.value.fix


@pytest.mark.parametrize("breakage", ["cut", "tail", "magic"])
def test_broken_bytes_are_rejected_and_nothing_is_written(address: str, unique: str, breakage: str) -> None:
    feed = OutFeed(unique, "police.person")
    good, record = feed.record("c", person(1)), feed.record("c", person(2))
    assert record.value is not None
    value = {"cut": record.value[:-9], "tail": record.value + b"\0", "magic": b"\1" + record.value[1:]}[breakage]
    sink = sink_of(address, feed)
    with pytest.raises(Rejected):
        sink.write([feed.batch(good, record._replace(value=value))])
    sink.write([feed.batch(good)])
    assert [number for number, _, _ in rows(address)] == [1]


def test_columns_named_as_our_fields_arrive_and_those_of_our_prefix_are_refused(address: str, unique: str) -> None:
    names = ["op", "committed_at", "source", "key", "value", "before", "topic", "t", "s", "g", "fresh", "编号`x"]
    fields = [{"name": "id", "type": "int"}, *({"name": name, "type": ["null", "string"]} for name in names[:-1])]
    feed = OutFeed(unique, "police.person", fields)
    sink = sink_of(address, feed)
    row = {"id": 1, **{name: f"its {name}" for name in names[:-1]}}
    sink.write([feed.batch(feed.record("c", row))])
    sink.write([feed.batch(feed.record("u", row, unchanged=["op"]))])
    listed = ", ".join(f"`{name}`" for name in names[:-1])
    assert rows(address, f"SELECT {listed} FROM police_person") == [tuple(f"its {name}" for name in names[:-1])]
    other = OutFeed(unique, "police.car", [*fields[:1], {"name": "_mesh_token", "type": ["null", "string"]}])
    sink = sink_of(address, other)
    with pytest.raises(TopicTrouble, match="the mesh's own"):
        sink.write([other.batch(other.record("c", {"id": 1, "_mesh_token": "x"}))])


def test_a_wrong_address_says_what_to_do(address: str, unique: str) -> None:
    feed = OutFeed(unique, "police.person")
    batch = feed.batch(feed.record("c", person(1)))
    with pytest.raises(Misconfigured, match="mysql://"):
        sink_of("somewhere", feed).write([batch])
    with pytest.raises(Misconfigured, match="refuses the login"):
        sink_of(address + "_nowhere", feed).write([batch])
    with pytest.raises(Misconfigured, match="refuses the login"):
        sink_of(address.replace("mesh:", "mesh:x"), feed).write([batch])
    with pytest.raises(Transient, match="does not answer"):
        sink_of("mysql://mesh@127.0.0.1:1/x", feed).write([batch])
    with pytest.raises(Misconfigured, match="offers no TLS"):
        sink_of(f"{address}?ssl-mode=REQUIRED", feed).write([batch])
