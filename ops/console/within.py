"""Within: the part of the status that is of some agencies: their feeds, their sources and sinks, grants on either side.

Flows, tasks and processes are the city's, and so are the latencies of all deliveries together.
"""

from __future__ import annotations

from dataclasses import replace

from ops.watch.status_report import Status
from schemas.guard.caller import Remit, agency_of
from schemas.incident import Incident


def within(status: Status, remit: Remit) -> Status:
    """What may be seen of it."""
    if remit.is_all:
        return status
    return replace(
        status,
        feeds=tuple(feed for feed in status.feeds if remit.holds(agency_of(feed.feed))),
        subscriptions=tuple(
            entry
            for entry in status.subscriptions
            if remit.holds(entry.subscriber) or remit.holds(agency_of(entry.feed))
        ),
        sources=tuple(name for name in status.sources if remit.holds(agency_of(name))),
        sinks=tuple(name for name in status.sinks if remit.holds(agency_of(name))),
        incidents=tuple(incident for incident in status.incidents if _is_within(incident, remit)),
        processes=(),
        flows=(),
        tasks=(),
        p50_seconds=None,
        p99_seconds=None,
        notices=(),
    )


def _is_within(incident: Incident, remit: Remit) -> bool:
    if incident.kind == "process":
        return False
    owner, _, rest = incident.name.partition(".")
    return remit.holds(owner) or (incident.kind in {"grant", "request", "ledger"} and remit.holds(agency_of(rest)))
