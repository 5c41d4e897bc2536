"""Template variables: what a viewer chooses at the top of a dashboard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

DATA_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WHO = 'job=~"$job",instance=~"$instance"'
"""On every query: which meshes and which processes."""

QUERIES = {
    "job": ("Mesh 平台", "label_values(mesh_build_info, job)"),
    "instance": ("Process 进程", 'label_values(mesh_build_info{job=~"$job"}, instance)'),
    "agency": ("Agency 部门", f"label_values(mesh_contract_version{{{WHO}}}, agency)"),
    "source": ("Source 数据源", f"label_values(mesh_capture_connected{{{WHO}}}, source)"),
    "feed": ("Feed 数据", f"label_values(mesh_events_total{{{WHO}}}, feed)"),
    "flow": ("Flow 业务流", f"label_values(mesh_flow_lag_seconds{{{WHO}}}, flow)"),
    "subscriber": ("Subscriber 订阅方", f"label_values(mesh_delivered_total{{{WHO}}}, subscriber)"),
    "grant": ("Grant 授权", f'label_values(mesh_delivered_total{{{WHO},subscriber=~"$subscriber"}}, grant_id)'),
}
"""Label, and where Grafana finds the values; a query may use only what stands above it."""

CONSOLE = "http://127.0.0.1"
"""Until somebody says at the top of a dashboard where the console is: its port is in `endpoints.json`."""


def variables(names: Sequence[str]) -> list[dict[str, Any]]:
    """Data source, mesh and process, those that are named, and the console's address."""
    source = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    console = {"name": "console", "label": "Console 控制台", "type": "textbox", "query": CONSOLE}
    return [
        {**source, "current": {}, "refresh": 1},
        *(_chosen(name) for name in ("job", "instance", *names)),
        {**console, "current": {"selected": True, "text": CONSOLE, "value": CONSOLE}},
    ]


def _chosen(name: str) -> dict[str, Any]:
    label, query = QUERIES[name]
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATA_SOURCE,
        "query": {"query": query, "refId": f"variable-{name}"},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }
