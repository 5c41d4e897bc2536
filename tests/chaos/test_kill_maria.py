"""SIGKILL the process that captures a MariaDB, again and again, while its table is copied and changed (invariants 1, 2, 7)."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.log.kafka import Kafka
from tests.stage import feeds
from tests.stage.kafka_text import written
from tests.stage.maria import MariaServer, connected, run
from tests.stage.maria_capture import MariaRig
from tests.stage.until import until

ROWS = 3_000
SEED = 20261130
ROUNDS = 3


@contextmanager
def child(rig: MariaRig, directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    asked = [written(rig.kafka), rig.dsn, rig.agency, str(directory)]
    command = [sys.executable, "-m", "tests.chaos.maria_process", *asked]
    with (directory / "child.log").open("ab") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


@contextmanager
def writer(address: str, chance: random.Random) -> Iterator[None]:
    """Small transactions of every kind, some rolled back, until told to stop."""
    stop = threading.Event()

    def write() -> None:
        with connected(address) as connection, connection.cursor() as cursor:
            number = 10_000_000
            while not stop.wait(0.01):
                number += 1
                target = chance.randrange(1, ROWS)
                cursor.execute("BEGIN")
                cursor.execute(f"INSERT INTO t VALUES ({number}, 'new', {number % 1000})")
                cursor.execute(f"UPDATE t SET amount = amount + 1 WHERE id BETWEEN {target} AND {target + 5}")
                cursor.execute(f"DELETE FROM t WHERE id = {chance.randrange(1, ROWS)}")
                cursor.execute(f"UPDATE t SET id = {20_000_000 + number} WHERE id = {chance.randrange(1, ROWS)}")
                cursor.execute("ROLLBACK" if chance.random() < 0.2 else "COMMIT")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)


def test_kills_in_copy_and_stream_lose_and_invent_nothing(
    kafka: Kafka, mariadb: MariaServer, unique: str, tmp_path: Path
) -> None:
    chance = random.Random(SEED)
    rig = MariaRig(kafka, mariadb.create_database("killed"), unique)
    run(
        rig.dsn,
        "CREATE TABLE t (id bigint PRIMARY KEY, name varchar(20), amount int)",
        f"INSERT INTO t SELECT seq, CONCAT('name ', seq), seq % 97 FROM seq_1_to_{ROWS}",
    )
    feed = rig.onboard("t")

    def size() -> int:
        return sum(feeds.end_offsets(kafka, [feed]).values())

    with writer(rig.dsn, chance):
        for _ in range(ROUNDS):
            with child(rig, tmp_path):
                aim = size() + chance.randrange(300, 2_500)
                until(lambda aim=aim: size() >= aim, 60, "it gets on")
    with child(rig, tmp_path):
        rig.until_folds_to(feed, "SELECT id, name, amount FROM t", 120)
    seen: dict[tuple[object, object], object] = {}
    for change in rig.changes(feed):
        place = change.key["id"], change.position
        if change.op != "r":  # a row that is read again is another read
            assert seen.setdefault(place, (change.op, change.after)) == (change.op, change.after), place
    assert {key for key, _ in seen}, "the stream was read too"
