"""The flows get more tasks under load, while workers and the command itself are killed: every record is that of a quiet run.

`MESH_CHAOS_ROUNDS` repeats with further seeds, `MESH_CHAOS_SEED` replays one.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ops.run.flow_worker import StateChangelog
from schemas.log.kafka import Kafka
from streams.engine.division.division import ENTRY, Division
from streams.engine.inbox.bundle import partition_of
from streams.engine.state import State
from tests.stage import feeds
from tests.stage.flow_city import PARTITIONS, WITHIN_SECONDS, City, Worker, live, settled
from tests.stage.kafka_text import written
from tests.stage.until import until

ROUNDS = int(os.environ.get("MESH_CHAOS_ROUNDS", "1"))
SEED = int(os.environ.get("MESH_CHAOS_SEED", "0")) or random.randrange(1, 1 << 30)
GROWN = 16
CHANGES = 12_000
PORTIONS = 12
GROWING = """
import json, sys
from contextlib import closing
from ops.run.flow_tasks import TaskGrowth
from schemas.feed import FLOW_INTAKE
from schemas.log.control.store import ControlStore
from schemas.log.writer import Log
from streams.engine.task import TaskTopics
from tests.stage.kafka_text import read
options = json.loads(sys.argv[2])
kafka = read(sys.argv[1])
with closing(Log(kafka, client_id="tests-grow", linger_ms=0)) as log:
    store = ControlStore(kafka, options["record"], log)
    growth = TaskGrowth(kafka, store, TaskTopics(1, options["inbox"], options["state"]), flow="demo", group=options["group"])
    sys.exit(not growth.grow(options["tasks"], within_seconds=100).is_complete)
"""


class Command:
    """`mesh tasks 16` for this city, as a process that may be killed."""

    def __init__(self, kafka: Kafka, city: City) -> None:
        prefix = city.prefix
        options = {"inbox": f"{prefix}inbox", "state": f"{prefix}state", "group": f"{prefix}flows"}
        feeds.create(kafka, f"{prefix}record", partitions=1)
        self._argv = [
            *(sys.executable, "-c", GROWING, written(kafka)),
            json.dumps({**options, "record": f"{prefix}record", "tasks": GROWN}),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._argv)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def end(self) -> int:
        assert self._process is not None
        return self._process.wait(WITHIN_SECONDS)


@pytest.mark.parametrize("seed", range(SEED, SEED + ROUNDS))
def test_tasks_grow_from_four_to_sixteen_under_load_and_kills(
    kafka: Kafka, registry: str, city: City, unique: str, tmp_path: Path, seed: int, capsys: Any
) -> None:
    rng = random.Random(seed)
    workers = [Worker(kafka, registry, city, tmp_path, f"{unique}-{number}") for number in range(2)]
    command = Command(kafka, city)
    began = 0.0
    try:
        for worker in workers:
            worker.start()
        for portion in range(PORTIONS):
            live(city, rng, CHANGES // PORTIONS)
            city.flush()
            if portion == 2:
                until(lambda: feeds.committed_offsets(kafka, f"{city.prefix}flows"), WITHIN_SECONDS, "work")
                began = time.monotonic()
                command.start()
            elif portion == 4:
                time.sleep(rng.random() * 2)  # any moment of it
                command.kill()
            elif portion == 6:
                command.start()
            if portion in {3, 5, 7, 8}:
                victim = workers[rng.randrange(2)]
                victim.end(signal.SIGKILL)
                victim.start()
        assert command.end() == 0, f"seed {seed}"
        seconds = time.monotonic() - began
        live(city, rng, CHANGES // PORTIONS)
        city.flush()
        settled(kafka, city, GROWN, seed)
    finally:
        for worker in workers:
            worker.end(signal.SIGTERM)
    subjects = [own_subjects(kafka, city, partition, tmp_path, seed) for partition in range(GROWN)]
    assert sum(map(bool, subjects)) > GROWN // 2, f"the new tasks have their part, seed {seed}"
    with capsys.disabled():
        told = f"subjects {subjects}; seed {seed}"
        print(f"\n  {PARTITIONS} to {GROWN} tasks in {seconds:.0f} s under load and kills; {told}")  # noqa: T201


def own_subjects(kafka: Kafka, city: City, partition: int, folder: Path, seed: int) -> int:
    """How many subjects a task has, by its changelog; all of them are its own, and it knows among how many it is."""
    state = State(folder / "fresh" / str(partition), partition, StateChangelog(kafka, f"{city.prefix}state"))
    keys = {b"\0".join(key[1:].split(b"\0", 2)[:2]) for key, _ in state.scan(b"s")}
    division = Division.of(state.get(ENTRY), partition, PARTITIONS, PARTITIONS)
    state.close()
    assert {partition_of(key, GROWN) for key in keys} <= {partition}, f"seed {seed}"
    assert (division.tasks, division.routed) == (GROWN, GROWN), f"seed {seed}"
    assert division.epoch == (1 if partition < PARTITIONS else 2), f"seed {seed}"
    return len(keys)
