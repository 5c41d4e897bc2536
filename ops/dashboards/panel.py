"""Dashboards as data: a panel is a few words and its queries; the rest of Grafana's JSON model is the same for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DATA_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WHO = 'job=~"$job",instance=~"$instance"'
"""On every query: which meshes and which processes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel. `queries` maps legend to PromQL; `kind` is a Grafana panel type; `width` is of 24 columns."""

    title: str
    description: str
    unit: str
    queries: Mapping[str, str]
    kind: str = "timeseries"
    width: int = 8
    height: int = 8
    thresholds: Sequence[tuple[float | None, str]] = ((None, "green"),)
    mappings: Mapping[str, tuple[str, str]] | None = None
    is_stacked: bool = False


def dashboard(uid: str, title: str, description: str, rows: Mapping[str, Sequence[Panel]]) -> dict[str, Any]:
    """A dashboard of titled rows of panels, in Grafana's JSON model."""
    panels: list[dict[str, Any]] = []
    y = 0
    for row_title, row in rows.items():
        panels.append(_row(row_title, len(panels) + 1, y))
        x, y = 0, y + 1
        for panel in row:
            if x + panel.width > 24:
                x, y = 0, y + panel.height
            panels.append(_panel(panel, len(panels) + 1, x, y))
            x += panel.width
        y += row[-1].height
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["pearlmesh"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "5s",
        "time": {"from": "now-15m", "to": "now"},
        "timezone": "Asia/Shanghai",
        "templating": {"list": _variables()},
        "annotations": {"list": []},
        "links": [],
        "panels": panels,
    }


def _variables() -> list[dict[str, Any]]:
    queries = {
        "job": ("Mesh 平台", "label_values(mesh_build_info, job)"),
        "instance": ("Process 进程", 'label_values(mesh_build_info{job=~"$job"}, instance)'),
        "feed": ("Feed 数据", f"label_values(mesh_events_total{{{WHO}}}, feed)"),
        "subscriber": ("Subscriber 订阅方", f"label_values(mesh_delivered_total{{{WHO}}}, subscriber)"),
    }
    source = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    return [
        {**source, "current": {}, "refresh": 1},
        *(
            {
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
            for name, (label, query) in queries.items()
        ),
    ]


def _row(title: str, number: int, y: int) -> dict[str, Any]:
    place = {"h": 1, "w": 24, "x": 0, "y": y}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}


def _panel(panel: Panel, number: int, x: int, y: int) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "min": 0,
        "thresholds": {
            "mode": "absolute",
            "steps": [{"value": value, "color": color} for value, color in panel.thresholds],
        },
    }
    if panel.kind == "timeseries":
        defaults["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 20 if panel.is_stacked else 5,
            "showPoints": "never",
            "stacking": {"mode": "normal" if panel.is_stacked else "none", "group": "A"},
        }
        options: dict[str, Any] = {
            "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    else:
        options = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
    if panel.kind == "bargauge":
        defaults["max"] = 1
        options["orientation"] = "horizontal"
    if panel.mappings:
        texts = {value: {"text": text, "color": color} for value, (text, color) in panel.mappings.items()}
        defaults["mappings"] = [{"type": "value", "options": texts}]
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATA_SOURCE,
        "gridPos": {"h": panel.height, "w": panel.width, "x": x, "y": y},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {"refId": chr(ord("A") + index), "datasource": DATA_SOURCE, "expr": expr, "legendFormat": legend}
            for index, (legend, expr) in enumerate(panel.queries.items())
        ],
    }
