"""What `mesh status` reports: values, as tables and console show them and as `--json` writes them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from ops.watch.health import OK
from schemas.incident import Incident

OFF = "off"
"""The health of a subscription whose grant lets nothing flow."""
PAUSED = "paused"
"""The health of a subscription that a person, or quiet hours, hold: it is as it should be."""
AS_IT_SHOULD = frozenset({OK, OFF, PAUSED})


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedStatus:
    """One feed. Counts are since its processes started; lag is that of streams on the feed, None when unknown.

    `origin`: a department's database, or a flow; `captured` counts what reached the feed from either. `state` and `fix` are those
    of an incident of the feed or of its source (schemas/incident.py), empty when there is none. `last` is the last file or poll.
    """

    feed: str
    origin: str
    captured: int
    per_second: float
    rejected: int
    lag_records: int | None
    lag_seconds: float | None
    capture_lag_seconds: float | None
    snapshot: float | None
    health: str
    reason: str
    state: str = ""
    fix: str = ""
    last: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionStatus:
    """One grant's delivery. Latencies are those of its subscriber, from commit to acknowledgement; `state` and `fix` as in a feed."""

    grant_id: str
    subscriber: str
    feed: str
    sink: str
    delivered: int
    per_second: float
    suppressed: int
    dead: int
    lag_records: int | None
    lag_seconds: float | None
    p50_seconds: float | None
    p99_seconds: float | None
    health: str
    reason: str
    state: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowStatus:
    """One flow: messages that its subjects took, and how far it is behind. The inbox that all flows share counts for each.

    `clock` is the time by which it judges (MESH_FLOW_CLOCK), UTC; None before its first tick.
    """

    flow: str
    clock: str | None
    messages: int
    per_second: float
    lag_records: int
    lag_seconds: float
    health: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStatus:
    """One task of the flows, a partition of their inbox: what waits there, and how much of its state is read back."""

    task: str
    lag_records: int
    lag_seconds: float
    restored: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStatus:
    """One process: `up`, `down` (no such process), or `silent` (it lives, and its metrics page does not answer)."""

    process: str
    state: str
    pid: int | None
    restarts: int
    uptime_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Everything at one moment (`at`, UTC). `notices` say what could not be asked."""

    at: datetime
    feeds: tuple[FeedStatus, ...]
    subscriptions: tuple[SubscriptionStatus, ...]
    processes: tuple[ProcessStatus, ...]
    p50_seconds: float | None
    p99_seconds: float | None
    flows: tuple[FlowStatus, ...] = ()
    tasks: tuple[TaskStatus, ...] = ()
    sources: tuple[str, ...] = ()
    sinks: tuple[str, ...] = ()
    incidents: tuple[Incident, ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def is_well(self) -> bool:
        """Whether everything is up, and moves or has nothing to do."""
        entities = (*self.feeds, *self.subscriptions, *self.flows)
        return (
            all(entity.health in AS_IT_SHOULD for entity in entities)
            and all(process.state == "up" for process in self.processes)
            and not any(incident.is_standstill for incident in self.incidents)
        )

    def to_json(self) -> dict[str, Any]:
        """The report of `mesh status --json`; the fields' names are stable."""
        incidents = [incident.to_json() for incident in self.incidents]
        return {**asdict(self), "at": self.at.isoformat(), "is_well": self.is_well, "incidents": incidents}
