"""How the flows' engine grows: a change's cost with few and with very many subjects, and what the state of one takes.

A program per size, ops/bench/flows/subjects.py: its state is read back, then changes of random subjects are folded.
"""

from __future__ import annotations

import json
import shutil
import sys
from typing import Any

from ops.bench.figure import Figures
from ops.bench.scale import Scale
from ops.bench.stage import Stage

CHANGES = 20_000


def measure_growth(stage: Stage, figures: Figures, scale: Scale) -> None:
    """`flows_growth`, `flows_state_bytes`, `flows_memory_mib`, `flows_restored_per_second`. Once: to read back takes minutes."""
    found = {size: _measured(stage, size) for size in sorted(scale.subjects)}
    (fewest, few), *_, (most, many) = found.items()
    one, several = few["cpu_per_change_us"], many["cpu_per_change_us"]
    figures.growth("flows_growth", several / one, one=one, several=several, against=f"{fewest:,} to {most:,} subjects")
    figures.note("flows_state_bytes", many["bytes_per_subject"])
    figures.note("flows_memory_mib", many["memory_mib"])
    figures.note("flows_restored_per_second", many["restored_per_second"])


def _measured(stage: Stage, subjects: int) -> dict[str, Any]:
    stage.say(f"growth of the flows: {subjects:,} subjects")
    folder, result = stage.directory / "subjects", stage.directory / "subjects.json"
    line = [
        sys.executable,
        "-P",
        "-m",
        "ops.bench.flows.subjects",
        str(folder),
        str(subjects),
        str(CHANGES),
        str(result),
    ]
    try:
        stage.run("subjects", line, what=f"folding among {subjects:,} subjects")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    told = json.loads(result.read_text())
    stage.say(
        f"  {told['cpu_per_change_us']:.0f} us of CPU a change; {told['bytes_per_subject']:.0f} bytes of state each,"
        f" {told['disk_bytes_per_subject']:.0f} on disk; {told['memory_mib']:.0f} MiB of memory;"
        f" read back at {told['restored_per_second']:,.0f} entries a second"
    )
    return told
