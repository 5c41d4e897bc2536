"""`mesh verify --source`: a table and its feed are compared at a fence while both change, and whatever was done
behind the mesh's back, and only that, is found.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import psycopg
import pytest
from confluent_kafka import Producer
from psycopg.conninfo import make_conninfo

from ops.proof.source.check import CheckSetting, check
from ops.proof.source.compared import ComparedSource
from producers.fenced.table import FenceSetting
from producers.postgresql.slot import slot_name
from schemas.agreement.directory import FeedEntry
from schemas.contract import Contract
from schemas.errors import Transient
from schemas.position import Position
from tests.broker.test_capture_encodings import encoded
from tests.stage import feeds
from tests.stage.capturing import DATE, TIMESTAMPTZ, Rig, contract
from tests.stage.random_writer import COLUMNS, TABLE, RandomWriter
from tests.stage.until import until

SALT = bytes(range(32))
AMOUNT = {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}
TYPES: Mapping[str, Any] = {
    "编号": "int",
    "amount": AMOUNT,
    "born": DATE,
    "seen": TIMESTAMPTZ,
    "tags": {"type": "array", "items": ["null", "string"]},
}


class Quiet:
    def say(self, line: str, /) -> None:
        pass

    def count(self, done: int, total: int, /) -> None:
        pass


def register(agency: str) -> Contract:
    """The contract of the random writer's table, whose names are no Avro names."""
    named = {column: f"c{number}" for number, column in enumerate(COLUMNS)}
    fields = [
        {
            "name": name,
            "column": column,
            "type": TYPES.get(column, "string") if name in ("c0", "c1") else ["null", TYPES.get(column, "string")],
        }
        for column, name in named.items()
    ]
    gov = {"key": ["c0", "c1"], "table": f"public.{TABLE}"}
    return Contract.parse({"type": "record", "name": "Row", "gov": gov, "fields": fields}, f"{agency}.register")


def compared(rig: Rig, entry: FeedEntry, within_seconds: float = 60, address: str = "") -> ComparedSource:
    """Compare at a fence; by `address` where it is not the one that is captured from."""
    deadline = time.monotonic() + within_seconds

    def record() -> Any:
        return rig.progress.load(rig.source)

    (source,) = rig.directory.agencies[rig.agency].sources
    fence = FenceSetting(
        entry=entry, source=source, address=address or rig.dsn, record=record, salt=SALT, deadline=deadline
    )
    fencing = rig.kinds[source.kind].fencing
    assert fencing is not None
    with closing(fencing(fence)) as table:
        setting = CheckSetting(
            kafka=rig.kafka,
            entry=entry,
            salt=SALT,
            schema_of=rig.schemas.of,
            record=record,
            hashed=lambda digest: digest.hex()[:16],
            deadline=deadline,
            told=Quiet(),
        )
        return check(setting, table)


def counts(found: ComparedSource) -> dict[str, int]:
    """What is not as it should be."""
    names = ("missing", "surplus", "different", "dead_letters", "partial")
    all_counts = {name: getattr(found, name) for name in names}
    all_counts |= {"unreadable": len(found.unreadable), "foreign": len(found.foreign)}
    return {name: count for name, count in all_counts.items() if count}


def left_behind(db: psycopg.Connection[Any], rig: Rig) -> list[Any]:
    """Slots but the source's own, and sessions of a comparison."""
    slots = db.execute(
        "SELECT slot_name FROM pg_replication_slots WHERE database = current_database() AND slot_name <> %s",
        (slot_name(rig.source),),
    ).fetchall()
    sessions = (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE '%% verify'"
    )
    return slots + db.execute(sessions.encode()).fetchall()


@pytest.fixture
def db(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SET synchronous_commit = on")  # a slot advances as far as the log is flushed
        yield connection


@pytest.mark.parametrize("seed", [1, 2])
def test_a_live_feed_equals_its_table_at_each_fence_under_a_random_writer(
    rig: Rig, db: psycopg.Connection[Any], seed: int
) -> None:
    writer = RandomWriter(rig.dsn, seed)
    writer.fill(6_000)
    entry = rig.add(register(rig.agency))
    with rig.capturing(), writer.running():
        rig.until_streaming()
        until(lambda: writer.transactions > 50, 60, "the writer writes")
        for _ in range(4):
            found = compared(rig, entry)
            assert (found.is_exact, counts(found), found.how) == (True, {}, "checksums")
            assert (found.rows, found.ranges_differing, found.sent) == (found.found, 0, 0)
            assert found.rows > 1_000
        until(lambda: not left_behind(db, rig), 30, "nothing is left behind")


# ── what was done behind the mesh's back ─────────────────────────────────────────────────────────────────────────────


def made(rig: Rig, db: psycopg.Connection[Any], table: str, columns: str, identity: str = "FULL") -> str:
    db.execute(f"CREATE TABLE {table} (id bigint PRIMARY KEY, {columns})".encode())
    db.execute(f"ALTER TABLE {table} REPLICA IDENTITY {identity}".encode())
    return f"{rig.agency}.{table}"


def changed_unseen(rig: Rig, db: psycopg.Connection[Any], *statements: str) -> None:
    """Change rows while nobody captures, and let slot and capture believe that they had been."""
    for statement in statements:
        db.execute(statement.encode())
    is_free = "SELECT FROM pg_replication_slots WHERE slot_name = %s AND NOT active"
    until(lambda: db.execute(is_free.encode(), (slot_name(rig.source),)).rowcount, 30, "nobody captures")
    moved = "SELECT end_lsn::text FROM pg_replication_slot_advance(%s, pg_current_wal_lsn())"
    (at,) = db.execute(moved.encode(), (slot_name(rig.source),)).fetchone() or ("",)
    record = rig.progress.load(rig.source)
    assert record is not None
    rig.progress.save(rig.source, {**record, "confirmed": at.decode() if isinstance(at, bytes) else at})


def forged(rig: Rig, entry: FeedEntry, key: int, name: str, *, epoch: int = 0) -> tuple[int, int]:
    """Write a row as if capture had, right behind the highest position there is, or in a later epoch; its partition and offset."""
    last = max(rig.changes(entry.feed), key=lambda change: change.position)
    of_key = [change for change in rig.changes(entry.feed) if change.key == {"id": key}] or [last]
    messages = [message for found in feeds.read_all(rig.kafka, [entry.feed]).values() for message in found]
    value = next(
        rig.codec.decode(message.value())
        for message in messages
        if message.value() and rig.codec.decode(message.value())["after"] == of_key[-1].after
    )
    position = Position(last.position.epoch + epoch, last.position.major, last.position.minor + 1)
    value["after"] = {"id": key, "name": name}
    value["source"]["sequence"] = str(position)
    keyed = rig.codec.encode(entry.key_schema_id, {"id": key})
    return produced(rig, entry.feed, keyed, rig.codec.encode(entry.value_schema_id, value))


def produced(rig: Rig, topic: str, key: bytes, value: bytes) -> tuple[int, int]:
    places: list[tuple[int, int]] = []
    producer = Producer(rig.kafka.client({"partitioner": "murmur2_random"}))
    producer.produce(topic, value, key, on_delivery=lambda _, told: places.append((told.partition(), told.offset())))
    assert producer.flush(30) == 0
    return places[0]


def fixed(rig: Rig, entry: FeedEntry, found: ComparedSource) -> None:
    """Do what the fix says; then all is exact."""
    command = found.fix.split("`")[1]
    assert command.startswith("mesh resync ")
    rig.resync(command.removeprefix("mesh resync "))

    def is_exact() -> bool:
        try:
            return compared(rig, entry, within_seconds=10).is_exact
        except Transient:
            return False

    until(is_exact, 60, "exact after the fix")


def test_what_was_done_behind_the_meshs_back_is_found_and_nothing_else(rig: Rig, db: psycopg.Connection[Any]) -> None:
    feed = made(rig, db, "t", "name text")
    db.execute("INSERT INTO t SELECT n, 'name ' || n FROM generate_series(1, 4000) n")
    entry = rig.add(contract(feed, {"id": "long", "name": "string"}))
    with rig.capturing():
        rig.until_rows(feed, 4000)
        rig.until_streaming()
        assert compared(rig, entry).is_exact

    changed_unseen(
        rig,
        db,
        "UPDATE t SET name = 'changed' WHERE id = 7",
        "DELETE FROM t WHERE id = 8",
        "INSERT INTO t VALUES (9000, 'added')",
    )
    with rig.capturing():
        rig.until_streaming()
        found = compared(rig, entry)
        assert (found.is_exact, counts(found)) == (False, {"missing": 1, "surplus": 1, "different": 1})
        assert (found.rows, found.found, found.ranges_differing) == (4000, 4000, 3)
        assert found.sent < 30, "the table was not sent"
        places = {key.how: key.place for key in found.keys}
        (ctid,) = db.execute("SELECT ctid::text FROM t WHERE id = 9000").fetchone() or ("",)
        assert places["missing"].endswith(ctid)
        assert places["surplus"].startswith("partition ")
        fixed(rig, entry, found)

        forged(rig, entry, 17, "forged")
        found = compared(rig, entry)
        assert counts(found) == {"different": 1}
        fixed(rig, entry, found)

        place = forged(rig, entry, 123_456, "of nobody")
        found = compared(rig, entry)
        assert counts(found) == {"surplus": 1}
        assert found.keys[0].place == f"partition {place[0]}, offset {place[1]}"
        fixed(rig, entry, found)

        place = forged(rig, entry, 18, "above all that comes", epoch=1)
        found = compared(rig, entry)
        assert (counts(found), found.foreign) == ({"foreign": 1}, [place])
        fixed(rig, entry, found)

        place = produced(rig, feed, b"noise", b"noise")
        found = compared(rig, entry)
        assert (counts(found), found.unreadable) == ({"unreadable": 1}, [place])
        fixed(rig, entry, found)


def test_rows_that_are_dead_letters_are_told_and_are_no_difference(rig: Rig, db: psycopg.Connection[Any]) -> None:
    feed = made(rig, db, "t", "born date, note text")
    db.execute("INSERT INTO t SELECT n, '2016-10-31', 'note' FROM generate_series(1, 300) n")
    entry = rig.add(contract(feed, {"id": "long", "born": DATE, "note": "string"}))
    with rig.capturing():
        rig.until_rows(feed, 300)
        rig.until_streaming()
        db.execute("UPDATE t SET born = 'infinity' WHERE id = 1")
        db.execute("INSERT INTO t VALUES (301, '-infinity', NULL)")
        db.execute("UPDATE t SET note = repeat('x', 12000000) WHERE id = 2")
        db.execute("UPDATE t SET note = 'as before' WHERE id = 3")
        found = compared(rig, entry)
        assert (found.is_exact, counts(found)) == (True, {"dead_letters": 3})
        assert any("mesh dlq list" in note for note in found.notes)

        # With the rights of capture and no more: to replicate, and to read the table.
        role = f"r_{rig.agency}"
        db.execute(f"CREATE ROLE {role} LOGIN REPLICATION PASSWORD 'secret'; GRANT SELECT ON t TO {role}".encode())
        found = compared(rig, entry, address=make_conninfo(rig.dsn, user=role, password="secret"))
        assert (found.is_exact, counts(found)) == (True, {"dead_letters": 3})


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "EUC_CN"])
def test_text_of_other_encodings_is_compared_as_the_database_holds_it(rig: Rig, encoding: str) -> None:
    rig = encoded(rig, encoding, text_encoding="gb18030")
    feed = f"{rig.agency}.t"
    entry = rig.add(
        contract(feed, {"id": "long", "name": "string", "list": {"type": "array", "items": ["null", "string"]}})
    )
    with psycopg.connect(rig.dsn, autocommit=True) as db:
        db.execute("SET synchronous_commit = on")
        db.execute(
            "CREATE TABLE t (id bigint PRIMARY KEY, name text, list text[]); ALTER TABLE t REPLICA IDENTITY FULL"
        )
        insert = "INSERT INTO t SELECT %s, x, ARRAY[x, NULL] FROM convert_from(%s, %s) x"
        for number, text in enumerate(("中文", "广州市", "plain", "")):
            db.execute(insert.encode(), (number, text.encode("gb18030"), encoding))
        with rig.capturing():
            rig.until_rows(feed, 4)
            rig.until_streaming()
            db.execute(
                insert.encode(), (9, b"\xa2\xa1" if encoding == "EUC_CN" else "朱镕基 丂\\".encode("gb18030"), encoding)
            )
            found = compared(rig, entry)
            assert (found.how, found.rows, counts(found)) == ("checksums", 5, {})
        changed_unseen(rig, db, "UPDATE t SET name = 'other' WHERE id = 1")
        with rig.capturing():
            rig.until_streaming()
            assert counts(compared(rig, entry)) == {"different": 1}


def test_what_has_no_form_in_common_is_compared_row_by_row(rig: Rig, db: psycopg.Connection[Any]) -> None:
    db.execute("CREATE EXTENSION vector")
    feed = made(rig, db, "t", "name text, born date, place vector")
    db.execute("INSERT INTO t SELECT n, 'name ' || n, '2016-10-31', '[1,2.5]' FROM generate_series(1, 500) n")
    floats = {"type": "array", "items": "float"}
    entry = rig.add(contract(feed, {"id": "long", "name": "string", "born": DATE, "place": floats}))
    with rig.capturing():
        rig.until_rows(feed, 500)
        rig.until_streaming()
        db.execute("UPDATE t SET born = 'infinity' WHERE id = 1")
        found = compared(rig, entry)
        assert (found.how, found.is_exact, counts(found)) == ("rows", True, {"dead_letters": 1})
    changed_unseen(rig, db, "UPDATE t SET place = '[1,2.25]' WHERE id = 3", "DELETE FROM t WHERE id IN (4, 5)")
    with rig.capturing():
        rig.until_streaming()
        found = compared(rig, entry)
        assert counts(found) == {"surplus": 2, "different": 1, "dead_letters": 1}
        assert (found.rows, found.found) == (498, 500)


def test_a_partitioned_table_and_one_that_does_not_send_old_rows(rig: Rig, db: psycopg.Connection[Any]) -> None:
    db.execute("CREATE TABLE p (id bigint, name text, PRIMARY KEY (id)) PARTITION BY RANGE (id)")
    db.execute("CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100)")
    db.execute("CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (1000)")
    for table in ("p", "p1", "p2"):
        db.execute(f"ALTER TABLE {table} REPLICA IDENTITY FULL".encode())
    db.execute("INSERT INTO p SELECT n, 'name ' || n FROM generate_series(1, 299) n")
    entry = rig.add(contract(f"{rig.agency}.p", {"id": "long", "name": "string"}))
    feed = made(rig, db, "t", "name text, note text", identity="DEFAULT")
    db.execute("ALTER TABLE t ALTER note SET STORAGE EXTERNAL")
    db.execute("INSERT INTO t SELECT n, 'name', repeat('x', 9000) FROM generate_series(1, 20) n")
    keyed = rig.add(contract(feed, {"id": "long", "name": "string", "note": "string"}))
    with rig.capturing():
        rig.until_rows(feed, 20)
        rig.until_rows(entry.feed, 299)
        rig.until_streaming()
        db.execute("UPDATE p SET id = id + 300 WHERE id IN (1, 150)")
        db.execute("UPDATE t SET name = 'other' WHERE id = 3")
        assert (compared(rig, entry).is_exact, compared(rig, keyed).is_exact) == (True, True)
        assert counts(compared(rig, keyed)) == {"partial": 1}
        db.execute("TRUNCATE p1")
        db.execute("INSERT INTO p VALUES (5, 'after the truncate')")
        found = compared(
            rig, entry
        )  # the log does not say that a partition was truncated by itself: capture copies anew
        if not found.is_exact:
            fixed(rig, entry, found)
