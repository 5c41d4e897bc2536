"""A drop in a bucket or on a server, killed around each of its files: every change is in one finished file (invariants 1, 2, 7)."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stage.delivering import OutFeed
from tests.stage.receivers import bucket, local, server
from tests.stage.weed import Weed

LIVES = Path(__file__).parents[1] / "stage" / "drop_lives.py"
RECORDS = 240


@pytest.mark.parametrize("kind", ["files", "s3", "sftp"])
def test_kill_around_each_file_of_a_drop_writes_every_change_once(
    weed: Weed, unique: str, tmp_path: Path, kind: str
) -> None:
    seed = int(os.environ.get("MESH_CHAOS_SEED", "0"))
    print(f"MESH_CHAOS_SEED={seed} replays this run")  # noqa: T201 -- shown when the test fails
    dice = random.Random(seed)
    receiver = bucket(weed, unique) if kind == "s3" else server(weed, unique) if kind == "sftp" else local(tmp_path)
    feed = OutFeed(unique, "police.person")
    # A run is three files: the changes, their manifest, how far the drop is.
    deaths = [
        (where, dice.choice((nth, nth + 3)))
        for where in ("before", "within", "after")
        for nth in dice.sample((1, 2, 3), 2)
    ]
    dice.shuffle(deaths)
    lives = json.dumps({"records": RECORDS, "deaths": deaths})
    subprocess.run([sys.executable, str(LIVES), receiver.to_json(feed), lives], check=True, timeout=120)
    lines = receiver.lines()
    assert [line["id"] for line in lines] == list(range(RECORDS)), deaths
    left = [name for name in receiver.drops() if not name.endswith((".jsonl", ".done.json"))]
    assert left == [], "nothing half written stays"
