"""Large tables are copied by several processes: every row arrives once, whatever happens to one of them (invariants 1, 2, 7)."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import Any

import psycopg
import pytest

from producers.postgresql.snapshot import table_copy
from schemas.change import Op
from schemas.log.kafka import Kafka
from tests.stage import feeds
from tests.stage.capturing import DECIMAL, Rig, contract, copyists
from tests.stage.until import until, until_none

ROWS = 200_000
FIELDS = {"id": "long", "name": "string", "amount": DECIMAL, "big": "string"}


@pytest.fixture
def rig(kafka: Kafka, dsn: str, unique: str, monkeypatch: pytest.MonkeyPatch) -> Rig:
    """Capture that copies by two processes, in small ranges."""
    monkeypatch.setattr(table_copy, "RANGE_BLOCKS", 64)
    return Rig(kafka, dsn, unique, snapshot_processes=2)


def make_table(db: psycopg.Connection[Any], rows: int, name: str = "t") -> None:
    db.execute(f"CREATE TABLE {name} (id bigint PRIMARY KEY, name text, amount numeric(12,2), big text)")
    db.execute(f"ALTER TABLE {name} REPLICA IDENTITY FULL")
    db.execute(f"INSERT INTO {name} SELECT g, 'name ' || g, g * 1.5 FROM generate_series(1, {rows}) g")


def held(db: psycopg.Connection[Any]) -> dict[int, tuple[str, int, str | None]]:
    """What fits the contract."""
    query = "SELECT id, name, (amount * 100)::bigint, big FROM t WHERE amount <> 'NaN' AND coalesce(length(big), 0) < 1000000"
    return {row[0]: row[1:] for row in db.execute(query).fetchall()}


def copied(rig: Rig, feed: str) -> dict[int, tuple[str, int, str | None]]:
    return {
        key[0]: (row["name"], int.from_bytes(row["amount"], "big", signed=True), row["big"])
        for key, row in rig.fold(feed).items()
    }


def state(rig: Rig) -> dict[str, Any]:
    return ((rig.progress.load(rig.source) or {}).get("tables") or {}).get(f"{rig.agency}.t", {})


def until_live(rig: Rig) -> None:
    until(lambda: state(rig).get("state") == "live", 120, "the copy is complete")


def test_every_row_arrives_once_and_what_does_not_fit_is_told_apart(rig: Rig, dsn: str) -> None:
    feed, small = f"{rig.agency}.t", f"{rig.agency}.small"
    with psycopg.connect(dsn, autocommit=True) as db:
        make_table(db, ROWS)
        make_table(db, 10, "small")
        db.execute("UPDATE t SET amount = 'NaN' WHERE id % 20000 = 0")
        db.execute("ALTER TABLE t ALTER big SET STORAGE EXTERNAL")
        db.execute("UPDATE t SET big = repeat('x', 1500000) WHERE id = 70001")
        rig.add(contract(feed, FIELDS))
        rig.add(contract(small, FIELDS))
        with rig.capturing():
            until(lambda: len(copyists(os.getpid())) == 2, 60, "two processes copy")
            until_live(rig)
            until_none(lambda: copyists(os.getpid()), 30, "they are gone")
            db.execute("INSERT INTO t VALUES (0, 'after', 1)")
            until(lambda: rig.seen.events[feed, "c"], 60, "the stream")
        expected = held(db)
    assert copied(rig, feed) == expected
    assert len(rig.changes(feed)) == len(expected) == ROWS - 10
    assert len(rig.changes(small)) == 10
    (letters,) = feeds.read_all(rig.kafka, [f"dlq.{feed}"]).values()
    reasons = [dict(letter.headers())["mesh.errors.reason"] for letter in letters]
    assert sorted(reasons) == [b"numeric_nan"] * 10 + [b"too_large"]
    assert rig.seen.rejections == {(feed, "numeric_nan"): 10, (feed, "too_large"): 1}
    assert rig.seen.events == {(feed, "r"): ROWS - 10, (feed, "c"): 1, (small, "r"): 10}
    assert rig.seen.snapshots[feed][0] == ROWS
    assert (state(rig)["rows"], state(rig)["next_block"]) == (ROWS, None)


def test_a_killed_copying_process_costs_no_row(rig: Rig, dsn: str, caplog: pytest.LogCaptureFixture) -> None:
    feed = f"{rig.agency}.t"
    with psycopg.connect(dsn, autocommit=True) as db:
        make_table(db, ROWS)
        rig.add(contract(feed, FIELDS))
        with rig.capturing():
            until(lambda: rig.seen.snapshots.get(feed), 60, "rows are being copied")
            os.kill(copyists(os.getpid())[0], signal.SIGKILL)
            until_none(lambda: copyists(os.getpid()), 30, "the others were stopped")
            until_live(rig)
        expected = held(db)
    assert copied(rig, feed) == expected
    assert "a copying process ended (status -9)" in caplog.text


def test_a_stop_in_mid_copy_ends_the_processes_and_a_start_goes_on(rig: Rig, dsn: str) -> None:
    feed = f"{rig.agency}.t"
    with psycopg.connect(dsn, autocommit=True) as db:
        make_table(db, ROWS)
        rig.add(contract(feed, FIELDS))
        with rig.capturing():
            until(lambda: rig.seen.snapshots.get(feed), 60, "rows are being copied")
        assert not copyists(os.getpid())
        assert state(rig)["state"] == "copying"
        with rig.capturing():
            until_live(rig)
        expected = held(db)
    assert copied(rig, feed) == expected


def test_an_error_of_a_copying_process_stops_the_feed_that_it_is_of(rig: Rig, dsn: str) -> None:
    feed = f"{rig.agency}.t"
    with psycopg.connect(dsn, autocommit=True) as db:
        make_table(db, 50_000)
        rig.enter(contract(feed, FIELDS))  # in the directory, but without a topic
        with rig.capturing():
            stopped = rig.until_incident("feed", feed, "stopped", 120)
    assert "does not exist on the broker" in stopped.reason
    assert "mesh onboard" in stopped.fix
    assert not copyists(os.getpid())
    assert state(rig)["next_block"] == 0


def test_truncates_of_a_new_epoch_come_before_its_rows(rig: Rig, dsn: str) -> None:
    feed = f"{rig.agency}.t"
    with psycopg.connect(dsn, autocommit=True) as db:
        make_table(db, 50_000)
        rig.add(contract(feed, FIELDS))
        with rig.capturing():
            until_live(rig)
        rig.resync(rig.source)
        until(lambda: not _is_active(db), 30, "the slot is free")
        with rig.capturing():
            until(lambda: len(copyists(os.getpid())) == 2, 60, "two processes copy")
            until_live(rig)
        expected = held(db)
    assert copied(rig, feed) == expected
    for messages in feeds.read_all(rig.kafka, [feed]).values():
        changes = [rig.codec.decode(message.value()) for message in messages if message.value() is not None]
        ops = "".join(change["op"] for change in changes)
        assert ops.count(Op.TRUNCATE) == 1
        before, after = ops.split(Op.TRUNCATE)
        assert len(before) == len(after)


def _is_active(db: psycopg.Connection[Any]) -> bool:
    with suppress(psycopg.errors.UndefinedObject):
        return (
            db.execute("SELECT FROM pg_replication_slots WHERE active AND database = current_database()").rowcount > 0
        )
    return False
