"""Process states: which processes of a mesh there are, and whether each is up, from what its supervisor and its pages say."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from ops.metrics.scrape import Samples
from ops.prometheus.configuration import is_alive, targets
from ops.watch.status_report import ProcessStatus


def process_states(directory: Path, samples: Samples, answered: Iterable[str], now: float) -> Iterator[ProcessStatus]:
    """The processes of a mesh: those that its supervisor entered under `run/`, and those that serve metrics."""
    entries: dict[str, dict[str, Any]] = {}
    for target in targets(directory):
        entries[target.process] = {"pid": target.pid, "is_serving": True}
    for path in sorted((directory / "run").glob("*.json")):
        try:
            entry = json.loads(path.read_text())
        except (FileNotFoundError, ValueError):  # it ends, or is being written, at this moment
            continue
        if isinstance(entry, dict) and "pid" in entry:
            entries[path.stem] = {**entries.get(path.stem, {}), **entry}
    for name, entry in sorted(entries.items()):
        is_up = entry["pid"] is not None and is_alive(entry["pid"])
        is_silent = entry.get("is_serving") and name not in answered
        started = _seconds_of(entry.get("started_at")) or samples.latest("process_start_time_seconds", process=name)
        yield ProcessStatus(
            process=name,
            state="down" if not is_up else "silent" if is_silent else "up",
            pid=entry["pid"],
            restarts=int(entry.get("restarts", 0)),
            uptime_seconds=max(0.0, now - started) if is_up and started else None,
        )


def _seconds_of(started_at: str | None) -> float | None:
    return datetime.fromisoformat(started_at).timestamp() if started_at else None
