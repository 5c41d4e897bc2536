"""Attempts: requests that a listening sink, or a server of the mesh, refused, in the audit (HANDBOOK A2), however many there are.

The first of a kind is a line at once. What comes after it is counted, and is one line at the end of a window: who tries a thousand
tokens a second fills no disk with it.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field

from ops.audit.audited_log import AuditedLog
from ops.trust.audit import audit
from schemas.errors import MeshError

WINDOW_SECONDS = 60.0
ADDRESSES_MAX = 10
KINDS_MAX = 1_000
WITHIN_SECONDS = 30.0
STOP_WITHIN_SECONDS = 5.0
WHAT = "live feed refused"

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Count:
    count: int = 0
    addresses: dict[str, None] = field(default_factory=dict[str, None])
    told_at: float | None = None
    """When a line was written last; None before the first."""

    def is_due(self, now: float) -> bool:
        return self.count > 0 and (self.told_at is None or now - self.told_at >= WINDOW_SECONDS)


class RefusedAttempts:
    """Calling it counts an attempt, from any thread, and never waits: see `sinks.sink.Refused`."""

    def __init__(self, log: AuditedLog, what: str = WHAT) -> None:
        self._log = log
        self._what = what
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, str], _Count] = {}
        self._news = threading.Event()
        self._is_over = False
        self._thread = threading.Thread(target=self._follow, name="refused attempts", daemon=True)
        self._thread.start()

    def __call__(self, sink: str, reason: str, address: str) -> None:
        """Somebody at this address was refused."""
        with self._lock:
            if len(self._counts) >= KINDS_MAX and (sink, reason) not in self._counts:
                return  # reasons are a handful, sinks are as many as listen here
            kind = self._counts.setdefault((sink, reason), _Count())
            kind.count += 1
            if len(kind.addresses) < ADDRESSES_MAX:
                kind.addresses[address] = None
            is_first = kind.told_at is None
        if is_first:
            self._news.set()

    def close(self) -> None:
        """Write what was counted, and count no more."""
        self._is_over = True
        self._news.set()
        self._thread.join(STOP_WITHIN_SECONDS)

    def _follow(self) -> None:
        while not self._is_over:
            self._news.wait(WINDOW_SECONDS / 10)
            self._news.clear()
            self._tell(everything=False)
        self._tell(everything=True)

    def _tell(self, *, everything: bool) -> None:
        now = time.monotonic()
        with self._lock:
            due = {kind: each for kind, each in self._counts.items() if each.is_due(now) or (everything and each.count)}
            told = {kind: (each.count, list(each.addresses)) for kind, each in due.items()}
            # One that was quiet for a window is forgotten: its next attempt is a line at once again.
            self._counts = {
                kind: _Count(told_at=now) if kind in due else each
                for kind, each in self._counts.items()
                if kind in due or each.count or now - (each.told_at or now) < WINDOW_SECONDS
            }
        for (sink, reason), (count, addresses) in told.items():
            audit(self._log.append, self._what, sink, reason=reason, count=count, addresses=addresses)
        try:
            self._log.flush(WITHIN_SECONDS)
        except MeshError as error:
            _logger.warning("refused attempts come into the audit later: %s", error.problem)
            with self._lock:
                for kind, (count, _) in told.items():
                    self._counts.setdefault(kind, _Count(told_at=now)).count += count
