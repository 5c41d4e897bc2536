"""Pause (暂停): a person holds what is delivered to a subscriber's sink, or by one grant, until a person lets it go on.

What comes meanwhile waits on the grant's own topic, in order; nothing of it is in a process's memory. Ends of grants are carried out
all the same (invariant 11).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

PausedKind = Literal["grant", "sink"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Who paused it, since when (UTC), and why; the reason is a person's text and may be empty."""

    by: str
    since: datetime
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """The record on `mesh.pauses`."""
        return {**asdict(self), "since": self.since.isoformat()}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Pause:
        """Read a record of `mesh.pauses`."""
        since = datetime.fromisoformat(record["since"])
        return cls(by=str(record["by"]), since=since, reason=str(record.get("reason", "")))

    def told(self) -> str:
        """In words, without the time."""
        return f"paused by {self.by}" + (f": {self.reason}" if self.reason else "")


def pause_key(kind: PausedKind, name: str) -> str:
    """The key of the record of a paused grant, or of a sink `<subscriber>.<sink>`."""
    return f"{kind} {name}"
