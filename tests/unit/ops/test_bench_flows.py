"""The flows' measurement on a small town: the same recording ends in the same rows, whichever tree folds it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ops.bench.flows.measure import ROOT, WORKER
from ops.bench.flows.recording import write_recording
from streams.engine.inbox.message import unpack

TOWN, LIVING = 1 / 20_000, 300


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("town") / "recording"
    write_recording(file, LIVING, TOWN)
    return file


def folded(recording: Path, folder: Path) -> dict[str, float | str]:
    result = folder / "result.json"
    subprocess.run([sys.executable, "-P", WORKER, ROOT, recording, result], check=True, timeout=240)
    return json.loads(result.read_text())


def test_a_recording_has_each_record_once_and_in_the_order_of_its_partition(recording: Path) -> None:
    content = unpack(recording.read_bytes())
    offsets: dict[tuple[str, int], list[int]] = {}
    for feed, partition, offset, *_ in content["records"]:
        offsets.setdefault((feed, partition), []).append(offset)
    assert all(found == list(range(len(found))) for found in offsets.values())
    assert len(content["records"]) >= content["past"] + LIVING
    assert {"police.resident", "aic.enterprise"} <= {feed for feed, _ in offsets}


def test_what_is_folded_is_told_with_its_cost(recording: Path, tmp_path: Path) -> None:
    told = folded(recording, tmp_path)
    assert told["messages"] > told["changes"] > told["past"] > 0
    assert told["cpu_seconds"] > told["past_cpu_seconds"] > 0
    assert told["digest"] == folded(recording, tmp_path)["digest"]
