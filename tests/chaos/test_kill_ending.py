"""Delivery killed while the end of a grant is under way: what the grant delivered is gone, and that is confirmed (invariant 11)."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from schemas.agreement.subscriber import SinkConfig
from schemas.log.kafka import Kafka
from schemas.log.writer import Log
from sinks.postgresql.kind import POSTGRES
from tests.stage.delivering import OutFeed, delivering, directory_of
from tests.stage.feeds import create
from tests.stage.until import until

CHILD = Path(__file__).parents[1] / "stage" / "ending_child.py"


@contextmanager
def child(
    kafka: Kafka, subscriber: str, kind: str, address: str, record: str = ""
) -> Iterator[subprocess.Popen[bytes]]:
    wanted = {
        "kafka": kafka.environment(),
        "subscriber": subscriber,
        "kind": kind,
        "address": address,
        "record": record,
    }
    process = subprocess.Popen([sys.executable, str(CHILD), json.dumps(wanted)])
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        finally:
            process.kill()
            process.wait()


def count(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        found = connection.execute("SELECT to_regclass('police_person')").fetchone()
        if found == (None,):
            return 0
        return (connection.execute("SELECT count(*) FROM police_person").fetchone() or (0,))[0]


def test_kill_between_removal_and_confirmation_ends_removed(
    kafka: Kafka, postgres: Any, unique: str, tmp_path: Path
) -> None:
    dsn = postgres.create_database("ended")
    feed = OutFeed(unique, "police.person")
    create(kafka, feed.topic, partitions=2)
    log = Log(kafka, client_id="test")
    for number in range(30):
        feed.append(log, feed.record("c", {"id": number, "name": "n"}))
    log.flush(30)
    sinks = {unique: SinkConfig(name="main", kind="postgres")}
    kinds, addresses = {"postgres": POSTGRES}, {(unique, "main"): dsn}
    with delivering(kafka, directory_of(sinks, feed), kinds=kinds, schemas=feed.schemas, addresses=addresses):
        until(lambda: count(dsn) == 30, 30, "the rows are there")
    feed.append(log, feed.record("c", {"id": 99, "name": "too late"}))
    log.close()

    with psycopg.connect(dsn) as reader, child(kafka, unique, "postgres", dsn) as process:
        reader.execute("SELECT FROM police_person WHERE id = 3 FOR UPDATE")
        with psycopg.connect(dsn, autocommit=True) as other:
            waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            until(lambda: other.execute(waiting).rowcount > 0, 30, "the removal waits for a reader")
        process.kill()
        process.wait()
        reader.rollback()
    assert count(dsn) == 30  # all or nothing

    with child(kafka, unique, "postgres", dsn) as process:
        until(lambda: process.poll() is not None, 30, "it dies before it confirms")
        assert process.returncode == -signal.SIGKILL
    assert count(dsn) == 0

    record = tmp_path / "confirmed"
    with child(kafka, unique, "postgres", dsn, str(record)):
        until(record.exists, 30, "the end is confirmed")
        assert json.loads(record.read_text()) == {"topic": feed.topic, "removed": 30}
    assert count(dsn) == 0


def test_kill_before_confirmation_tells_of_an_end_in_one_file(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    drops = tmp_path / "drops"
    drops.mkdir()
    create(kafka, OutFeed(unique, "police.person").topic, partitions=2)
    with child(kafka, unique, "files", str(drops)) as process:
        until(lambda: process.poll() is not None, 30, "it dies before it confirms")
    record = tmp_path / "confirmed"
    with child(kafka, unique, "files", str(drops), str(record)):
        until(record.exists, 30, "the end is confirmed")
    (manifest,) = drops.glob("police.person/*.done.json")
    told = json.loads(manifest.read_text("utf-8"))
    assert (told["ops"], told["reasons"]) == ({"t": 1}, {"GRANT_ENDED": 1})
