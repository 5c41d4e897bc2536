"""Delivery killed before, within and after writes: nothing is missing, nothing is twice (invariants 1, 2, 7)."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from schemas.log.kafka import Kafka
from schemas.log.writer import Log
from tests.stage.delivering import OutFeed, decimal
from tests.stage.feeds import create
from tests.stage.maria import MariaServer, rows_or_none
from tests.stage.until import until

CHILD = Path(__file__).parents[1] / "stage" / "delivery_child.py"
DEATHS = ("before", "half", "within", "after")


@contextmanager
def child(
    kafka: Kafka, subscriber: str, kind: str, address: str, death: Any = None, **more: Any
) -> Iterator[subprocess.Popen[bytes]]:
    wanted = {"kafka": kafka.environment(), "subscriber": subscriber, "kind": kind, "address": address, "death": death}
    wanted |= more
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


def seed_of_run() -> int:
    seed = int(os.environ.get("MESH_CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 10_000)
    print(f"MESH_CHAOS_SEED={seed} replays this run")  # noqa: T201 -- shown when the test fails
    return seed


class History:
    """Random creates, updates and removals, and what they come to."""

    def __init__(self, feed: OutFeed, log: Log, seed: int) -> None:
        self.feed, self.log, self.dice = feed, log, random.Random(seed)
        self.rows: dict[int, str] = {}
        self.tokens: set[str] = set()

    def go_on(self, count: int) -> None:
        for _ in range(count):
            key = self.dice.randrange(300)
            if key in self.rows and self.dice.random() < 0.3:
                del self.rows[key]
                removal = self.feed.record("d", {"id": key})
                self.feed.append(self.log, removal, self.feed.tombstone({"id": key}))
            else:
                self.rows[key] = f"n{self.feed.ordinal}"
                row = {"id": key, "name": self.rows[key], "amount": decimal("1.00")}
                self.feed.append(self.log, self.feed.record("u", row))
            self.tokens.add(f'["0000","{self.feed.ordinal:016X}","00000001"]')
        self.log.flush(30)


@pytest.fixture
def history(kafka: Kafka, unique: str) -> Iterator[History]:
    feed = OutFeed(unique, "police.person")
    create(kafka, feed.topic, partitions=2)
    log = Log(kafka, client_id="test")
    yield History(feed, log, seed_of_run())
    log.close()


def killed(kafka: Kafka, history: History, kind: str, address: str) -> None:
    """Let a child die under load in each way, in any order."""
    for where in history.dice.sample(DEATHS, len(DEATHS)):
        kill(kafka, history, kind, address, where)


def kill(kafka: Kafka, history: History, kind: str, address: str, where: str) -> None:
    history.go_on(1500)
    death = {"where": where, "nth": history.dice.randint(1, 3), "delay_seconds": history.dice.uniform(0, 0.03)}
    with child(kafka, history.feed.subscriber, kind, address, death) as process:

        def is_dead() -> bool:
            history.go_on(20)  # it may have written all there was before its time
            return process.poll() is not None

        # The broker gives a dead member's partitions to the next one after eight seconds.
        until(is_dead, 60, f"a death {where} a write")
        assert process.returncode == -signal.SIGKILL, where


def rows(dsn: str) -> dict[int, str]:
    try:
        with psycopg.connect(dsn) as connection:
            return dict(connection.execute("SELECT id, name FROM police_person").fetchall())
    except psycopg.errors.UndefinedTable:
        return {}


def test_kill_around_writes_leaves_exactly_the_same_rows(kafka: Kafka, postgres: Any, history: History) -> None:
    dsn = postgres.create_database("killed")
    killed(kafka, history, "postgres", dsn)
    history.go_on(100)
    with child(kafka, history.feed.subscriber, "postgres", dsn):
        until(lambda: rows(dsn) == history.rows, 60, "the same rows after the kills")


def test_kill_around_writes_to_mariadb_leaves_exactly_the_same_rows(
    kafka: Kafka, mariadb: MariaServer, history: History
) -> None:
    address = mariadb.create_database("killed")
    killed(kafka, history, "mysql", address)
    history.go_on(100)
    with child(kafka, history.feed.subscriber, "mysql", address):
        held = "SELECT id, name FROM police_person"
        until(lambda: dict(rows_or_none(address, held)) == history.rows, 60, "the same rows after the kills")


def drops(directory: Path) -> list[str]:
    found: list[str] = []
    for path in directory.glob("police.person/*.done.json"):
        manifest = json.loads(path.read_text("utf-8"))
        lines = (path.parent / manifest["file"]).read_text("utf-8").splitlines()
        found += [json.loads(line)["_mesh_token"] for line in lines]
    return found


def test_kill_around_drops_writes_every_change_once(kafka: Kafka, tmp_path: Path, history: History) -> None:
    killed(kafka, history, "files", str(tmp_path))
    with child(kafka, history.feed.subscriber, "files", str(tmp_path)):
        until(lambda: set(drops(tmp_path)) == history.tokens, 60, "every change after the kills")
    found = drops(tmp_path)
    assert len(found) == len(set(found)), "no change twice"
