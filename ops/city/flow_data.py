"""Flow data: what the city shares with the flows that read it: their tables, and how they name what they make of its rows.

Read as files and computed anew, so that the city stands without the flows' code; tests hold the two together.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import streams

_FLOWS = Path(streams.__file__).parent / "flows"


def table(flow: str, name: str) -> Sequence[Mapping[str, str]]:
    """The lines of a flow's CSV file, the newest of each kind last."""
    with (_FLOWS / flow / name).open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def record_id(feed: str, identity: str) -> str:
    """The public name of the credit record that a row became (信用记录)."""
    return hashlib.sha256(f"{feed}|{identity}".encode()).hexdigest()[:32]


def warning_id(rule: str, entity: str, event: str) -> str:
    """The number of the tax warning (税源预警) that a rule makes of a cause event."""
    return f"{rule}-{hashlib.sha256(chr(0).join((rule, entity, event)).encode()).hexdigest()[:24]}"
