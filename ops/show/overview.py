"""Overview (运行总览): what of the status a person looks at first; the same for the console's first page and for `mesh top`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from ops.metrics.metric import CAPTURED
from ops.watch.entity_health import EntityHealth, entities
from ops.watch.status_report import AS_IT_SHOULD, FeedStatus, Status, SubscriptionStatus
from schemas.incident import Incident

SHOWN_FEW = 10

Entry = TypeVar("Entry", FeedStatus, SubscriptionStatus)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """Something for a person: what, since when, why, and what to do."""

    kind: str
    name: str
    state: str
    is_grave: bool
    reason: str
    fix: str
    since: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Sums over everything, what needs a person, and of feeds and subscriptions those that need a look first.

    `volume` and `delivered` are changes a second; `moving`, `caught_up` and `up` count feeds, subscriptions and processes.
    """

    status: Status
    attention: Sequence[Attention]
    feeds: Sequence[FeedStatus]
    subscriptions: Sequence[SubscriptionStatus]
    volume: float
    delivered: float
    moving: int
    caught_up: int
    up: int

    @property
    def grave(self) -> Sequence[Attention]:
        """What stands still."""
        return [each for each in self.attention if each.is_grave]

    def to_json(self) -> dict[str, Any]:
        """For scripts; the fields' names are stable."""
        status = self.status
        return {
            "at": status.at.isoformat(),
            "well": status.is_well,
            "captured_per_second": self.volume,
            "delivered_per_second": self.delivered,
            "p50_seconds": status.p50_seconds,
            "p99_seconds": status.p99_seconds,
            "feeds": {"all": len(status.feeds), "moving": self.moving, "first": [asdict(each) for each in self.feeds]},
            "subscriptions": {
                "all": len(status.subscriptions),
                "caught_up": self.caught_up,
                "first": [asdict(each) for each in self.subscriptions],
            },
            "processes": {"all": len(status.processes), "up": self.up},
            "attention": [asdict(each) for each in self.attention],
            "notices": list(status.notices),
        }


def overview(status: Status, *, is_all: bool = False) -> Overview:
    """The overview of a status; `is_all`: with every feed and subscription."""
    return Overview(
        status=status,
        attention=attention(status),
        feeds=_first(status.feeds, is_all),
        subscriptions=_first(status.subscriptions, is_all),
        volume=sum(feed.per_second for feed in status.feeds if feed.origin == CAPTURED),
        delivered=sum(each.per_second for each in status.subscriptions),
        moving=sum(1 for feed in status.feeds if feed.per_second > 0),
        caught_up=sum(1 for each in status.subscriptions if each.health in AS_IT_SHOULD and not each.lag_records),
        up=sum(1 for process in status.processes if process.state == "up"),
    )


def _first(entries: Sequence[Entry], is_all: bool) -> Sequence[Entry]:
    """What needs a look first: what is unwell, then what is furthest behind, then what has moved most."""

    def urgency(entry: FeedStatus | SubscriptionStatus) -> tuple[bool, float, int]:
        moved = entry.captured if isinstance(entry, FeedStatus) else entry.delivered
        return entry.health in AS_IT_SHOULD, -_felt(entry.lag_seconds), -moved

    ordered = sorted(entries, key=urgency)
    return ordered if is_all else ordered[:SHOWN_FEW]


def _felt(seconds: float | None) -> float:
    """A lag of a second or two is nobody's: lines would change places with every look."""
    return seconds if seconds is not None and seconds > 5 else 0.0


def attention(status: Status) -> list[Attention]:
    """What is unwell, and what is worth knowing, the gravest first; one line for each thing."""
    incidents = {(incident.kind, incident.name): incident for incident in status.incidents}
    unwell = [entity for entity in entities(status) if not entity.is_well]
    found = [_unwell(entity, incidents.pop((entity.kind, entity.name), None)) for entity in unwell]
    found += [
        Attention(
            kind=incident.kind,
            name=incident.name,
            state=incident.state,
            is_grave=incident.is_standstill,
            reason=incident.reason,
            fix=incident.fix,
            since=incident.since.isoformat(),
        )
        for incident in incidents.values()
    ]
    return sorted(found, key=lambda each: (not each.is_grave, each.kind, each.name))


def _unwell(entity: EntityHealth, incident: Incident | None) -> Attention:
    return Attention(
        kind=entity.kind,
        name=entity.name,
        state=incident.state if incident else entity.state,
        is_grave=True,
        reason=entity.reason or (incident.reason if incident else ""),
        fix=entity.fix or (incident.fix if incident else ""),
        since=incident.since.isoformat() if incident else None,
    )
