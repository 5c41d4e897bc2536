"""What happens to a table arrives in its feed: every kind of change, each once, in order, with its position."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from schemas.change import Op
from tests.stage import feeds
from tests.stage.capturing import DECIMAL, Rig, contract
from tests.stage.until import until

FIELDS = {"id": "long", "name": "string", "amount": DECIMAL}


def make_table(db: psycopg.Connection[Any], name: str = "t", *, identity: str = "FULL", rows: int = 0) -> None:
    db.execute(f"CREATE TABLE {name} (id bigint PRIMARY KEY, name text, amount numeric(12,2), big text)")
    db.execute(f"ALTER TABLE {name} REPLICA IDENTITY {identity}")
    db.execute(f"INSERT INTO {name} SELECT g, 'name ' || g, g * 1.5 FROM generate_series(1, {rows}) g")


def ops(rig: Rig, feed: str) -> str:
    changes = sorted(rig.changes(feed), key=lambda change: change.position)
    return "".join(change.op for change in changes)


def test_snapshot_and_stream_arrive_in_order_with_their_positions(rig: Rig, dsn: str) -> None:
    feed = f"{rig.agency}.t"
    with psycopg.connect(dsn, autocommit=True) as db:
        make_table(db, rows=3)
        rig.add(contract(feed, FIELDS), partitions=1)
        with rig.capturing():
            until(lambda: len(rig.changes(feed)) == 3, 60, "the snapshot")
            with db.transaction():
                db.execute("INSERT INTO t VALUES (4, 'four', 4)")
                db.execute("UPDATE t SET amount = 5 WHERE id = 4")
            db.execute("DELETE FROM t WHERE id = 1")
            until(lambda: len(rig.changes(feed)) == 6, 60, "the stream")
            until(lambda: rig.seen.connections.get(rig.source), 30, "the source is connected")
    changes = rig.changes(feed)
    assert [change.op for change in changes] == list("rrrcud")
    # An update with the row as it was has two ordinals, of which it uses the second where the key stays.
    assert [change.position.minor for change in changes] == [0, 0, 0, 1, 3, 1]
    assert changes == sorted(changes, key=lambda change: change.position)
    created, updated, deleted = changes[3:]
    assert created.after == {"id": 4, "name": "four", "amount": b"\x01\x90"}
    assert updated.before == created.after
    assert updated.after == {**created.after, "amount": b"\x01\xf4"}
    assert created.transaction == updated.transaction != deleted.transaction
    assert deleted.before == {"id": 1, "name": "name 1", "amount": b"\x00\x96"}
    (messages,) = feeds.read_all(rig.kafka, [feed]).values()
    assert messages[-1].value() is None
    assert messages[-1].key() == messages[-2].key()
    assert rig.seen.events == {(feed, "r"): 3, (feed, "c"): 1, (feed, "u"): 1, (feed, "d"): 1}


def test_a_key_change_is_a_delete_and_a_create_that_name_each_other(rig: Rig, dsn: str) -> None:
    feed = f"{rig.agency}.t"
    with psycopg.connect(dsn, autocommit=True) as db:
        make_table(db, rows=1)
        rig.add(contract(feed, FIELDS))
        with rig.capturing():
            rig.until_rows(feed, 1)
            db.execute("UPDATE t SET id = 7")
            until(lambda: (7,) in rig.fold(feed), 60, "the new key")
    assert set(rig.fold(feed)) == {(7,)}
    deleted, created = sorted(rig.changes(feed), key=lambda change: change.position)[1:]
    assert (deleted.op, deleted.key, deleted.position.minor) == (Op.DELETE, {"id": 1}, 1)
    assert (created.op, created.key, created.position.minor) == (Op.CREATE, {"id": 7}, 2)
    assert "__debezium.newkey" in deleted.headers
    assert "__debezium.oldkey" in created.headers


def test_what_was_rolled_back_never_arrives(rig: Rig, dsn: str) -> None:
    feed = f"{rig.agency}.t"
    with psycopg.connect(dsn, autocommit=True) as db:
        make_table(db)
        rig.add(contract(feed, FIELDS))
        with rig.capturing():
            rig.until_streaming()
            with db.transaction(force_rollback=True):
                db.execute("INSERT INTO t VALUES (1, 'never', 1)")
            with db.transaction():
                db.execute("INSERT INTO t VALUES (2, 'kept', 1)")
                with db.transaction(force_rollback=True):
                    db.execute("INSERT INTO t VALUES (3, 'never', 1)")
                    db.execute("UPDATE t SET name = 'never' WHERE id = 2")
                db.execute("INSERT INTO t VALUES (4, 'kept', 1)")
            rows = rig.until_rows(feed, 2)
    assert {row["name"] for row in rows.values()} == {"kept"}
    assert ops(rig, feed) == "cc"
    assert sorted(change.position.minor for change in rig.changes(feed)) == [1, 2]


def test_a_truncate_reaches_every_partition(rig: Rig, dsn: str) -> None:
    feed = f"{rig.agency}.t"
    with psycopg.connect(dsn, autocommit=True) as db:
        make_table(db, rows=50)
        rig.add(contract(feed, FIELDS))
        with rig.capturing():
            rig.until_rows(feed, 50)
            db.execute("TRUNCATE t")
            db.execute("INSERT INTO t VALUES (1000, 'after', 1)")
            rig.until_rows(feed, 1)
    assert sum(change.op is Op.TRUNCATE for change in rig.changes(feed)) == 4


def test_a_large_value_that_did_not_change_is_filled_from_the_old_row(rig: Rig, dsn: str) -> None:
    feed = f"{rig.agency}.t"
    with psycopg.connect(dsn, autocommit=True) as db:
        make_table(db)
        db.execute("ALTER TABLE t ALTER big SET STORAGE EXTERNAL")
        rig.add(contract(feed, {**FIELDS, "big": "string"}))
        with rig.capturing():
            rig.until_streaming()
            db.execute("INSERT INTO t VALUES (1, 'one', 1, repeat('x', 100000))")
            db.execute("UPDATE t SET amount = 2")
            until(lambda: ops(rig, feed) == "cu", 60, "both changes")
    _, updated = sorted(rig.changes(feed), key=lambda change: change.position)
    assert updated.after is not None
    assert updated.after["big"] == "x" * 100_000
    assert updated.unchanged == ()


def test_without_full_identity_an_unsent_value_is_named_and_a_delete_knows_its_key(rig: Rig, dsn: str) -> None:
    feed = f"{rig.agency}.t"
    with psycopg.connect(dsn, autocommit=True) as db:
        make_table(db, identity="DEFAULT")
        db.execute("ALTER TABLE t ALTER big SET STORAGE EXTERNAL")
        rig.add(contract(feed, {**FIELDS, "big": "string"}))
        with rig.capturing():
            rig.until_streaming()
            db.execute("INSERT INTO t VALUES (1, 'one', 1, repeat('x', 100000))")
            db.execute("UPDATE t SET amount = 2")
            db.execute("UPDATE t SET id = 3")
            until(lambda: ops(rig, feed) == "cudc", 60, "the key change")
            db.execute("DELETE FROM t")
            until(lambda: ops(rig, feed) == "cudcd", 60, "all changes")
    _, updated, moved_from, moved_to, deleted = sorted(rig.changes(feed), key=lambda change: change.position)
    assert updated.before is None
    assert updated.unchanged == ["big"]
    assert moved_from.before == {"id": 1, "name": None, "amount": None, "big": None}
    assert moved_to.unchanged == ()
    assert moved_to.after is not None
    assert moved_to.after["big"] == "x" * 100_000
    assert deleted.before == {"id": 3, "name": None, "amount": None, "big": None}


def test_a_value_that_does_not_fit_rejects_its_row_only_and_the_delete_still_passes(rig: Rig, dsn: str) -> None:
    feed = f"{rig.agency}.t"
    with psycopg.connect(dsn, autocommit=True) as db:
        make_table(db)
        db.execute("INSERT INTO t VALUES (1, 'in the snapshot', 'NaN')")
        rig.add(contract(feed, FIELDS))
        with rig.capturing():
            rig.until_streaming()
            db.execute("INSERT INTO t VALUES (2, 'in the stream', 'NaN'), (3, 'fits', 3)")
            db.execute("UPDATE t SET amount = 2 WHERE id = 2")
            db.execute("DELETE FROM t WHERE id = 1")
            until(lambda: len(rig.changes(feed)) == 3, 60, "the changes that fit")
    created, updated, deleted = sorted(rig.changes(feed), key=lambda change: change.position)
    assert created.key == {"id": 3}
    assert created.position.minor == 2
    assert updated.before == {"id": 2, "name": None, "amount": None}
    assert deleted.before == {"id": 1, "name": None, "amount": None}
    (letters,) = feeds.read_all(rig.kafka, [f"dlq.{feed}"]).values()
    reasons = [dict(letter.headers())["mesh.errors.reason"] for letter in letters]
    assert reasons == [b"numeric_nan", b"numeric_nan"]
    assert b"in the stream" in letters[1].value()
    assert rig.seen.rejections == {(feed, "numeric_nan"): 2}


def test_a_lossless_column_carries_what_its_type_cannot_hold(rig: Rig, dsn: str) -> None:
    feed = f"{rig.agency}.t"
    with psycopg.connect(dsn, autocommit=True) as db:
        make_table(db, rows=1)
        rig.add(contract(feed, {"id": "long", "amount": ["null", DECIMAL, "string"]}))
        with rig.capturing():
            db.execute("INSERT INTO t VALUES (2, 'x', 'NaN')")
            rows = rig.until_rows(feed, 2)
    assert rows == {(1,): {"id": 1, "amount": b"\x00\x96"}, (2,): {"id": 2, "amount": "NaN"}}


def test_a_transaction_of_many_changes_is_numbered_through(rig: Rig, dsn: str) -> None:
    feed = f"{rig.agency}.t"
    count = 70_000  # beyond the tables of ordinals
    with psycopg.connect(dsn, autocommit=True) as db:
        make_table(db)
        rig.add(contract(feed, FIELDS))
        with rig.capturing():
            rig.until_streaming()
            db.execute(f"INSERT INTO t SELECT g, 'n', 1 FROM generate_series(1, {count}) g")
            until(lambda: rig.seen.events[feed, "c"] == count, 120, "all are captured")
    changes = rig.changes(feed)
    assert sorted(change.position.minor for change in changes) == list(range(1, count + 1))
    assert len({change.transaction for change in changes}) == 1
    assert {change.key["id"]: change.position.minor for change in changes} == {n: n for n in range(1, count + 1)}


def test_a_table_added_later_is_copied_while_the_stream_goes_on(rig: Rig, dsn: str) -> None:
    first, second = f"{rig.agency}.t", f"{rig.agency}.later"
    with psycopg.connect(dsn, autocommit=True) as db:
        make_table(db, rows=10)
        make_table(db, "later", rows=5_000)
        rig.add(contract(first, FIELDS))
        with rig.capturing():
            rig.until_rows(first, 10)
            rig.add(contract(second, FIELDS))
            for n in range(200):
                db.execute("UPDATE later SET amount = amount + 1 WHERE id %% 50 = %s", (n % 50,))
                db.execute("DELETE FROM later WHERE id = %s", (n * 3 + 1,))
                db.execute("INSERT INTO t VALUES (%s, 'under load', 1)", (100 + n,))
            until(lambda: rig.seen.snapshots.get(second), 60, "the copy")
            db.execute("INSERT INTO later VALUES (100000, 'last', 1)")
            until(lambda: (100_000,) in rig.fold(second), 60, "the last row")
            expected = dict(db.execute("SELECT id, (amount * 100)::bigint FROM later").fetchall())
            rows = rig.fold(second)
            assert {key[0]: int.from_bytes(row["amount"], "big") for key, row in rows.items()} == expected
            assert len(rig.until_rows(first, 210)) == 210
    for messages in feeds.read_all(rig.kafka, [second]).values():
        newest: dict[bytes, Any] = {}
        for message in messages:  # nothing older follows anything newer, so compaction keeps the truth
            if message.value() is not None:
                position = rig.codec.decode(message.value())["source"]["sequence"]
                assert newest.get(message.key(), "") <= position
                newest[message.key()] = position


def test_a_restart_goes_on_where_it_was_acknowledged(rig: Rig, dsn: str) -> None:
    feed = f"{rig.agency}.t"
    with psycopg.connect(dsn, autocommit=True) as db:
        make_table(db, rows=5)
        rig.add(contract(feed, FIELDS))
        with rig.capturing():
            rig.until_rows(feed, 5)
            db.execute("INSERT INTO t VALUES (6, 'six', 6)")
            rig.until_rows(feed, 6)
        db.execute("INSERT INTO t VALUES (7, 'while nobody looked', 7)")
        with rig.capturing():
            rig.until_rows(feed, 7)
    assert ops(rig, feed) == "rrrrrcc"


def test_a_new_column_is_ignored_until_the_contract_names_it(rig: Rig, dsn: str) -> None:
    feed = f"{rig.agency}.t"
    with psycopg.connect(dsn, autocommit=True) as db:
        make_table(db)
        rig.add(contract(feed, FIELDS))
        with rig.capturing():
            rig.until_streaming()
            db.execute("INSERT INTO t VALUES (1, 'one', 1)")
            db.execute("ALTER TABLE t ADD colour text")
            db.execute("INSERT INTO t VALUES (2, 'two', 2, null, 'red')")
            rows = rig.until_rows(feed, 2)
            assert "colour" not in rows[2,]
            entry = rig.schemas.entry(contract(feed, {**FIELDS, "colour": "string"}), version=2)
            rig.directory = type(rig.directory)(agencies=rig.directory.agencies, feeds={feed: entry})

            def coloured() -> bool:
                db.execute("INSERT INTO t VALUES ((SELECT max(id) + 1 FROM t), 'more', 3, null, 'blue')")
                return any(row.get("colour") == "blue" for row in rig.fold(feed).values())

            until(coloured, 60, "the new contract is in force")


def test_a_column_that_the_contract_names_later_brings_its_older_values(rig: Rig, dsn: str) -> None:
    feed = f"{rig.agency}.t"
    with psycopg.connect(dsn, autocommit=True) as db:
        make_table(db, rows=3)
        rig.add(contract(feed, FIELDS))
        with rig.capturing():
            rig.until_rows(feed, 3)
            db.execute("ALTER TABLE t ADD colour text DEFAULT 'grey'")  # neither rewrites the rows nor logs them
            db.execute("UPDATE t SET colour = 'red' WHERE id = 1")  # passes before anybody has a place for it
            entry = rig.schemas.entry(contract(feed, {**FIELDS, "colour": "string"}), version=2)
            rig.directory = type(rig.directory)(agencies=rig.directory.agencies, feeds={feed: entry})

            def colours() -> list[Any]:
                return [row.get("colour") for _, row in sorted(rig.fold(feed).items())]

            until(lambda: colours() == ["red", "grey", "grey"], 60, "the older values")
            db.execute("UPDATE t SET colour = 'blue' WHERE id = 2")
            until(lambda: colours() == ["red", "blue", "grey"], 60, "the stream")
        reads = ops(rig, feed).count("r")
        with rig.capturing():
            db.execute("UPDATE t SET colour = 'green' WHERE id = 3")
            until(lambda: colours() == ["red", "blue", "green"], 60, "the stream after a restart")
    assert ops(rig, feed).count("r") == reads  # copied once


def test_a_dropped_column_of_the_contract_stops_its_feed_loudly(
    rig: Rig, dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    feed = f"{rig.agency}.t"
    with psycopg.connect(dsn, autocommit=True) as db:
        make_table(db)
        rig.add(contract(feed, FIELDS))
        with rig.capturing():
            rig.until_streaming()
            db.execute("ALTER TABLE t DROP amount")
            db.execute("INSERT INTO t VALUES (1, 'one')")
            rig.until_incident("feed", feed, "stopped")
            assert rig.seen.connections[rig.source]
    assert "no longer publishes amount" in caplog.text
    assert rig.changes(feed) == []


def test_a_slot_that_vanished_is_a_loud_stop(rig: Rig, dsn: str, caplog: pytest.LogCaptureFixture) -> None:
    feed = f"{rig.agency}.t"
    with psycopg.connect(dsn, autocommit=True) as db:
        make_table(db, rows=1)
        rig.add(contract(feed, FIELDS))
        with rig.capturing():
            rig.until_rows(feed, 1)
        slot = f"mesh_{rig.source.replace('.', '_')}"
        until(lambda: _dropped(db, slot), 30, "the slot is free")
        with rig.capturing():
            until(lambda: "changes are lost" in caplog.text, 60, "the stop")
    assert "mesh resync" in caplog.text
    assert rig.seen.connections[rig.source] is False


def test_a_resync_empties_the_feed_raises_the_epoch_and_copies_anew(rig: Rig, dsn: str) -> None:
    feed = f"{rig.agency}.t"
    with psycopg.connect(dsn, autocommit=True) as db:
        make_table(db, rows=3)
        rig.add(contract(feed, FIELDS))
        with rig.capturing():
            rig.until_rows(feed, 3)
        until(lambda: _dropped(db, f"mesh_{rig.source.replace('.', '_')}"), 30, "the slot is free")
        db.execute("DELETE FROM t WHERE id = 1")
        rig.resync(rig.source)
        with rig.capturing():
            until(lambda: set(rig.fold(feed)) == {(2,), (3,)}, 60, "the gap is closed")
            db.execute("INSERT INTO t VALUES (4, 'after', 1)")
            until(lambda: set(rig.fold(feed)) == {(2,), (3,), (4,)}, 60, "the stream goes on")
    assert {change.position.epoch for change in rig.changes(feed)} == {1, 2}


def _dropped(db: psycopg.Connection[Any], slot: str) -> bool:
    db.execute(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s AND NOT active",
        (slot,),
    )
    return db.execute("SELECT FROM pg_replication_slots WHERE slot_name = %s", (slot,)).fetchone() is None
