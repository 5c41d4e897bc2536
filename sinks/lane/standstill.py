"""Standstill: a lane whose receiver asked never to be called again stands until a person resumes it, restarts or not.

It is kept under the lane's name with a mark of what the receiver was called by. A person resumes it by another address, key or
option of the sink, which gives another mark, or by a word that takes the record away (`mesh subscription resume`, or giving one of
its grants again).
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from schemas.agreement.subscriber import SinkConfig
from sinks.lane.report import LaneReport

LOOK_SECONDS = 1.0


def name_of(subscriber: str, sink: str) -> str:
    """What a lane's standstill is kept under."""
    return f"{subscriber}.{sink}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingStill:
    """That a lane stands still, and why. `called_by` is a mark of the sink's options, address and keys."""

    called_by: str
    reason: str

    def to_json(self) -> dict[str, Any]:
        """The record on `mesh.standstills`."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> StandingStill:
        """Read a record of `mesh.standstills`."""
        return cls(called_by=str(record["called_by"]), reason=str(record["reason"]))


class Standstills(Protocol):
    """Which lanes stand still, by name, kept where another process finds it. No call blocks or raises."""

    def of(self, name: str) -> StandingStill | None:
        """Whether this one does."""
        ...

    def keep(self, name: str, standing: StandingStill) -> None:
        """This one does from now on."""
        ...

    def forget(self, name: str) -> None:
        """This one does no more."""
        ...


class MemoryStandstills:
    """Standstills within this process alone: for a delivery that runs by itself, and for tests."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._standing: dict[str, StandingStill] = {}

    def of(self, name: str) -> StandingStill | None:
        """See Standstills."""
        with self._lock:
            return self._standing.get(name)

    def keep(self, name: str, standing: StandingStill) -> None:
        """See Standstills."""
        with self._lock:
            self._standing[name] = standing

    def forget(self, name: str) -> None:
        """See Standstills."""
        with self._lock:
            self._standing.pop(name, None)


class Standstill:
    """Whether one lane stands still. `given` are the secrets that it was built with."""

    def __init__(
        self, standstills: Standstills, subscriber: str, sink: SinkConfig, given: Callable[[], Mapping[str, str | None]]
    ) -> None:
        self._standstills = standstills
        self._name = name_of(subscriber, sink.name)
        self._sink = sink
        self._given = given

    @property
    def is_kept(self) -> bool:
        """Whether it stood still when it was last heard of, whatever it is called by now."""
        return self._standstills.of(self._name) is not None

    def reason(self) -> str:
        """Why it still stands; empty when it does not. The receiver as it is called now must be the one that asked for it."""
        standing = self._standstills.of(self._name)
        if standing is not None and standing.called_by != self._mark():
            self._standstills.forget(self._name)
            standing = None
        return standing.reason if standing else ""

    def begin(self, reason: str) -> None:
        """The receiver, as it is called now, asked never to be called again."""
        self._standstills.keep(self._name, StandingStill(called_by=self._mark(), reason=reason))

    def until_resumed(self, report: LaneReport, stop: threading.Event) -> None:
        """Return once a person resumed it, or when the lane is told to stop; at once when it does not stand still."""
        if not self.is_kept:
            return
        while reason := self.reason():
            report.stop(reason)
            if stop.wait(LOOK_SECONDS):
                return
        report.begun()

    def _mark(self) -> str:
        """Says nothing of an address to whoever reads it: a key of 24 random bytes at least is among what it is made of."""
        called_by = [self._sink.kind, dict(self._sink.options), dict(self._given())]
        return hashlib.sha256(json.dumps(called_by, sort_keys=True, default=str).encode()).hexdigest()
