"""SIGKILL of stream workers in the middle of everything: nothing is lost, order holds, and the work goes on soon.

`MESH_CHAOS_ROUNDS` repeats each scenario with further seeds, `MESH_CHAOS_SEED` replays one.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from schemas.feed import out_topic
from schemas.log.kafka import Kafka
from schemas.log.writer import Log
from tests.stage import feeds
from tests.stage.until import until

ROUNDS = int(os.environ.get("MESH_CHAOS_ROUNDS", "1"))
SEED = int(os.environ.get("MESH_CHAOS_SEED", "0")) or random.randrange(1, 1 << 30)
RECORDS = 200_000
PARTITIONS = 4
WITHIN_SECONDS = 90
RECOVERY_SECONDS_MAX = 12.0  # of a starved machine; on a quiet one it is about one, and the figure is printed


class Worker:
    """One forwarder that can be killed and started again."""

    def __init__(self, kafka: Kafka, group: str, directory: Path, name: str) -> None:
        (directory / name).mkdir()
        self._output = directory / name / "log"
        options = {
            "kafka": kafka.environment(),
            "group": group,
            "topics": str(directory / "topics"),
            "instance_id": name,
        }
        self._argv = [
            *(sys.executable, "-m", "tests.chaos.forwarder"),
            json.dumps({**options, "data_dir": str(directory / name)}),
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self.started_ms: dict[bytes, float] = {}
        self.kills = 0

    def start(self) -> None:
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(self._argv, stdout=output, stderr=output)
        self.started_ms[b"%d" % self._process.pid] = time.time() * 1000

    def end(self, number: signal.Signals) -> None:
        if self._process is not None:
            code = self._process.poll()
            assert code is None, f"it ended by itself with {code}:\n{self._output.read_text()}"
            self._process.send_signal(number)
            self._process.wait()
            self.kills += number is signal.SIGKILL
            self._process = None


@contextmanager
def written_slowly(kafka: Kafka, topics: list[str], seconds: float) -> Iterator[threading.Thread]:
    """RECORDS records, spread over the time in which the killing goes on."""
    log, step = Log(kafka, client_id="tests", linger_ms=5), 2_000

    def write() -> None:
        began = time.monotonic()
        for first in range(0, RECORDS, step):
            for number in range(first, first + step):
                log.append(topics[number % len(topics)], b"%d" % (number * 7919 % 1009), b"%d" % number)
            time.sleep(max(0.0, seconds * first / RECORDS - (time.monotonic() - began)))
        log.flush(60)
        log.close()

    thread = threading.Thread(target=write, name="writer")
    thread.start()
    yield thread
    thread.join()


def check(kafka: Kafka, topics: list[str], workers: list[Worker]) -> str:
    """Compare what went in with what came out, from outside; say how much was repeated and how soon each start worked."""
    sent, got = feeds.read_all(kafka, topics), feeds.read_all(kafka, [out_topic(topic) for topic in topics])
    total, first_copy_ms = 0, dict[bytes, int]()
    for (topic, partition), records in sent.items():
        copies = got[out_topic(topic), partition]
        total += len(copies)
        new = list(dict.fromkeys(copy.value() for copy in copies))  # repeats left out, each at its first appearance
        assert new == [record.value() for record in records], f"{topic} [{partition}]: lost, added, or before its turn"
        for copy in copies:
            pid = dict(copy.headers())["pid"]
            first_copy_ms[pid] = min(first_copy_ms.get(pid, 1 << 62), copy.timestamp()[1])
    assert sum(len(records) for records in sent.values()) == RECORDS
    started_ms = {pid: at for worker in workers for pid, at in worker.started_ms.items()}
    waits = sorted((first_copy_ms[pid] - at) / 1000 for pid, at in started_ms.items() if pid in first_copy_ms)
    repeated = 100 * (total - RECORDS) / RECORDS
    kills = sum(worker.kills for worker in workers)
    if len(workers) == 1:
        assert waits[len(waits) // 2] < RECOVERY_SECONDS_MAX
    return (
        f"{kills} kills, {RECORDS} records, none missing, {repeated:.1f} % repeated; start to first record written: "
        f"median {waits[len(waits) // 2]:.2f} s, longest {waits[-1]:.2f} s of {len(waits)}"
    )


@contextmanager
def scene(kafka: Kafka, unique: str, directory: Path, count: int) -> Iterator[tuple[list[str], list[Worker]]]:
    topics = [f"{unique}.a", f"{unique}.b"]
    feeds.create(kafka, *topics, *(out_topic(topic) for topic in topics), partitions=PARTITIONS)
    (directory / "topics").write_text("\n".join(topics))
    workers = [Worker(kafka, unique, directory, f"{unique}-{index}") for index in range(count)]
    with ExitStack() as stack:
        for worker in workers:
            stack.callback(worker.end, signal.SIGTERM)
            worker.start()
        yield topics, workers


def copies(kafka: Kafka, topics: list[str]) -> int:
    return sum(feeds.end_offsets(kafka, [out_topic(topic) for topic in topics]).values())


def all_copied(kafka: Kafka, topics: list[str]) -> bool:
    return copies(kafka, topics) >= RECORDS and all(
        feeds.committed_offsets(kafka, topics[0].split(".")[0]).get(place, 0) == end
        for place, end in feeds.end_offsets(kafka, topics).items()
    )


def wait_for_work(kafka: Kafka, topics: list[str]) -> None:
    """Return once something more was copied, or once there is nothing left to copy: what kills a sleeper proves little."""
    before = copies(kafka, topics)
    until(lambda: before >= RECORDS or copies(kafka, topics) > before, WITHIN_SECONDS, "work to interrupt")


@pytest.mark.parametrize("seed", range(SEED, SEED + ROUNDS))
def test_one_worker_killed_again_and_again(kafka: Kafka, unique: str, tmp_path: Path, seed: int, capsys):
    rng = random.Random(seed)
    with scene(kafka, unique, tmp_path, 1) as (topics, workers), written_slowly(kafka, topics, 25):
        for _ in range(8):
            wait_for_work(kafka, topics)
            time.sleep(rng.uniform(0.0, 1.5))
            workers[0].end(signal.SIGKILL)
            workers[0].start()
        until(lambda: all_copied(kafka, topics), WITHIN_SECONDS, f"all records, seed {seed}")
    with capsys.disabled():
        sys.stdout.write(f"\nseed {seed}: {check(kafka, topics, workers)}\n")


@pytest.mark.parametrize("seed", range(SEED, SEED + ROUNDS))
def test_three_workers_killed_in_turn(kafka: Kafka, unique: str, tmp_path: Path, seed: int, capsys):
    rng = random.Random(seed)
    with scene(kafka, unique, tmp_path, 3) as (topics, workers), written_slowly(kafka, topics, 25):
        for turn in range(8):
            wait_for_work(kafka, topics)
            time.sleep(rng.uniform(0.0, 1.5))
            worker = rng.choice(workers)
            worker.end(signal.SIGTERM if turn == 5 else signal.SIGKILL)
            time.sleep(rng.choice((0.0, 0.0, 1.0, 11.0 if turn == 3 else 0.5)))  # once longer than its session
            worker.start()
        until(lambda: all_copied(kafka, topics), WITHIN_SECONDS, f"all records, seed {seed}")
    with capsys.disabled():
        sys.stdout.write(f"\nseed {seed}: {check(kafka, topics, workers)}\n")
