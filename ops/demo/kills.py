"""Kills: which processes of the running mesh are killed on the way, and when; their supervisor starts them again."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from random import Random

HOPS = ("capture", "streams", "flows", "delivery")
UNTIL_CTRL_C_SECONDS = 120.0
"""So long the kills are spread where nobody said how long the city lives."""


class Kills:
    """So many of each hop, spread over the time, in an order drawn from the seed. `counts` has those that were done, by hop."""

    def __init__(
        self, directory: Path, *, each: int, for_seconds: float | None, seed: int, say: Callable[[str], None]
    ) -> None:
        self._directory = directory
        self._say = say
        self.counts: dict[str, int] = dict.fromkeys(HOPS, 0)
        rng = Random(seed)  # noqa: S311 - reproducible on purpose, guards nothing
        victims = [hop for hop in HOPS for _ in range(each)]
        rng.shuffle(victims)
        span = for_seconds or UNTIL_CTRL_C_SECONDS
        self._left = [(span * (place + 1) / (len(victims) + 1), hop) for place, hop in enumerate(victims)]

    def do(self, elapsed_seconds: float) -> None:
        """Those that are due by now."""
        while self._left and elapsed_seconds >= self._left[0][0]:
            self._kill(self._left.pop(0)[1])

    def _kill(self, hop: str) -> None:
        state = self._directory / "run" / f"{hop}.json"
        pid = json.loads(state.read_text())["pid"]
        if pid is None:
            return
        os.kill(pid, signal.SIGKILL)
        self.counts[hop] += 1
        self._say(f"killed {hop} (process {pid})")
