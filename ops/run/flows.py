"""Flows as a process: feeds to derived feeds."""

from __future__ import annotations

from ops.flows import run_flows
from ops.run.parts import HopProgress, Parts
from schemas.feed import FLOW_INTAKE


def run_flow_parts(parts: Parts) -> None:
    """Fold until the process is to stop."""
    progress = HopProgress(parts.store(FLOW_INTAKE))
    run_flows(parts.settings, parts.stack, parts.stop, parts.name, progress, parts.incidents)
