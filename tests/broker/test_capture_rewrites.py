"""Rows that change without an event: rewritten tables and moved partitions are copied anew; what the log has is not (C-3, C-7)."""

from __future__ import annotations

import psycopg

from schemas.change import Op
from tests.stage.captured_tables import add, make, truncates, until_equal, until_flowing
from tests.stage.capturing import Rig
from tests.stage.until import until


def test_a_rewritten_table_is_copied_anew_while_the_others_flow(rig: Rig, dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as db:
        make(db, "t", "o")
        feed, other = add(rig, "t", "o")
        with rig.capturing():
            until_equal(rig, db, feed)
            rig.until_streaming()
            db.execute("ALTER TABLE t ALTER name TYPE text USING upper(name)")
            until_equal(rig, db, feed)
            assert "was rewritten" in rig.until_incident("feed", feed, "notice").reason
            until_flowing(rig, db, feed)
            until_flowing(rig, db, other)
            db.execute("ALTER TABLE t DROP name, ADD name text DEFAULT md5(random()::text)")
            until_equal(rig, db, feed)
            until_flowing(rig, db, feed)
        assert (truncates(rig, feed), truncates(rig, other)) == (2, 0)


def test_a_table_that_is_packed_or_truncated_is_not_copied_again(rig: Rig, dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as db:
        make(db, "t", "c", "e", "u", rows=5)
        feeds = packed, clustered, emptied, changed = add(rig, "t", "c", "e", "u")
        with rig.capturing():
            for feed in feeds:
                until_equal(rig, db, feed)
            rig.until_streaming()
            db.execute("VACUUM FULL t")
            db.execute("CLUSTER c USING c_pkey")
            db.execute("TRUNCATE e")
            db.execute("INSERT INTO e VALUES (8, 'after')")
            db.execute("ALTER TABLE u ADD remark text, ALTER name SET DEFAULT 'none'")
            for feed in feeds:
                until_flowing(rig, db, feed)
            db.execute("ALTER TABLE u ALTER name TYPE text USING lower(name)")  # a later look than all of the above
            until(lambda: truncates(rig, changed) == 1, 30, "the rewritten one is copied anew")
            for feed in feeds:
                until_equal(rig, db, feed)
        assert [truncates(rig, feed) for feed in feeds] == [0, 0, 1, 1]
        assert all(change.op is not Op.READ or change.position.epoch == 1 for change in rig.changes(packed))
        assert len([change for change in rig.changes(clustered) if change.op is Op.READ]) == 5
        assert len([change for change in rig.changes(emptied) if change.op is Op.READ]) == 5


def test_an_unlogged_table_stops_its_feed_until_it_is_logged_again(rig: Rig, dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as db:
        make(db, "t", "o")
        feed, other = add(rig, "t", "o")
        with rig.capturing():
            until_equal(rig, db, feed)
            rig.until_streaming()
            db.execute("ALTER PUBLICATION " + publication(db) + " DROP TABLE t")  # PostgreSQL demands it
            db.execute("ALTER TABLE t SET UNLOGGED")
            stopped = rig.until_incident("feed", feed, "stopped", 30)
            db.execute("INSERT INTO t VALUES (10, 'not in the log')")
            until_flowing(rig, db, other)
            db.execute("ALTER TABLE t SET LOGGED")
            rig.resync(feed)
            until_equal(rig, db, feed)
            assert "logged" in stopped.reason or "publication" in stopped.reason


def publication(db: psycopg.Connection[tuple[str]]) -> str:
    row = db.execute("SELECT pubname FROM pg_publication").fetchone()
    assert row is not None
    return row[0]


def test_partitions_attached_detached_and_truncated_by_themselves_are_seen(rig: Rig, dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute("CREATE TABLE p (id bigint PRIMARY KEY, name text) PARTITION BY RANGE (id)")
        for number in range(3):
            db.execute(f"CREATE TABLE p{number} PARTITION OF p FOR VALUES FROM ({number}00) TO ({number + 1}00)")
            db.execute(f"ALTER TABLE p{number} REPLICA IDENTITY FULL")
            db.execute(f"INSERT INTO p SELECT g, 'row ' || g FROM generate_series({number}01, {number}03) g")
        db.execute("ALTER TABLE p REPLICA IDENTITY FULL")
        (feed,) = add(rig, "p")
        with rig.capturing():
            until_equal(rig, db, feed)
            rig.until_streaming()
            db.execute(
                "CREATE TABLE p3 PARTITION OF p FOR VALUES FROM (300) TO (400)"
            )  # empty: all of it is in the log
            db.execute("ALTER TABLE p3 REPLICA IDENTITY FULL")
            until_flowing(rig, db, feed)
            with db.transaction():
                db.execute("CREATE TABLE p4 (LIKE p INCLUDING ALL)")
                db.execute("ALTER TABLE p4 REPLICA IDENTITY FULL")
                db.execute("INSERT INTO p4 VALUES (401, 'attached with its rows')")
                db.execute("ALTER TABLE p ATTACH PARTITION p4 FOR VALUES FROM (400) TO (500)")
            until_equal(rig, db, feed)
            until_flowing(rig, db, feed)
            db.execute("TRUNCATE p0")
            until_equal(rig, db, feed)
            with db.transaction():
                db.execute("ALTER TABLE p DETACH PARTITION p1")
                db.execute("DROP TABLE p1")
            until_equal(rig, db, feed)
            count = truncates(rig, feed)
            db.execute("TRUNCATE p")
            db.execute("INSERT INTO p VALUES (205, 'after all were gone')")
            until_equal(rig, db, feed)
            db.execute("TRUNCATE p2")
            until_equal(rig, db, feed)
        assert (count, truncates(rig, feed)) == (3, 5)
