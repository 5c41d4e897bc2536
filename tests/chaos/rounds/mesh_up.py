"""`mesh up` with the hops alone, as the rounds need them: `python -m tests.chaos.rounds.mesh_up DIRECTORY`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ops.host.up import up
from ops.run.processes import processes

HOPS = ("registry", "streams", "delivery", "capture")


def hops(directory: Path, ports: Mapping[str, int]) -> Mapping[str, Sequence[str]]:
    return {name: argv for name, argv in processes(directory, ports).items() if name in HOPS}


if __name__ == "__main__":
    sys.exit(up(Path(sys.argv[1]), hops))
