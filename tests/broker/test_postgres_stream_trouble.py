"""The stream under ordinary trouble: a transaction that comes in pieces, and one that is sent again to other feeds."""

from __future__ import annotations

import threading
import time
from typing import Any

import psycopg
import pytest

from producers.postgresql import lookout
from producers.postgresql.snapshot import snapshot
from producers.postgresql.watch import Look, look
from schemas.log.kafka import Kafka
from tests.stage.captured_tables import add, make, until_equal, until_flowing
from tests.stage.capturing import Rig, Seen, contract
from tests.stage.slow_link import slow_link
from tests.stage.until import until

FIELDS = {"id": "long", "note": "string"}


class Lags(Seen):
    """An observer that keeps every lag it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.lags: list[float] = []

    def lag(self, *, source: str, seconds: float) -> None:
        self.lags.append(seconds)


def test_rest_of_a_transaction_is_waited_for_and_counts_as_lag(kafka: Kafka, dsn: str, unique: str) -> None:
    feed = f"{unique}.t"
    with slow_link(dsn) as link, psycopg.connect(dsn, autocommit=True) as db:
        rig = Rig(kafka, link.address, unique)
        rig.seen = lags = Lags()
        db.execute("CREATE TABLE t (id bigint PRIMARY KEY, note text)")
        rig.add(contract(feed, FIELDS))
        with rig.capturing():
            rig.until_streaming()
            link.hold_after(200_000)
            db.execute("INSERT INTO t SELECT n, repeat('x', 400) FROM generate_series(1, 3000) n")
            until(lambda: link.is_held and rig.seen.events[feed, "c"] > 100, 60, "a part of the transaction has come")
            held_at, count, cpu = time.monotonic(), len(lags.lags), time.process_time()
            until(lambda: time.monotonic() - held_at > 2, 10, "two seconds without the rest")
            heard, cpu = lags.lags[count:], time.process_time() - cpu
            link.resume()
            rig.until_rows(feed, 3000)
    assert cpu < 1.0, "capture spins while it waits"
    assert len(heard) < 100
    assert all(seconds > 0 for seconds in heard), "it is not up to date while a transaction is partly here"
    assert max(heard) > 1


def test_changes_flow_while_the_catalog_does_not_answer(kafka: Kafka, dsn: str, unique: str) -> None:
    with slow_link(dsn) as link, psycopg.connect(dsn, autocommit=True) as db:
        rig = Rig(kafka, link.address, unique)
        make(db, "t", "o")
        feed, other = add(rig, "t", "o")
        link.hold_where(b"lookout")  # as its connection is called
        with rig.capturing():
            until_equal(rig, db, feed)
            until(lambda: link.is_holding, 60, "the tables are to be looked at")
            waiting = rig.until_incident("source", rig.source, "waiting")
            until_flowing(rig, db, feed)
            until_flowing(rig, db, other)
            assert "changes flow" in waiting.reason
            link.resume()
            rig.until_well("source", rig.source)
            db.execute("ALTER TABLE t RENAME TO t2")
            rig.until_incident("feed", feed, "stopped")
            until_flowing(rig, db, other)


def test_a_new_slot_waits_for_running_transactions_and_says_for_which(
    kafka: Kafka, dsn: str, unique: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(snapshot, "SLOT_WARNING_SECONDS", 3.0)  # longer than any of our statements waits for a lock
    rig = Rig(kafka, dsn, unique)

    def open_transaction() -> psycopg.Connection[Any]:
        report = psycopg.connect(dsn, application_name="nightly report")
        report.execute("SELECT pg_current_xact_id()")
        return report

    with psycopg.connect(dsn, autocommit=True) as db:
        make(db, "t", "u")
        (feed,) = add(rig, "t")
        first = open_transaction()
        with rig.capturing():
            waiting = rig.until_incident("source", rig.source, "waiting")
            assert f"process {first.info.backend_pid} (nightly report" in waiting.reason
            second = open_transaction()  # as where there is always one
            first.close()
            until(lambda: str(second.info.backend_pid) in _told_by(rig), 60, "the next one is told")
            second.close()
            until_equal(rig, db, feed)
            rig.until_well("source", rig.source)
            third = open_transaction()
            (beside,) = add(rig, "u")
            until(
                lambda: str(third.info.backend_pid) in _told_by(rig),
                60,
                "so does a table that is copied beside the stream",
            )
            until_flowing(rig, db, feed)
            third.close()
            until_equal(rig, db, beside)
    assert "tries again" not in caplog.text


def _told_by(rig: Rig) -> str:
    return " ".join(incident.reason for incident in rig.incidents.present().values())


def test_table_renamed_between_a_look_and_its_verdict_is_told_by_its_new_name(
    kafka: Kafka, dsn: str, unique: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig(kafka, dsn, unique)
    is_due = threading.Event()
    with psycopg.connect(dsn, autocommit=True) as db:

        def look_then_rename(*args: Any, **named: Any) -> Look:
            seen = look(*args, **named)
            if is_due.is_set():
                is_due.clear()
                db.execute("ALTER TABLE t RENAME TO t2")
            return seen

        monkeypatch.setattr(lookout, "look", look_then_rename)
        make(db, "t", "o")
        feed, other = add(rig, "t", "o")
        with rig.capturing():
            until_equal(rig, db, feed)
            db.execute("ALTER TABLE t ADD extra int")  # the look sees a difference, and the feed is judged
            is_due.set()
            stopped = rig.until_incident("feed", feed, "stopped")
            until_flowing(rig, db, other)
    assert "was renamed to public.t2" in stopped.reason
    assert "does not exist" not in caplog.text


def test_position_of_a_change_does_not_depend_on_which_tables_have_feeds(kafka: Kafka, dsn: str, unique: str) -> None:
    one, both = Rig(kafka, dsn, f"{unique}a"), Rig(kafka, dsn, f"{unique}b")
    with psycopg.connect(dsn, autocommit=True) as db:
        for table in ("t", "u"):
            db.execute(f"CREATE TABLE {table} (id bigint PRIMARY KEY, note text)")  # pyright: ignore[reportArgumentType]
        db.execute("ALTER TABLE u REPLICA IDENTITY FULL; INSERT INTO u VALUES (1, 'a'), (2, 'b'), (3, 'c')")
        for rig in (one, both):
            rig.add(contract(f"{rig.agency}.t", FIELDS), partitions=1)
        both.add(contract(f"{both.agency}.u", FIELDS))
        with both.capturing(), one.capturing():
            both.until_rows(f"{both.agency}.u", 3)
            one.until_streaming()
            # A table that the publication has and no feed carries (any more).
            db.execute(f"ALTER PUBLICATION mesh_{one.agency}_main ADD TABLE u")  # pyright: ignore[reportArgumentType]
            with db.transaction():
                db.execute("UPDATE u SET id = id + 10 WHERE id < 3")
                db.execute("UPDATE u SET note = 'n'")
                db.execute("INSERT INTO t VALUES (1, 'after')")
                db.execute("UPDATE t SET note = 'keyed only'")
                db.execute("DELETE FROM u")
                db.execute("INSERT INTO t VALUES (2, 'last')")

            def minors(rig: Rig) -> list[Any]:
                return [change.position.minor for change in rig.changes(f"{rig.agency}.t")]

            until(lambda: len(minors(one)) == len(minors(both)) == 3, 60, "both have the transaction")
    assert minors(one) == minors(both)
