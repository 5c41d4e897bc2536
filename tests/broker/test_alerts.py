"""Alerts fire by their causes in a running mesh, and resolve once those are gone.

By a real Prometheus, whose rules have shortened spans and their own thresholds. Those that are not caused here or in
tests/city/test_dashboards.py have promtool's cases alone (ops/prometheus/alerts_test.yml).
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from psycopg import sql

from tests.stage.prometheus import Prometheus, prometheus_over
from tests.stage.running_mesh import RunningMesh, contract, database, rows
from tests.stage.until import until, until_none

FASTER = 30
WITHIN_SECONDS = 150
FIELDS = {"id": "long", "kind": "string"}


@contextmanager
def closed(address: str) -> Iterator[None]:
    """A database that lets nobody in, and has thrown everybody out, while the block runs."""
    place = urlsplit(address)
    name = place.path.removeprefix("/")
    allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    with database(place._replace(path="/postgres").geturl()) as server:
        server.execute(allow.format(sql.Identifier(name), sql.SQL("false")))
        try:
            server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
            yield
        finally:
            server.execute(allow.format(sql.Identifier(name), sql.SQL("true")))


class Alerts:
    """What fires, of what a test is about."""

    def __init__(self, prometheus: Prometheus) -> None:
        self._prometheus = prometheus

    def firing(self, wanted: dict[str, tuple[str, str]]) -> set[str]:
        """Those of the wanted, by name and a label of theirs, that fire now."""
        present = self._prometheus.firing()
        return {name for name, label in wanted.items() if any(name == of and label in has for of, has in present)}

    def fire(self, wanted: dict[str, tuple[str, str]]) -> None:
        """Each fires at one time or another: some tell of what has just happened, others of what lasts."""
        left = set(wanted)

        def still() -> set[str]:
            left.difference_update(self.firing(wanted))
            return left

        until_none(still, WITHIN_SECONDS, "these alerts fire")

    def resolve(self, wanted: dict[str, tuple[str, str]]) -> None:
        until_none(lambda: self.firing(wanted), WITHIN_SECONDS, "these alerts are over")


@pytest.mark.timeout(900)
def test_alerts_fire_by_their_causes_and_resolve_without_them(mesh: RunningMesh, tmp_path: Path) -> None:
    agency, subscriber, process = f"{mesh.unique}a", f"{mesh.unique}t", f"console-{mesh.unique}"
    feed, grant, table = f"{agency}.t", f"{subscriber}.{agency}.t", f"{agency}_t"
    source, target = mesh.database(agency), mesh.database(subscriber)
    rules = [{"name": "known", "expr": "kind != 'unknown'", "onFailure": "DLQ"}]
    agreed = contract(["id"], FIELDS, rules=rules, freshnessSloSeconds=1)
    ends = datetime.now(UTC) + timedelta(days=3)
    with database(source) as town:
        town.execute("CREATE TABLE t (id bigint PRIMARY KEY, kind text)")
        town.execute("ALTER TABLE t REPLICA IDENTITY FULL")
        town.execute("INSERT INTO t VALUES (0, 'well')")
        mesh.agency(agency, {"t": agreed})
        mesh.subscriber(subscriber, {"feed": feed, "columns": ["kind"], "valid_to": ends.isoformat()})
        ran = mesh.run("onboard", mesh.folder, "--json")
        assert ran.status == 0, f"{ran.out}\n{ran.err}"
        until(lambda: rows(target, table), WITHIN_SECONDS, "the first row is delivered")
    folder = tmp_path / "prometheus"
    folder.mkdir()
    of_grant, of_target = ("grant_id", grant), ("subscriber", subscriber)
    with prometheus_over(mesh.directory, folder, faster=FASTER) as prometheus:
        alerts = Alerts(prometheus)
        ending = {"MeshGrantEnding": of_grant}
        gone = {
            "MeshSubscriberParked": of_target,
            "MeshSubscriberUnreachable": of_target,
            "MeshDeliveryStuck": of_grant,
            "MeshFreshnessMissed": of_grant,
        }
        letters = {"MeshDeadLettersGrowing": ("feed", feed)}
        down = {"MeshProcessDown": ("instance", process)}
        burning = {"MeshLatencyBudgetBurnsFast": of_target, "MeshFreshnessBudgetBurnsFast": of_target}
        refused = {"MeshDeliveryDeadLettersGrowing": of_grant}
        cut_off = {"MeshCaptureDisconnected": ("source", f"{agency}.main")}
        with mesh.started("run", "console", "--name", process):
            up = f'up{{instance="{process}"}} == 1'
            until(lambda: prometheus.query(up), WITHIN_SECONDS, "the process is watched")
        with closed(target), database(source) as town:  # and the process was killed
            town.execute("INSERT INTO t SELECT n, 'well' FROM generate_series(1, 200) n")
            town.execute("INSERT INTO t VALUES (1000, 'unknown')")
            alerts.fire({**ending, **gone, **letters, **down})
        with database(target) as at_subscriber, database(source) as town:
            alerts.fire(burning)
            refusing = sql.SQL("ALTER TABLE {} ADD CHECK (kind <> 'refused')").format(sql.Identifier(table))
            at_subscriber.execute(refusing)
            town.execute("INSERT INTO t VALUES (1001, 'refused')")
            alerts.fire(refused)
        with closed(source):
            alerts.fire(cut_off)
        assert mesh.run("grant", grant, "REVOKED").status == 0
        with mesh.started("run", "console", "--name", process) as again:
            until(lambda: prometheus.query(up), WITHIN_SECONDS, "its successor is watched")
            again.send_signal(signal.SIGTERM)
            again.wait(60)
        alerts.resolve({**ending, **gone, **letters, **down, **burning, **refused, **cut_off})
