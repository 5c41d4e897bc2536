"""What the parts of a capture process have in common, and whom they report to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from producers.kind import SourceKind
from producers.source import CaptureLedger, SourceObserver, SourceProgress
from schemas.agreement.directory import Directory
from schemas.guard.entrance import LOOPBACK_ALONE, Entrance
from schemas.incident import Incidents
from schemas.log.writer import Log


class CaptureObserver(SourceObserver, Protocol):
    """What capture reports of its work."""

    def captured(self, *, feed: str, op: str, count: int, size_bytes: int) -> None:
        """Changes appended to a feed."""
        ...

    def rejected(self, *, feed: str, reason: str, count: int) -> None:
        """Rows that went to the feed's dead letters."""
        ...

    def lag(self, *, source: str, seconds: float) -> None:
        """From the commit of the newest change to its appending."""
        ...

    def connected(self, *, source: str, is_connected: bool) -> None:
        """Whether the source is being read."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureSetting:
    """Shared by the threads of one capture process. `kinds` maps the name of a source's kind to it.

    `directory` returns the present Directory, the same object while nothing has changed; `address_of(agency, source)` the
    secret address, raising Misconfigured where there is none. `pause_seconds` is how long a source lets changes gather;
    `state` where sources may keep rows on disk; `entrance` how others enter servers that sources open, raising Misconfigured.
    """

    directory: Callable[[], Directory]
    address_of: Callable[[str, str], str]
    log: Log
    progress: SourceProgress
    observer: CaptureObserver
    kinds: Mapping[str, SourceKind]
    incidents: Incidents
    pause_seconds: Callable[[], float]
    ledger: CaptureLedger
    state: Path | None = None
    entrance: Callable[[], Entrance] = lambda: LOOPBACK_ALONE
