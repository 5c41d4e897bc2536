"""The flows of the city beside those of an earlier revision: the same recording, folded from nothing by one core each.

`changes` are those of captured feeds; what the flows read of each other comes on top. What one core does is told by its processor
time, so that what else the machine does takes nothing from it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from ops.bench.figure import Figures
from ops.bench.flows.recording import write_recording
from ops.bench.scale import Scale
from ops.bench.stage import Stage

BEFORE = "3d71261"
"""The revision before the flows were made faster."""
ROOT = Path(__file__).parents[3]
WORKER = Path(__file__).with_name("worker.py")


def measure_flows(stage: Stage, figures: Figures, scale: Scale) -> None:
    """`flows_changes_per_second`, `flows_cpu_per_change_us`, `flows_vs_before`."""
    recording = stage.directory / "city.recording"
    stage.say("recording the city's feeds")
    records = write_recording(recording, scale.living, scale.town)
    stage.say(f"  {records:,} records, {recording.stat().st_size >> 20} MiB")
    with _before(stage) if scale.has_peers else nullcontext() as tree:
        trees = {"mesh": ROOT} | ({f"revision {BEFORE}": tree} if tree else {})
        for run in range(1, scale.runs + 1):
            found: dict[str, float] = {}
            for name in sorted(trees, reverse=run % 2 == 0):
                stage.say(f"flows of the city, run {run} of {scale.runs}: {name}")
                stage.settle()
                told = _folded(stage, trees[name], recording)
                found[name] = told["changes"] / told["cpu_seconds"]
                stage.say(f"  {_said(told)}")
                if name == "mesh":
                    figures.note("flows_changes_per_second", found[name])
                    figures.note("flows_cpu_per_change_us", 1e6 / found[name])
            if len(found) == 2:
                figures.compare("flows_vs_before", found.pop("mesh"), *found.popitem())
    recording.unlink()


def _folded(stage: Stage, tree: Path, recording: Path) -> dict[str, Any]:
    result = stage.directory / "flows.json"
    line = [sys.executable, "-P", str(WORKER), str(tree), str(recording), str(result)]
    stage.run("flows", line, what=f"folding by {tree.name}")
    return json.loads(result.read_text())


def _said(told: dict[str, Any]) -> str:
    living = told["changes"] - told["past"]
    seconds = told["cpu_seconds"] - told["past_cpu_seconds"]
    past_us, living_us = told["past_cpu_seconds"] / told["past"] * 1e6, seconds / max(living, 1) * 1e6
    return (
        f"{told['changes'] / told['cpu_seconds']:,.0f} changes/s: {past_us:.0f} us of CPU each for the past,"
        f" {living_us:.0f} for what came behind it; {told['messages']:,} messages, rows {told['digest']}"
    )


@contextmanager
def _before(stage: Stage) -> Iterator[Path | None]:
    """The files of the earlier revision; None, with the reason said, where its history is not here."""
    tree = stage.directory / "before"
    archive = ["git", "-C", str(ROOT), "archive", "--format=tar", BEFORE, "schemas", "streams"]
    taken = subprocess.run(archive, capture_output=True, check=False) if shutil.which("git") else None
    if taken is None or taken.returncode:
        stage.say(f"revision {BEFORE} is not in this checkout's history: there is nothing to compare the flows with")
        yield None
        return
    tree.mkdir()
    subprocess.run(["tar", "-x", "-C", str(tree)], input=taken.stdout, check=True)
    try:
        yield tree
    finally:
        shutil.rmtree(tree)
