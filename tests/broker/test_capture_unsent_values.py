"""Values that a row's message does not carry: out-of-line ones of an update, and those of a key. They never cost a row."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import psycopg

from schemas.change import Op
from tests.stage import feeds
from tests.stage.capturing import Rig, contract
from tests.stage.running_mesh import RunningMesh, database
from tests.stage.running_mesh import contract as written
from tests.stage.until import until

TABLE = """
CREATE TABLE t (id bigint PRIMARY KEY, note text, big text, wide text);
ALTER TABLE t ALTER big SET STORAGE EXTERNAL, ALTER wide SET STORAGE EXTERNAL;
INSERT INTO t SELECT n, 'n', repeat('b' || n, 4500), repeat('w' || n, 4000) FROM generate_series(1, 9) n;
"""
FIELDS = {"id": "long", "note": "string", "big": "string", "wide": "string"}


def rows_of(db: psycopg.Connection[Any]) -> dict[int, tuple[Any, ...]]:
    return {row[0]: row for row in db.execute("SELECT id, note, big, wide FROM t").fetchall()}


def held(rig: Rig, feed: str) -> dict[int, tuple[Any, ...]]:
    """What a subscriber holds that keeps what an update does not carry; an update of a row that it has not is a failure."""
    rows: dict[int, Mapping[str, Any]] = {}
    for change in sorted(rig.changes(feed), key=lambda change: change.position):
        key = change.key["id"]
        if change.op is Op.DELETE:
            rows.pop(key, None)
            continue
        assert change.after is not None
        assert not change.unchanged or key in rows, f"{change.op} of a row that nobody has"
        rows[key] = {**change.after, **{name: rows[key][name] for name in change.unchanged}}
    return {key: (row["id"], row["note"], row["big"], row["wide"]) for key, row in rows.items()}


def until_equal(rig: Rig, db: psycopg.Connection[Any], feed: str) -> None:
    until(lambda: held(rig, feed) == rows_of(db), 60, "the feed holds what the table holds")


def test_key_changes_of_rows_with_values_out_of_line_arrive_whole(rig: Rig) -> None:
    feed = f"{rig.agency}.t"
    rig.add(contract(feed, FIELDS))
    with psycopg.connect(rig.dsn, autocommit=True) as db:
        db.execute(TABLE)
        with rig.capturing():
            rig.until_rows(feed, 9)
            rig.until_streaming()
            db.execute("UPDATE t SET id = id + 100 WHERE id = 2")  # both values unsent
            db.execute("UPDATE t SET id = id + 100, big = 'new' WHERE id = 3")  # one
            db.execute("UPDATE t SET id = id + 100, big = NULL WHERE id = 4")
            until_equal(rig, db, feed)
            with db.transaction():  # several in one transaction, with others between
                db.execute("UPDATE t SET id = 202 WHERE id = 102")
                db.execute("UPDATE t SET note = 'between' WHERE id = 202")
                db.execute("UPDATE t SET id = 302 WHERE id = 202")
                db.execute("UPDATE t SET id = 102 WHERE id = 5")
                db.execute("INSERT INTO t VALUES (5, 'another', 'small', 'small')")
            until_equal(rig, db, feed)


def test_rows_that_changed_or_went_before_they_were_read_again_end_as_the_table_has_them(rig: Rig) -> None:
    feed = f"{rig.agency}.t"
    rig.add(contract(feed, FIELDS))
    with psycopg.connect(rig.dsn, autocommit=True) as db:
        db.execute(TABLE)
        with rig.capturing():
            rig.until_rows(feed, 9)
            rig.until_streaming()
        # All of this is in the log when capture comes back.
        db.execute("UPDATE t SET id = 102 WHERE id = 2")
        db.execute("UPDATE t SET note = 'moved, then gone' WHERE id = 102")
        db.execute("DELETE FROM t WHERE id = 102")
        db.execute("UPDATE t SET id = 103 WHERE id = 3")
        db.execute("UPDATE t SET big = repeat('later', 900) WHERE id = 103")
        db.execute("UPDATE t SET id = 104 WHERE id = 4")
        db.execute("UPDATE t SET note = 'on its way' WHERE id = 104")
        db.execute("UPDATE t SET id = 204 WHERE id = 104")
        db.execute("UPDATE t SET id = 105 WHERE id = 5")
        db.execute("DELETE FROM t WHERE id = 105")
        db.execute("INSERT INTO t VALUES (105, 'another row', repeat('o', 9000), NULL)")
        db.execute("UPDATE t SET note = 'kept' WHERE id = 105")
        with rig.capturing():
            until_equal(rig, db, feed)
    assert not rig.seen.rejections


def test_random_key_changes_end_as_the_table_has_them(rig: Rig) -> None:
    chance = random.Random(20261128)
    feed = f"{rig.agency}.t"
    rig.add(contract(feed, FIELDS))
    with psycopg.connect(rig.dsn) as db:
        db.execute(TABLE)
        db.commit()
        with rig.capturing():
            rig.until_rows(feed, 9)
            rig.until_streaming()
            for number in range(200):
                (row,) = db.execute("SELECT id FROM t ORDER BY random() LIMIT 1").fetchone() or (0,)
                statement = chance.choice(
                    (
                        "UPDATE t SET id = %(new)s WHERE id = %(id)s",
                        "UPDATE t SET id = %(new)s, wide = repeat('n', 3000) WHERE id = %(id)s",
                        "UPDATE t SET note = note || '.' WHERE id = %(id)s",
                        "UPDATE t SET big = repeat('m', 5000) WHERE id = %(id)s",
                        "INSERT INTO t VALUES (%(new)s, 'i', repeat('i', 9000), 'i')",
                        "DELETE FROM t WHERE id = %(id)s AND (SELECT count(*) > 5 FROM t)",
                    )
                )
                db.execute(statement, {"id": row, "new": 1000 + number})
                if chance.random() < 0.4:
                    db.commit()
            db.commit()
            until_equal(rig, db, feed)


def test_key_whose_value_is_out_of_line_is_taken_from_the_old_row(rig: Rig) -> None:
    feed = f"{rig.agency}.t"
    rig.add(contract(feed, {"code": "string", "part": "int", "note": "string"}, key=("code", "part")))
    code = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=2500))
    with psycopg.connect(rig.dsn, autocommit=True) as db:
        db.execute("CREATE TABLE t (code text, part int, note text, PRIMARY KEY (code, part))")
        db.execute("ALTER TABLE t ALTER code SET STORAGE EXTERNAL")
        db.execute("INSERT INTO t VALUES (%s, 1, 'n')", (code,))
        with rig.capturing():
            rig.until_rows(feed, 1)
            rig.until_streaming()
            db.execute("UPDATE t SET note = 'changed'")
            until(lambda: rig.fold(feed).get((code, 1), {}).get("note") == "changed", 60, "the update")
            db.execute("UPDATE t SET part = 2")
            until(lambda: rig.fold(feed).keys() == {(code, 2)}, 60, "the key change")
            db.execute("DELETE FROM t")
            rig.until_rows(feed, 0)
    assert not rig.seen.rejections


def test_key_change_into_a_row_that_does_not_fit_takes_the_old_row_away(rig: Rig) -> None:
    feed = f"{rig.agency}.t"
    rig.add(contract(feed, {"id": "long", "day": {"type": "int", "logicalType": "date"}}))
    with psycopg.connect(rig.dsn, autocommit=True) as db:
        db.execute("CREATE TABLE t (id bigint PRIMARY KEY, day date); ALTER TABLE t REPLICA IDENTITY FULL")
        db.execute("INSERT INTO t VALUES (1, '2026-01-01'), (2, '2026-01-01')")
        with rig.capturing():
            rig.until_rows(feed, 2)
            rig.until_streaming()
            db.execute("UPDATE t SET id = 3, day = 'infinity' WHERE id = 1")
            rig.until_rows(feed, 1)
            letters = until(lambda: feeds.read_all(rig.kafka, [f"dlq.{feed}"]), 60, "the dead letter")
            db.execute("UPDATE t SET day = '2026-02-01' WHERE id = 3")  # mended: it is there again
            rig.until_rows(feed, 2)
    assert sum(len(found) for found in letters.values()) == 1
    assert rig.fold(feed).keys() == {(2,), (3,)}


def test_a_moved_row_reaches_the_subscribers_table_whole(mesh: RunningMesh) -> None:
    agency, subscriber = f"{mesh.unique}a", f"{mesh.unique}s"
    source = mesh.database(agency)
    mesh.database(subscriber)
    feed = f"{agency}.t"
    with database(source) as db:
        db.execute(TABLE)
        mesh.agency(agency, {"t": written(["id"], FIELDS)})
        mesh.done("onboard", mesh.folder / agency)
        mesh.subscriber(subscriber, {"feed": feed, "columns": ["note", "big", "wide"]})
        mesh.done("onboard", mesh.folder / subscriber)
        mesh.verified(feed, 9)
        db.execute("UPDATE t SET id = id + 100 WHERE id BETWEEN 2 AND 4")
        db.execute("UPDATE t SET id = 200 WHERE id = 102; UPDATE t SET note = 'x' WHERE id = 200")
        db.execute("UPDATE t SET id = 300 WHERE id = 103; DELETE FROM t WHERE id = 300")
        mesh.verified(feed, 8)
    assert not mesh.records(f"dlq.{feed}")
    assert not mesh.records(f"dlq.out.{subscriber}.{feed}")
