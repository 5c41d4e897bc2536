"""Every query of every panel, asked of a real Prometheus over a whole city under load and faults."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.dashboards.all import DASHBOARDS
from ops.dashboards.variable import QUERIES
from tests.stage.prometheus import Prometheus, prometheus_over
from tests.stage.until import until, until_none
from tests.stage.watched_city import WatchedCity, watched_city

WITHIN_SECONDS = 300
SHOWN = {"__rate_interval": "15s", "__range": "15m"}
"""What Grafana fills in by itself: four looks, and the time shown."""
ALL = dict.fromkeys(QUERIES, ".*")
WITHOUT = {
    "Days left of certificates 证书剩余天数": "a mesh on one machine has none; tests/unit/ops/test_watched.py",
}


def filled(expr: str) -> str:
    for name, value in {**SHOWN, **ALL}.items():
        expr = expr.replace(f"${name}", value)
    return expr


def queries() -> Iterator[tuple[str, str]]:
    """Where, and what is asked."""
    for dashboard in DASHBOARDS:
        for panel in dashboard.model()["panels"]:
            for target in panel.get("targets", ()):
                if panel["title"] not in WITHOUT:
                    yield f"{dashboard.name}: {panel['title']} {target['refId']}", filled(target["expr"])


class Answered:
    """Which queries had data at one time or another."""

    def __init__(self, prometheus: Prometheus, city: WatchedCity) -> None:
        self._prometheus = prometheus
        self._city = city
        self._left = dict(queries())

    def left(self, about: str = "") -> list[str]:
        """Those about something that had none yet, asked once more."""
        self._city.check()
        for where, expr in list(self._left.items()):
            if self._prometheus.query(expr):
                del self._left[where]
        return [f"{where}: {expr}" for where, expr in self._left.items() if about in expr]


@pytest.mark.timeout(1200)
def test_every_query_has_data_over_a_city_with_load_and_faults(tmp_path: Path) -> None:
    folder = tmp_path / "prometheus"
    folder.mkdir()
    with watched_city(tmp_path / "city") as city, prometheus_over(city.directory, folder, faster=30) as prometheus:
        answered = Answered(prometheus, city)
        for name, (_, query) in QUERIES.items():
            asked = filled(query)
            until(lambda asked=asked: prometheus.values(asked), WITHIN_SECONDS, f"there is a {name} to choose")
        until(lambda: prometheus.query("sum(mesh_flow_changes_total) > 0"), WITHIN_SECONDS, "flows derive")
        city.subscribers.stop()
        until_none(lambda: answered.left("mesh_incidents"), WITHIN_SECONDS, "what is wrong is shown")
        city.subscribers.start()
        until_none(answered.left, WITHIN_SECONDS, "every query has had data")
        with city.standing_still("kafka", "console"):
            for alert in ("MeshKafkaUnreachable", "MeshProcessDown"):
                until(lambda name=alert: fires(prometheus, name), WITHIN_SECONDS, f"{alert} fires")
        for alert in ("MeshKafkaUnreachable", "MeshProcessDown"):
            until_none(lambda name=alert: fires(prometheus, name), WITHIN_SECONDS, f"{alert} is over")


def fires(prometheus: Prometheus, alert: str) -> bool:
    return any(name == alert for name, _ in prometheus.firing())
