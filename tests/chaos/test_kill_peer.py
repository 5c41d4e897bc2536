"""SIGKILL what reads another mesh, in mid-stream: nothing is lost, and what comes again is the same (invariants 1, 2, 4, 7)."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.log.kafka import Kafka
from tests.broker.conftest import running_registry
from tests.stage import feeds
from tests.stage.capturing import record_of
from tests.stage.far_side import FarSide, NearRig, grid_contract
from tests.stage.kafka_text import written
from tests.stage.until import until

SEED = 20261123
KILLS = 6


@contextmanager
def child(near: NearRig, key: bytes, directory: Path) -> Iterator[None]:
    module = [sys.executable, "-m", "tests.chaos.peer_process"]
    command = [*module, written(near.kafka), near.dsn, near.agency, key.hex(), str(directory)]
    with (directory / "child.log").open("ab") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


@contextmanager
def writer(far: FarSide, chance: random.Random) -> Iterator[None]:
    """Creates, updates and removals, until told to stop."""
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.wait(0.02):
            number += 1
            numbers = range(number * 20, number * 20 + 20)
            far.rows(numbers)
            known = chance.randrange(20, number * 20 + 20)
            far.write([("u", known, {"id": known, "name": f"again {number}"})])
            far.write([("d", chance.randrange(20, number * 20 + 20), None)], reason="OUT_OF_SCOPE")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)


def test_kills_in_mid_stream_lose_nothing_and_repeat_the_same(
    kafka: Kafka, far_kafka_alone: tuple[Kafka, str], unique: str, tmp_path: Path
) -> None:
    chance = random.Random(SEED)
    feed = f"{unique}.grid"
    with running_registry(far_kafka_alone[0], f"_schemas_{unique}") as registry:
        far = FarSide(far_kafka_alone, registry.url, f"{unique}city", grid_contract(unique))
        near = NearRig(kafka, far.address, unique, far.identity.fingerprint)
        near.add(far.contract)
        size = lambda: sum(feeds.end_offsets(kafka, [feed]).values())  # noqa: E731
        with writer(far, chance):
            for _ in range(KILLS):
                wanted = size() + chance.randrange(20, 300)
                with child(near, far.identity.public_key, tmp_path):
                    until(lambda wanted=wanted: size() > wanted, 60, "it moves")
        everything = {str(position) for _, _, position in far.written}
        arrived = lambda: {str(change.position) for change in near.changes(feed)}  # noqa: E731
        with child(near, far.identity.public_key, tmp_path):
            until(lambda: arrived() == everything, 60, "all that was written, and nothing else")

    copies: dict[str, list[bytes]] = defaultdict(list)
    newest: dict[bytes, str] = {}
    last_first_seen: dict[bytes, str] = {}
    for partition in feeds.read_all(kafka, [feed]).values():
        for message in partition:
            change = near.codec.change(feed, record_of(message))
            if change is None:
                continue
            key, position = bytes(message.key()), str(change.position)
            if (
                position not in copies
            ):  # Invariant 4: what is new about a key comes in order, whatever came again between
                assert last_first_seen.get(key, "") < position
                last_first_seen[key] = position
            copies[position].append(message.value())
            newest[key] = max(newest.get(key, ""), position)
    assert all(len(set(values)) == 1 for values in copies.values())
    repeated = sum(len(values) - 1 for values in copies.values())
    assert repeated < len(copies), "more came again than was under way"
    rows: dict[int, str | None] = {}
    for op, number, position in far.written:
        rows[number] = None if op == "d" else str(position)
    present = {number: position for number, position in rows.items() if position}
    assert {key[0] for key in near.fold(feed)} == set(present)
    assert set(newest.values()) >= set(present.values())
