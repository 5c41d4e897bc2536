"""Held up: a process whose records do not get through says so where incidents stand, not only in its log."""

from __future__ import annotations

from schemas.errors import Transient
from schemas.incident import Incidents


class HeldUpGroup:
    """`streams.worker.worker.HeldUp` of one process, as an incident of its records."""

    def __init__(self, incidents: Incidents, name: str) -> None:
        self._incidents = incidents
        self._name = f"{name} records"

    def __call__(self, error: Transient | None) -> None:
        """See HeldUp."""
        if error is None:
            self._incidents.end("process", self._name)
        else:
            reason = f"{error.problem}: tried again and again; nothing behind it goes on, and nothing is lost"
            self._incidents.begin("process", self._name, state="parked", reason=reason, fix=error.fix)
