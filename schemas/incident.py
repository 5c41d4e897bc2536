"""Incident: what stands still or is not as it should be, since when, why, and what a person can do about it.

Incidents stand on `mesh.incidents`, compacted, one record for each thing that has one; whoever began one ends it. Their texts are
those of errors: they name subjects, topics, columns and positions, never a value of a row.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Protocol, get_args

from schemas.errors import MeshError

Kind = Literal["source", "feed", "sink", "grant", "request", "process", "ledger"]
"""What it is about. Names: `<agency>.<source>`, `<feed>`, `<subscriber>.<sink>`, the grant's id (of a request, too), the process's
name; of a line of the ledger the feed or the grant's id."""

State = Literal["stopped", "parked", "waiting", "notice"]
"""`stopped` until a person decides; `parked`: tried again now and then; `waiting` heals by itself; `notice`: worth knowing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One incident. `since` is when it began, in UTC; `fix` may be empty where nobody has to do anything."""

    kind: Kind
    name: str
    state: State
    reason: str
    fix: str
    since: datetime

    @property
    def key(self) -> str:
        """The key of its record."""
        return key_of(self.kind, self.name)

    @property
    def is_standstill(self) -> bool:
        """Whether something does not move because of it."""
        return self.state in {"stopped", "parked"}

    def to_json(self) -> dict[str, Any]:
        """The record on `mesh.incidents`."""
        return {**asdict(self), "since": self.since.isoformat()}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Incident:
        """Read a record of `mesh.incidents`. Raises ValueError for one of an unknown kind or state."""
        if record["kind"] not in get_args(Kind) or record["state"] not in get_args(State):
            raise ValueError("an incident of an unknown kind or state")
        return cls(**{**record, "since": datetime.fromisoformat(record["since"])})


class Incidents(Protocol):
    """Where a hop says what stands still. Any thread may call; a call never blocks and never raises."""

    def begin(self, kind: Kind, name: str, *, state: State, reason: str, fix: str = "") -> None:
        """There is an incident. Said again with the same words it stays as it is; with others, it keeps its beginning."""
        ...

    def end(self, kind: Kind, name: str) -> None:
        """There is none, or none any more."""
        ...


class MemoryIncidents:
    """Incidents within this process alone: for a hop that runs by itself, and for tests."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._present: dict[str, Incident] = {}

    def present(self) -> Mapping[str, Incident]:
        """What there is, by key."""
        with self._lock:
            return dict(self._present)

    def begin(self, kind: Kind, name: str, *, state: State, reason: str, fix: str = "") -> None:
        """See Incidents."""
        key = key_of(kind, name)
        with self._lock:
            former = self._present.get(key)
            since = former.since if former else datetime.now(UTC)
            self._present[key] = Incident(kind=kind, name=name, state=state, reason=reason, fix=fix, since=since)

    def end(self, kind: Kind, name: str) -> None:
        """See Incidents."""
        with self._lock:
            self._present.pop(key_of(kind, name), None)


def key_of(kind: Kind, name: str) -> str:
    """The key of the record of whatever has this kind and name."""
    return f"{kind} {name}"


def begin_for(incidents: Incidents, kind: Kind, name: str, state: State, error: MeshError) -> None:
    """Begin an incident with an error's own words."""
    incidents.begin(kind, name, state=state, reason=error.problem, fix=error.fix)
