"""Dashboards as data: a panel is a few words and its queries; the rest of Grafana's JSON model is the same for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ops.dashboards.variable import DATA_SOURCE, variables

Rows = Mapping[str, Sequence["Panel"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel. `queries` maps legend to PromQL; `kind` is a Grafana panel type; `width` is of 24 columns.

    `maximum`: where the scale of a gauge ends, for shares; None lets the values say. `links` maps what a click leads to, in words, to
    addresses (ops/dashboards/link.py). `matrix`: for a table, the labels of its rows and of its columns.
    """

    title: str
    description: str
    unit: str
    queries: Mapping[str, str]
    kind: str = "timeseries"
    width: int = 8
    height: int = 8
    thresholds: Sequence[tuple[float | None, str]] = ((None, "green"),)
    mappings: Mapping[str, tuple[str, str]] | None = None
    maximum: float | None = None
    links: Mapping[str, str] | None = None
    matrix: tuple[str, str] | None = None
    is_stacked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """One dashboard: titled rows of panels. Its file, and its address in Grafana (`pearlmesh-<name>`), are called by `name`."""

    name: str
    title: str
    description: str
    rows: Rows
    variables: Sequence[str] = ("feed", "subscriber")

    @property
    def uid(self) -> str:
        """Its identity in Grafana."""
        return f"pearlmesh-{self.name}"

    def model(self) -> dict[str, Any]:
        """It in Grafana's JSON model."""
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["pearlmesh"],
            "schemaVersion": 39,
            "version": 1,
            "editable": False,
            "graphTooltip": 1,
            "refresh": "5s",
            "time": {"from": "now-15m", "to": "now"},
            "timezone": "Asia/Shanghai",
            "templating": {"list": variables(self.variables)},
            "annotations": {"list": []},
            "links": _LINKS,
            "panels": _panels(self.rows),
        }


_LINKS = [
    {
        "title": "pearlmesh",
        "type": "dashboards",
        "tags": ["pearlmesh"],
        "asDropdown": True,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
        "icon": "external link",
        "tooltip": "The other dashboards of the mesh",
        "url": "",
    },
    {
        "title": "Console 控制台",
        "type": "link",
        "tags": [],
        "asDropdown": False,
        "includeVars": False,
        "keepTime": False,
        "targetBlank": True,
        "icon": "external link",
        "tooltip": "The mesh's own page: why something is unwell, and what to do",
        "url": "${console}",
    },
]


def _panels(rows: Rows) -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = []
    y = 0
    for row_title, row in rows.items():
        panels.append(_row(row_title, len(panels) + 1, y))
        x, y, height = 0, y + 1, 0
        for panel in row:
            if x + panel.width > 24:
                x, y, height = 0, y + height, 0
            panels.append(_panel(panel, len(panels) + 1, x, y))
            x, height = x + panel.width, max(height, panel.height)
        y += height
    return panels


def _row(title: str, number: int, y: int) -> dict[str, Any]:
    place = {"h": 1, "w": 24, "x": 0, "y": y}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}


def _panel(panel: Panel, number: int, x: int, y: int) -> dict[str, Any]:
    model = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATA_SOURCE,
        "gridPos": {"h": panel.height, "w": panel.width, "x": x, "y": y},
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _options(panel),
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": DATA_SOURCE,
                "expr": expr,
                "legendFormat": legend,
                **({"format": "table", "instant": True} if panel.kind == "table" else {}),
            }
            for index, (legend, expr) in enumerate(panel.queries.items())
        ],
    }
    if panel.matrix:
        row, column = panel.matrix
        told = {"rowField": row, "columnField": column, "valueField": "Value", "emptyValue": "null"}
        model["transformations"] = [{"id": "groupingToMatrix", "options": told}]
    return model


def _defaults(panel: Panel) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "min": 0,
        "thresholds": {
            "mode": "absolute",
            "steps": [{"value": value, "color": color} for value, color in panel.thresholds],
        },
    }
    if panel.maximum is not None:
        defaults["max"] = panel.maximum
    if panel.kind == "timeseries":
        defaults["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 20 if panel.is_stacked else 5,
            "showPoints": "never",
            "stacking": {"mode": "normal" if panel.is_stacked else "none", "group": "A"},
        }
    if panel.mappings:
        texts = {value: {"text": text, "color": color} for value, (text, color) in panel.mappings.items()}
        defaults["mappings"] = [{"type": "value", "options": texts}]
    if panel.links:
        defaults["links"] = [{"title": title, "url": url} for title, url in panel.links.items()]
    return defaults


def _options(panel: Panel) -> dict[str, Any]:
    if panel.kind == "timeseries":
        return {
            "legend": {
                "displayMode": "table",
                "placement": "bottom",
                "showLegend": True,
                "calcs": ["lastNotNull", "max"],
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    if panel.kind == "table":
        return {"showHeader": True, "cellHeight": "sm"}
    options: dict[str, Any] = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
    if panel.kind == "bargauge":
        options["orientation"] = "horizontal"
    return options
