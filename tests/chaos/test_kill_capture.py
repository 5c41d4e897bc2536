"""SIGKILL the capturing process in mid-snapshot and mid-stream: the feed still says what the table says (invariants 1, 2, 7)."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from schemas.log.kafka import Kafka
from tests.chaos.capture_process import feed_contract
from tests.stage import feeds
from tests.stage.capturing import Rig, copyists
from tests.stage.kafka_text import written
from tests.stage.until import until, until_none

ROWS = 40_000
SEED = 20261123
WHOLE = 10**9


@pytest.fixture
def rig(kafka: Kafka, postgres: Any, unique: str) -> Rig:
    rig = Rig(kafka, postgres.create_database(unique), unique)
    with psycopg.connect(rig.dsn, autocommit=True) as db:
        db.execute("CREATE TABLE t (id bigint PRIMARY KEY, name text, amount numeric(12,2))")
        db.execute("ALTER TABLE t REPLICA IDENTITY FULL")
    rig.add(feed_contract(unique))
    return rig


@contextmanager
def child(rig: Rig, directory: Path, *, dies_at: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    command = [
        sys.executable,
        "-m",
        "tests.chaos.capture_process",
        written(rig.kafka),
        rig.dsn,
        rig.agency,
        str(directory),
    ]
    command += [] if dies_at is None else [str(dies_at)]
    with (directory / "child.log").open("ab") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


def size(rig: Rig) -> int:
    return sum(feeds.end_offsets(rig.kafka, [f"{rig.agency}.t"]).values())


def table(rig: Rig) -> dict[int, int]:
    with psycopg.connect(rig.dsn) as db:
        return dict(db.execute("SELECT id, (amount * 100)::bigint FROM t").fetchall())


def folded(rig: Rig) -> dict[int, int]:
    rows = rig.fold(f"{rig.agency}.t")
    return {key[0]: int.from_bytes(row["amount"], "big", signed=True) for key, row in rows.items()}


def reached_block(rig: Rig, directory: Path) -> int:
    progress = directory / f"{rig.source}.json"
    record = json.loads(progress.read_text()) if progress.exists() else {}
    entry = next(iter(record.get("tables", {}).values()), {})  # of the one feed
    return WHOLE if entry.get("state") == "live" else entry.get("next_block", 0)


@contextmanager
def writer(dsn: str, chance: random.Random) -> Iterator[None]:
    """Small transactions of every kind, some rolled back, until told to stop."""
    stop = threading.Event()

    def write() -> None:
        with psycopg.connect(dsn) as db:
            number = 10_000_000
            while not stop.wait(0.01):
                number += 1
                target = chance.randrange(1, ROWS)
                db.execute("INSERT INTO t VALUES (%s, 'new', %s)", (number, number % 1000))
                db.execute("UPDATE t SET amount = amount + 1 WHERE id BETWEEN %s AND %s", (target, target + 5))
                db.execute("DELETE FROM t WHERE id = %s", (chance.randrange(1, ROWS),))
                db.execute("UPDATE t SET id = %s WHERE id = %s", (20_000_000 + number, chance.randrange(1, ROWS)))
                if chance.random() < 0.2:
                    db.rollback()
                else:
                    db.commit()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)


def check_positions(rig: Rig) -> None:
    """Every streamed transaction arrived whole, and a change sent again carries the same position and bytes."""
    values: dict[str, bytes] = {}
    ordinals: dict[str, set[int]] = defaultdict(set)
    for messages in feeds.read_all(rig.kafka, [f"{rig.agency}.t"]).values():
        for message in messages:
            if message.value() is None:
                continue
            envelope = rig.codec.decode(message.value())
            if envelope["op"] == "r":
                continue
            sequence = envelope["source"]["sequence"]
            assert values.setdefault(sequence, message.value()) == message.value()
            ordinal = envelope["transaction"]["total_order"]
            # An update has two ordinals, one for a key change's delete.
            ordinals[envelope["transaction"]["id"]] |= {ordinal - 1, ordinal} if envelope["op"] == "u" else {ordinal}
    assert all(numbers == set(range(1, len(numbers) + 1)) for numbers in ordinals.values())


def test_kills_during_the_snapshot_resume_it_range_by_range(rig: Rig, tmp_path: Path) -> None:
    with psycopg.connect(rig.dsn, autocommit=True) as db:
        db.execute(f"INSERT INTO t SELECT g, repeat('row ', 30) || g, g FROM generate_series(1, {ROWS}) g")
    with writer(rig.dsn, random.Random(SEED)):
        for _ in range(3):
            reached = reached_block(rig, tmp_path)
            with child(rig, tmp_path, dies_at=reached + 1) as process:
                until(lambda died=process: died.poll() is not None, 60, "a further range is done")
            assert reached < reached_block(rig, tmp_path) < WHOLE
    with child(rig, tmp_path):
        whole = lambda: reached_block(rig, tmp_path) == WHOLE and folded(rig) == table(rig)  # noqa: E731
        until(whole, 120, "the feed says what the table says")
    assert re.search(r"copies public\.t from block [1-9]", (tmp_path / "child.log").read_text()), "it never resumed"
    check_positions(rig)


def test_a_kill_in_mid_copy_takes_the_copying_processes_along(rig: Rig, tmp_path: Path) -> None:
    with psycopg.connect(rig.dsn, autocommit=True) as db:
        db.execute(f"INSERT INTO t SELECT g, repeat('row ', 30) || g, g FROM generate_series(1, {5 * ROWS}) g")
    with child(rig, tmp_path, dies_at=1_000) as process:
        until(lambda: len(copyists(process.pid)) == 2, 60, "two processes copy")
        until(lambda: process.poll() is not None, 60, "a part is copied")
    until_none(lambda: copyists(process.pid), 30, "no process copies any more")
    assert 0 < reached_block(rig, tmp_path) < WHOLE, "killed too late"
    with child(rig, tmp_path):
        until(lambda: reached_block(rig, tmp_path) == WHOLE, 120, "the copy is complete")
        assert folded(rig) == table(rig)
    assert re.search(r"copies public\.t from block [1-9]", (tmp_path / "child.log").read_text()), "it never resumed"


def test_a_copying_process_dies_with_its_parent_whatever_it_does(tmp_path: Path) -> None:
    busy = (
        "import os, time; from producers.postgresql.snapshot.copyist import die_with; "
        "die_with(os.getppid()); print(os.getpid(), flush=True); time.sleep(60)"
    )
    parent = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    with subprocess.Popen([sys.executable, "-c", parent, busy], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.kill()
    until(lambda: not Path(f"/proc/{pid}").exists(), 30, "the process is gone")


def test_kills_in_mid_stream_lose_and_alter_nothing(rig: Rig, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    with psycopg.connect(rig.dsn, autocommit=True) as db:
        db.execute(f"INSERT INTO t SELECT g, 'row ' || g, g FROM generate_series(1, {ROWS // 10}) g")
    with writer(rig.dsn, chance):
        for _ in range(6):
            wanted = size(rig) + chance.randrange(20, 400)
            with child(rig, tmp_path):
                until(lambda wanted=wanted: size(rig) > wanted, 60, "the stream moves")
    with child(rig, tmp_path):
        until(lambda: folded(rig) == table(rig), 120, "the feed says what the table says")
    check_positions(rig)
