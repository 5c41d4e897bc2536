"""Incidents as a metric: a port around the one that writes them, so that alerts fire without a look at the control topic."""

from __future__ import annotations

from ops.metrics.exporter import EXPORTER, Exporter
from schemas.incident import Incidents, Kind, State


class CountedIncidents:
    """`schemas.incident.Incidents` that are also on this process's page, by kind, name and state; never with their words."""

    def __init__(self, incidents: Incidents, exporter: Exporter = EXPORTER) -> None:
        self._incidents = incidents
        self._gauge = exporter.gauge("mesh_incidents")

    def begin(self, kind: Kind, name: str, *, state: State, reason: str, fix: str = "") -> None:
        """See Incidents."""
        self._drop(kind, name, state)
        self._gauge[kind, name, state].set(1)
        self._incidents.begin(kind, name, state=state, reason=reason, fix=fix)

    def end(self, kind: Kind, name: str) -> None:
        """See Incidents."""
        self._drop(kind, name, "")
        self._incidents.end(kind, name)

    def _drop(self, kind: Kind, name: str, but_for: str) -> None:
        for labels in list(self._gauge):
            if labels[:2] == (kind, name) and labels[2] != but_for:
                self._gauge.drop(labels)
