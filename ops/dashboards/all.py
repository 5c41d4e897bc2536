"""All dashboards, and their files: what Grafana is given by its provisioning (OP-05)."""

from __future__ import annotations

import json
from pathlib import Path

from ops.dashboards import contracts, flow, ledger, letters, overview, platform, source, subscriber
from ops.dashboards.panel import Dashboard

HOME = Path(__file__).parent / "json"
DASHBOARDS = tuple(
    room.DASHBOARD for room in (overview, source, subscriber, flow, letters, contracts, ledger, platform)
)


def render(dashboard: Dashboard) -> str:
    """The text of its file."""
    return json.dumps(dashboard.model(), ensure_ascii=False, indent=2) + "\n"


def file_of(dashboard: Dashboard) -> Path:
    """Where it stands."""
    return HOME / f"{dashboard.name}.json"


def write() -> None:
    """Write the files of all."""
    for dashboard in DASHBOARDS:
        file_of(dashboard).write_text(render(dashboard))
