"""Deafness: a process that cannot read the newest grants says so, on its page and where incidents stand (invariant 6)."""

from __future__ import annotations

from schemas.feed import GRANTS
from schemas.incident import Incidents


class Deafness:
    """`schemas.log.control.follower.Deaf` of one process, as an incident of its name."""

    def __init__(self, incidents: Incidents, name: str) -> None:
        self._incidents = incidents
        self._name = name
        incidents.end("process", name)  # that of an earlier process: this one has read them all

    def __call__(self, reason: str) -> None:
        """See Deaf."""
        if reason:
            fix = f"see that Kafka answers and that {GRANTS} has a leader; the process goes on by itself"
            told = f"{reason}: what was agreed last stays in force, and a revocation is not seen"
            self._incidents.begin("process", self._name, state="parked", reason=told, fix=fix)
        else:
            self._incidents.end("process", self._name)
