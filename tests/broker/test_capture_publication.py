"""What somebody does to the publication by hand is seen within seconds, said, and made whole (C-3, C-14, C-20)."""

from __future__ import annotations

import psycopg

from tests.stage.captured_tables import add, make, until_equal, until_flowing
from tests.stage.capturing import Rig


def test_a_table_taken_out_of_the_publication_stops_its_feed_and_comes_back_whole(rig: Rig, dsn: str) -> None:
    publication = f"mesh_{rig.agency}_main"
    with psycopg.connect(dsn, autocommit=True) as db:
        make(db, "t", "o")
        feed, other = add(rig, "t", "o")
        with rig.capturing():
            until_equal(rig, db, feed)
            rig.until_streaming()
            db.execute(f"ALTER PUBLICATION {publication} DROP TABLE t")
            db.execute("INSERT INTO t VALUES (10, 'unseen')")
            stopped = rig.until_incident("feed", feed, "stopped", 30)
            assert f"taken out of publication {publication}" in stopped.reason
            assert f"mesh resync {feed}" in stopped.fix
            until_flowing(rig, db, other)
            rig.resync(feed)
            until_equal(rig, db, feed)
            until_flowing(rig, db, feed)
            with db.transaction():  # out and in again between two looks
                db.execute(f"ALTER PUBLICATION {publication} DROP TABLE t")
            db.execute("DELETE FROM t WHERE id = 1")
            db.execute(f"ALTER PUBLICATION {publication} ADD TABLE ONLY t")
            until_equal(rig, db, feed)
            until_flowing(rig, db, feed)


def test_a_narrowed_publication_stops_its_feeds_until_the_statement_restores_it(rig: Rig, dsn: str) -> None:
    publication = f"mesh_{rig.agency}_main"
    with psycopg.connect(dsn, autocommit=True) as db:
        make(db, "t", "o")
        feed, other = add(rig, "t", "o")
        with rig.capturing():
            until_equal(rig, db, feed)
            rig.until_streaming()
            db.execute(f"ALTER PUBLICATION {publication} SET (publish = 'insert')")
            db.execute("UPDATE t SET name = 'unseen' WHERE id = 2")
            stopped = rig.until_incident("feed", feed, "stopped", 30)
            rig.until_incident("feed", other, "stopped", 30)
            assert f"publication {publication} leaves changes out" in stopped.reason
            db.execute(stopped.fix.split(";")[0].encode())
            until_equal(rig, db, feed)
            until_flowing(rig, db, feed)
            until_flowing(rig, db, other)
            db.execute(f"ALTER PUBLICATION {publication} SET TABLE t WHERE (id > 5), o")
            rig.until_incident("feed", feed, "stopped", 30)
            until_flowing(rig, db, other)
            rig.resync(feed)
            until_equal(rig, db, feed)
            until_flowing(rig, db, feed)


def test_a_publication_dropped_and_made_again_by_hand_loses_no_row(rig: Rig, dsn: str) -> None:
    publication = f"mesh_{rig.agency}_main"
    with psycopg.connect(dsn, autocommit=True) as db:
        make(db, "t", "o")
        feed, other = add(rig, "t", "o")
        with rig.capturing():
            until_equal(rig, db, feed)
            rig.until_streaming()
            db.execute(f"DROP PUBLICATION {publication}")
            db.execute("INSERT INTO t VALUES (10, 'unseen')")
            db.execute(
                f"CREATE PUBLICATION {publication} FOR TABLE t, o WITH (publish_via_partition_root, "
                "publish_generated_columns = stored)"
            )
            until_equal(rig, db, feed)
            assert f"publication {publication} was changed" in rig.until_incident("feed", feed, "notice").reason
            until_flowing(rig, db, feed)
            until_flowing(rig, db, other)


def test_a_dropped_publication_stops_and_a_resync_of_the_source_makes_it_whole(rig: Rig, dsn: str) -> None:
    publication = f"mesh_{rig.agency}_main"
    with psycopg.connect(dsn, autocommit=True) as db:
        make(db, "t", "o")
        feed, other = add(rig, "t", "o")
        with rig.capturing():
            until_equal(rig, db, feed)
            rig.until_streaming()
            db.execute(f"DROP PUBLICATION {publication}")
            db.execute("DELETE FROM t WHERE id = 1")
            stopped = rig.until_incident("feed", feed, "stopped", 30)
            assert f"publication {publication} was dropped" in stopped.reason
            assert f"mesh resync {rig.source}" in stopped.fix
            rig.resync(rig.source)
            until_equal(rig, db, feed)
            until_equal(rig, db, other)
            until_flowing(rig, db, feed)
            until_flowing(rig, db, other)
            assert rig.incident("feed", feed) is None
