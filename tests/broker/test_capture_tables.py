"""A table renamed, moved, swapped or dropped: its own feed stops and says why, and what it says works (C-1, C-2, C-19)."""

from __future__ import annotations

import re
from typing import Any

import psycopg

from tests.stage.captured_tables import FIELDS, add, captured, make, truncates, until_equal, until_flowing
from tests.stage.capturing import Rig, contract
from tests.stage.until import until


def open_to(dsn: str) -> psycopg.Connection[Any]:
    return psycopg.connect(dsn, autocommit=True)


def swap(db: psycopg.Connection[Any]) -> None:
    with db.transaction():
        db.execute("CREATE TABLE t_new (id bigint PRIMARY KEY, name text)")
        db.execute("ALTER TABLE t_new REPLICA IDENTITY FULL")
        db.execute("INSERT INTO t_new VALUES (2, 'from the staging table'), (9, 'new')")
        db.execute("DROP TABLE t")
        db.execute("ALTER TABLE t_new RENAME TO t")


def test_a_renamed_table_stops_its_feed_and_misses_nothing_once_it_is_named_back(rig: Rig, dsn: str) -> None:
    with open_to(dsn) as db:
        make(db, "t", "o")
        feed, other = add(rig, "t", "o")
        with rig.capturing():
            until_equal(rig, db, feed)
            rig.until_streaming()
            db.execute("ALTER TABLE t RENAME TO t2")
            db.execute("INSERT INTO t2 VALUES (10, 'under the other name')")
            db.execute("DELETE FROM t2 WHERE id = 1")
            stopped = rig.until_incident("feed", feed, "stopped", 30)
            assert "public.t was renamed to public.t2" in stopped.reason
            assert f"`mesh follow {feed} --table public.t2 --yes`" in stopped.fix
            until_flowing(rig, db, other)
            db.execute(stopped.fix.split("by itself: ")[1].encode())
            until_equal(rig, db, feed)
            assert rig.until_incident("feed", feed, "notice").reason.startswith("what had stopped it is mended")
            until_flowing(rig, db, feed)


def test_a_renamed_table_is_followed_once_the_contract_names_it(rig: Rig, dsn: str) -> None:
    with open_to(dsn) as db:
        make(db, "t", "o")
        feed, other = add(rig, "t", "o")
        with rig.capturing():
            until_equal(rig, db, feed)
            rig.until_streaming()
            db.execute("ALTER TABLE t RENAME TO t2")
            db.execute("INSERT INTO t2 VALUES (10, 'under the other name')")
            db.execute("DELETE FROM t2 WHERE id = 1")
            rig.until_incident("feed", feed, "stopped", 30)
            rig.enter(contract(feed, FIELDS, table="public.t2"))
            until_equal(rig, db, feed, "t2")
            db.execute("UPDATE t2 SET name = 'and goes on' WHERE id = 2")
            until_equal(rig, db, feed, "t2")
            until_flowing(rig, db, other)
        assert truncates(rig, other) == 0


def test_a_table_moved_to_another_schema_stops_its_feed_also_without_a_change(rig: Rig, dsn: str) -> None:
    with open_to(dsn) as db:
        make(db, "t", "o")
        feed, other = add(rig, "t", "o")
        with rig.capturing():
            until_equal(rig, db, feed)
            rig.until_streaming()
            db.execute('CREATE SCHEMA "Archive"')
            db.execute('ALTER TABLE t SET SCHEMA "Archive"')
            db.execute('ALTER TABLE "Archive".t RENAME TO "T of 2016"')
            stopped = rig.until_incident("feed", feed, "stopped", 30)
            assert "public.t was renamed to Archive.T of 2016" in stopped.reason
            until_flowing(rig, db, other)
            db.execute(stopped.fix.split("by itself: ")[1].encode())
            until_flowing(rig, db, feed)


def test_a_table_swapped_by_renames_stops_its_feed_until_somebody_has_it_copied(rig: Rig, dsn: str) -> None:
    with open_to(dsn) as db:
        make(db, "t", "o")
        feed, other = add(rig, "t", "o")
        with rig.capturing():
            until_equal(rig, db, feed)
            rig.until_streaming()
            swap(db)
            stopped = rig.until_incident("feed", feed, "stopped", 30)
            assert "another table than was captured" in stopped.reason
            assert re.findall(r"`mesh resync (\S+)`", stopped.fix) == [feed]
            until_flowing(rig, db, other)
            rig.resync(feed)
            until_equal(rig, db, feed)
            until_flowing(rig, db, feed)
        assert (truncates(rig, feed), truncates(rig, other)) == (1, 0)


def test_a_swapped_table_is_copied_where_the_source_says_so(rig: Rig, dsn: str) -> None:
    rig.set_source(on_table_change="copy")
    with open_to(dsn) as db:
        make(db, "t")
        (feed,) = add(rig, "t")
        with rig.capturing():
            until_equal(rig, db, feed)
            rig.until_streaming()
            swap(db)
            until_equal(rig, db, feed)
            assert "another table" in rig.until_incident("feed", feed, "notice").reason
            until_flowing(rig, db, feed)


def test_two_tables_that_swap_names_stop_both_feeds(rig: Rig, dsn: str) -> None:
    with open_to(dsn) as db:
        make(db, "t", rows=2)
        make(db, "u", rows=5)
        feed, second = add(rig, "t", "u")
        with rig.capturing():
            until_equal(rig, db, feed)
            until_equal(rig, db, second)
            rig.until_streaming()
            with db.transaction():
                db.execute("ALTER TABLE t RENAME TO x")
                db.execute("ALTER TABLE u RENAME TO t")
                db.execute("ALTER TABLE x RENAME TO u")
            db.execute("INSERT INTO t VALUES (70, 'into what was u')")
            assert "another table" in rig.until_incident("feed", feed, "stopped", 30).reason
            rig.until_incident("feed", second, "stopped", 30)
            rig.resync(feed)
            rig.resync(second)
            until_equal(rig, db, feed)
            until_equal(rig, db, second)
            until_flowing(rig, db, feed)
            until_flowing(rig, db, second)


def test_a_dropped_table_ends_its_feed_alone_also_at_a_restart(rig: Rig, dsn: str) -> None:
    with open_to(dsn) as db:
        make(db, "t", "o")
        feed, other = add(rig, "t", "o")
        with rig.capturing():
            until_equal(rig, db, feed)
            rig.until_streaming()
            db.execute("DROP TABLE t")
            assert "was dropped" in rig.until_incident("feed", feed, "stopped", 30).reason
            until_flowing(rig, db, other)
        with rig.capturing():
            rig.until_incident("feed", feed, "stopped")
            until_flowing(rig, db, other)
            make(db, "t", rows=1)
            rig.resync(feed)
            until_equal(rig, db, feed)
            until_flowing(rig, db, feed)


def test_what_happened_while_capture_was_down_is_seen_at_its_start(rig: Rig, dsn: str) -> None:
    with open_to(dsn) as db:
        feed, other, rewritten = captured(rig, db, "t", "o", "r")
        db.execute("ALTER TABLE t RENAME TO elsewhere")
        db.execute("INSERT INTO elsewhere VALUES (10, 'nobody looked')")
        db.execute("ALTER TABLE r ALTER name TYPE text USING upper(name)")
        with rig.capturing():
            assert "public.elsewhere" in rig.until_incident("feed", feed, "stopped", 30).reason
            until_equal(rig, db, rewritten)
            until_flowing(rig, db, other)
            db.execute("ALTER TABLE elsewhere RENAME TO t")
            until_equal(rig, db, feed)


def test_a_table_that_is_renamed_before_its_copy_is_over_is_told_as_renamed(rig: Rig, dsn: str) -> None:
    with open_to(dsn) as db:
        feed, other, dropped = captured(rig, db, "t", "o", "d")
        rig.resync(feed)  # both are to be copied again, so that they are admitted before the watch has seen them
        rig.resync(dropped)
        db.execute("ALTER TABLE t RENAME TO elsewhere; DROP TABLE d")
        with rig.capturing():
            stopped = rig.until_incident("feed", feed, "stopped", 30)
            assert "public.t was renamed to public.elsewhere" in stopped.reason
            assert f"`mesh follow {feed} --table public.elsewhere --yes`" in stopped.fix
            assert "public.d was dropped" in rig.until_incident("feed", dropped, "stopped", 30).reason
            until_flowing(rig, db, other)
            rig.enter(contract(feed, {**FIELDS, "wage": "long"}, table="public.elsewhere"))
            until(
                lambda: "wage" in rig.until_incident("feed", feed, "stopped").reason, 30, "what stands in its way now"
            )
            rig.enter(contract(feed, FIELDS, table="public.elsewhere"))
            until_equal(rig, db, feed, "elsewhere")
