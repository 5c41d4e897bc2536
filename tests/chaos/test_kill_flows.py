"""SIGKILLs and rebalances among the workers of the flows: the state and every record are those of an undisturbed run.

`MESH_CHAOS_ROUNDS` repeats with further seeds, `MESH_CHAOS_SEED` replays one.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from ops.run.flow_worker import StateChangelog
from schemas.change import Record
from schemas.log.kafka import Kafka
from streams.engine.entry import TIMER_PREFIX
from streams.engine.folding import Folding
from streams.engine.inbox.bundle import unbundled
from streams.engine.inbox.message import unpack
from streams.engine.state import POSITION, State
from tests.stage import feeds
from tests.stage.demo_flow import flow
from tests.stage.flow_city import PARTITIONS, WITHIN_SECONDS, City, Worker, live, settled
from tests.stage.rehearsal import MemoryStore
from tests.stage.until import until

ROUNDS = int(os.environ.get("MESH_CHAOS_ROUNDS", "1"))
SEED = int(os.environ.get("MESH_CHAOS_SEED", "0")) or random.randrange(1, 1 << 30)
CHANGES = 12_000
KILLS = 10


def undisturbed(kafka: Kafka, city: City, partition: int, before: int) -> tuple[dict[bytes, bytes], Folding]:
    """The same inbox up to an offset, folded in this process, in one go and in memory: a worker that ends may write to it last."""
    store = MemoryStore()
    folding = Folding([flow(city.prefix)], store)
    records = feeds.read_all(kafka, [f"{city.prefix}inbox"])[f"{city.prefix}inbox", partition]
    messages = [
        message
        for record in records
        if (record.offset() or 0) < before
        for message in unbundled(Record(record.offset(), record.key(), record.value(), None, 0))
    ]
    for start in range(0, len(messages), 500):
        for effects, _ in folding.apply(messages[start : start + 500]):
            store.write(effects.changes)
    return store.entries(), folding


def without_place(entries: dict[bytes, bytes]) -> dict[bytes, bytes]:
    return {key: value for key, value in entries.items() if key[:1] not in (b"@", b"!")}


@pytest.mark.parametrize("seed", range(SEED, SEED + ROUNDS))
def test_ten_kills_among_three_workers_change_nothing(
    kafka: Kafka, registry: str, city: City, unique: str, tmp_path: Path, seed: int, capsys: Any
) -> None:
    rng = random.Random(seed)
    workers = [Worker(kafka, registry, city, tmp_path, f"{unique}-{number}") for number in range(3)]
    inbox = f"{city.prefix}inbox"
    try:
        for worker in workers:
            worker.start()
        for kill in range(KILLS):
            live(city, rng, CHANGES // KILLS)
            city.flush()
            before = sum(feeds.end_offsets(kafka, [inbox]).values())
            until(lambda: sum(feeds.end_offsets(kafka, [inbox]).values()) > before, WITHIN_SECONDS, "work to interrupt")  # noqa: B023
            victim = workers[rng.randrange(3)]
            victim.end(signal.SIGKILL)
            if kill == KILLS // 2:
                shutil.rmtree(victim.folder)  # a new machine, without a local store
                victim.folder.mkdir()
            victim.start()
        settled(kafka, city, PARTITIONS, seed)
    finally:
        for worker in workers:
            worker.end(signal.SIGTERM)
    changelog = StateChangelog(kafka, f"{city.prefix}state")
    size = 0
    for partition in range(PARTITIONS):
        restored = State(
            tmp_path / "fresh" / str(partition), partition, changelog
        )  # a machine that never held this task
        held = dict(restored.scan(b""))
        restored.close()
        assert POSITION in held
        entries, _ = undisturbed(kafka, city, partition, unpack(held[POSITION]))
        assert without_place(held) == without_place(entries), f"task {partition}, seed {seed}"
        assert any(key.startswith(TIMER_PREFIX) for key in entries) == any(key.startswith(TIMER_PREFIX) for key in held)
        size += len(entries)
    with capsys.disabled():
        print(f"\n  {KILLS} kills among 3 workers, {CHANGES} changes, {size} state entries equal; seed {seed}")  # noqa: T201
