"""Memory of the mesh's processes over hours: whether it is flat once they are warm."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

SERVERS = frozenset({"kafka", "postgres"})
"""They take memory up to bounds of their own; their figures are reported and not judged."""

WARM_AFTER = 0.4
GROWTH_MAX = 0.1
GROWTH_BYTES_MAX = 32 << 20
"""What a process may grow by while it is watched: a tenth of what it has, and this for its caches."""
_SAMPLES_MIN = 8
_WINDOWS = 8


class Memory:
    """Resident memory of each process of a mesh, by the kernel's word."""

    def __init__(self, directory: Path) -> None:
        self._run = directory / "run"
        self._series: dict[tuple[str, int], list[tuple[float, int]]] = {}

    def sample(self, at_seconds: float) -> None:
        """Take a sample of every process that lives."""
        for path in self._run.glob("*.json"):
            try:
                pid = json.loads(path.read_text())["pid"]
                pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            except (OSError, ValueError, TypeError, KeyError):
                continue  # it ends, or is being written, at this moment
            self._series.setdefault((path.stem, pid), []).append((at_seconds, pages * 4096))

    def figures(self) -> dict[str, Mapping[str, Any]]:
        """By process: bytes at the start and end of the watched time, along the line it went; the verdict; the course."""
        found: dict[str, Mapping[str, Any]] = {}
        for name in sorted({name for name, _ in self._series}):
            series = max((series for (each, _), series in self._series.items() if each == name), key=len)
            judged = judge(series[int(len(series) * WARM_AFTER) :], is_judged=name not in SERVERS)
            found[name] = {**judged, "course_mib": [size >> 20 for _, size in series[:: max(1, len(series) // 20)]]}
        return found


def judge(series: list[tuple[float, int]], *, is_judged: bool = True) -> Mapping[str, Any]:
    """Growth of one process; flat where it is judged and grows by no more than what is allowed."""
    if len(series) < _SAMPLES_MIN:
        return {"samples": len(series), "is_flat": True}
    first, last = fitted(series)
    is_flat = last - first <= GROWTH_MAX * first + GROWTH_BYTES_MAX
    return {
        "samples": len(series),
        "first_bytes": round(first),
        "last_bytes": round(last),
        "is_flat": is_flat or not is_judged,
    }


def fitted(series: list[tuple[float, int]]) -> tuple[float, float]:
    """The ends of the line along which memory goes: from window to window by the median of all such steps.

    What a backlog took once, and the allocator keeps, is one step among them, and tells of no leak.
    """
    size = max(1, len(series) // _WINDOWS)
    levels = [median(value for _, value in series[at : at + size]) for at in range(0, len(series) - size + 1, size)]
    middle = median(levels)
    growth = median(later - former for former, later in pairwise(levels)) * (len(levels) - 1)
    return middle - growth / 2, middle + growth / 2
