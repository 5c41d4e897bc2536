"""A feed stops alone; what its incident says is done, and nothing is missing (C-8, C-9, C-10, C-13, C-17)."""

from __future__ import annotations

import psycopg
import pytest

from tests.stage.captured_tables import FIELDS, add, make, truncates, until_equal, until_flowing
from tests.stage.capturing import Rig, contract
from tests.stage.until import until


def test_a_column_of_another_type_stops_its_feed_until_the_contract_follows(rig: Rig, dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as db:
        make(db, "o")
        db.execute("CREATE TABLE t (id int PRIMARY KEY, name varchar(9))")
        db.execute("ALTER TABLE t REPLICA IDENTITY FULL")
        db.execute("INSERT INTO t VALUES (1, 'one'), (2, 'two')")
        feed = f"{rig.agency}.t"
        rig.add(contract(feed, {**FIELDS, "id": "int"}))
        (other,) = add(rig, "o")
        with rig.capturing():
            until_equal(rig, db, feed)
            rig.until_streaming()
            db.execute("INSERT INTO t VALUES (3, 'before')")
            db.execute("ALTER TABLE t ALTER id TYPE bigint, ALTER name TYPE text")
            db.execute("INSERT INTO t VALUES (5000000000, 'does not fit an int')")
            assert "column id" in rig.until_incident("feed", feed, "stopped", 30).reason
            until_flowing(rig, db, other)
            rig.enter(contract(feed, FIELDS))
            until_equal(rig, db, feed)
            until_flowing(rig, db, feed)
        with rig.capturing():
            until_flowing(rig, db, feed)


def test_a_column_renamed_and_named_back_leaves_no_row_out(rig: Rig, dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as db:
        make(db, "t", "o")
        feed, other = add(rig, "t", "o")
        with rig.capturing():
            until_equal(rig, db, feed)
            rig.until_streaming()
        db.execute("ALTER TABLE t RENAME name TO label")  # while nobody captures: all of it is in the backlog
        db.execute("INSERT INTO t VALUES (10, 'in the other shape')")
        db.execute("ALTER TABLE t RENAME label TO name")
        db.execute("INSERT INTO t VALUES (11, 'in the first shape again')")
        with rig.capturing():
            until_equal(rig, db, feed)
            until_flowing(rig, db, feed)
            until_flowing(rig, db, other)
            db.execute("ALTER TABLE t RENAME name TO label")
            db.execute("INSERT INTO t VALUES (20, 'in the other shape')")
            stopped = rig.until_incident("feed", feed, "stopped", 30)
            assert "name" in stopped.reason
            until_flowing(rig, db, other)
            db.execute("ALTER TABLE t RENAME label TO name")
            until_equal(rig, db, feed)
            until_flowing(rig, db, feed)
        assert truncates(rig, other) == 0


def test_a_lost_identity_neither_breaks_the_departments_writes_nor_other_feeds(rig: Rig, dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as db:
        make(db, "o")
        db.execute("CREATE TABLE t (id bigint NOT NULL, name text)")
        db.execute("CREATE UNIQUE INDEX t_identity ON t (id)")
        db.execute("ALTER TABLE t REPLICA IDENTITY USING INDEX t_identity")
        db.execute("INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, 'three')")
        feed, other = add(rig, "t", "o")
        with rig.capturing():
            until_equal(rig, db, feed)
            rig.until_streaming()
            db.execute("DROP INDEX t_identity")
            stopped = rig.until_incident("feed", feed, "stopped", 30)
            db.execute("UPDATE t SET name = 'the department goes on' WHERE id = 1")
            db.execute("DELETE FROM t WHERE id = 2")
            until_flowing(rig, db, other)
            assert db.execute("SELECT name FROM t WHERE id = 1").fetchone() == ("the department goes on",)
            db.execute(stopped.fix.encode())
            until_equal(rig, db, feed)
            until_flowing(rig, db, feed)


def test_an_identity_without_the_key_stops_its_feed_and_a_wider_one_lets_it_go_on(rig: Rig, dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as db:
        make(db, "t", "o", identity="DEFAULT")
        db.execute("ALTER TABLE t ADD number bigint UNIQUE NOT NULL GENERATED ALWAYS AS IDENTITY")
        feed, other = add(rig, "t", "o")
        with rig.capturing():
            until_equal(rig, db, feed)
            rig.until_streaming()
            db.execute("ALTER TABLE t REPLICA IDENTITY USING INDEX t_number_key")
            db.execute("DELETE FROM t WHERE id = 1")
            stopped = rig.until_incident("feed", feed, "stopped", 30)
            until_flowing(rig, db, other)
            assert "REPLICA IDENTITY FULL" in stopped.fix
            db.execute(stopped.fix.encode())
            until_equal(rig, db, feed)
            until_flowing(rig, db, feed)


def test_a_locked_table_waits_by_itself_and_says_for_whom(rig: Rig, dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as db, psycopg.connect(dsn, application_name="vacuuming") as locking:
        make(db, "a", "b")
        (feed,) = add(rig, "a")
        with rig.capturing():
            until_equal(rig, db, feed)
            rig.until_streaming()
            locking.execute("LOCK TABLE b IN SHARE UPDATE EXCLUSIVE MODE")
            (late,) = add(rig, "b")
            waiting = rig.until_incident("feed", late, "waiting", 30)
            assert f"process {locking.info.backend_pid} (vacuuming" in waiting.reason
            until_flowing(rig, db, feed)
            locking.rollback()
            until_equal(rig, db, late)
            rig.until_well("feed", late)
            locking.execute("LOCK TABLE b IN ACCESS EXCLUSIVE MODE")
            until_flowing(rig, db, feed)
        with rig.capturing():
            until_flowing(rig, db, feed)
            locking.rollback()
            until_flowing(rig, db, late)


def test_a_feed_that_cannot_be_captured_stops_alone_at_the_first_start_and_later(rig: Rig, dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as db:
        make(db, "o")
        feed, missing = add(rig, "o", "nowhere")
        with rig.capturing():
            assert "does not exist" in rig.until_incident("feed", missing, "stopped").reason
            until_equal(rig, db, feed)
            (narrow,) = add(rig, "narrow")
            rig.until_incident("feed", narrow, "stopped")
            until_flowing(rig, db, feed)
            make(db, "nowhere", "narrow")
            until_equal(rig, db, missing)
            until_equal(rig, db, narrow)
            until_flowing(rig, db, narrow)


def test_a_feed_is_copied_anew_whenever_somebody_asks(rig: Rig, dsn: str, caplog: pytest.LogCaptureFixture) -> None:
    with psycopg.connect(dsn, autocommit=True) as db:
        make(db, "t", "o")
        feed, other = add(rig, "t", "o")
        with rig.capturing():
            until_equal(rig, db, feed)
            rig.until_streaming()
            for number in range(3):
                rig.resync(feed)
                db.execute(f"UPDATE t SET name = 'changed {number}' WHERE id = 1")
                db.execute("DELETE FROM t WHERE id = 2")
                until(lambda n=number: truncates(rig, feed) == n + 1, 30, "it is copied anew")
                until_equal(rig, db, feed)
                until_flowing(rig, db, feed)
            rig.resync(rig.source)
            until(lambda: truncates(rig, other) == 1, 60, "all are copied anew")
            until_equal(rig, db, feed)
            until_equal(rig, db, other)
        with rig.capturing():
            until_flowing(rig, db, feed)
        assert truncates(rig, feed) == 4
        assert "somebody asked for it" in caplog.text
