from __future__ import annotations

from datetime import UTC, datetime

from ops.metrics.exporter import Exporter
from ops.metrics.hop_metrics import CaptureMetrics, DeliveryMetrics
from ops.metrics.incident_metrics import CountedIncidents
from ops.metrics.scrape import Samples
from ops.onboarding.present import Tidy
from schemas.agreement.directory import Directory
from schemas.agreement.grant import Status
from schemas.incident import MemoryIncidents
from tests.unit.ops.test_status import FEED, GRANT, directory

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def exported(exporter: Exporter) -> Samples:
    families = exporter.registry.collect()
    return Samples((sample.name, sample.labels, sample.value) for family in families for sample in family.samples)


def test_gauges_and_incidents_end_with_what_they_tell_of_and_counters_stay() -> None:
    exporter, written = Exporter(lambda: 0.0), MemoryIncidents()
    incidents = CountedIncidents(written, exporter)
    present = [directory()]
    tidy = Tidy(lambda: present[0], incidents, exporter, lambda: NOW)
    delivery, capture = DeliveryMetrics(exporter), CaptureMetrics(exporter)

    def report() -> None:
        delivery.parked("tax", "main", True)
        delivery.lag(GRANT, 90.0)
        capture.connected("police.main", False)
        incidents.begin("sink", "tax.main", state="parked", reason="it is away")
        incidents.begin("feed", FEED, state="stopped", reason="a column is gone", fix="onboard it")

    delivery.dead(GRANT, "constraint", 1)
    report()
    tidy.look()
    assert exported(exporter).latest("mesh_parked") == 1
    assert exported(exporter).latest("mesh_incidents", kind="feed", name=FEED, state="stopped") == 1

    present[0] = directory(Status.REVOKED)
    report()  # a lane that ends reports to the last
    tidy.look()
    samples = exported(exporter)
    for name in ("mesh_parked", "mesh_delivery_lag_seconds"):
        assert samples.latest(name) is None, name
    assert samples.total("mesh_dead_total", grant_id=GRANT) == 1
    assert samples.latest("mesh_entity_health", entity="tax.main") is None
    assert samples.latest("mesh_capture_connected", source="police.main") == 0
    assert [incident.name for incident in written.present().values()] == [FEED]

    present[0] = Directory()
    tidy.look()
    samples = exported(exporter)
    assert samples.latest("mesh_capture_connected") is None
    assert samples.latest("mesh_incidents") is None
    assert samples.latest("mesh_entity_health") is None
    assert written.present() == {}

    present[0] = directory()
    delivery.parked("tax", "main", True)
    tidy.look()
    assert exported(exporter).latest("mesh_parked") == 1


def test_an_incident_that_changes_its_state_is_one_incident() -> None:
    exporter = Exporter(lambda: 0.0)
    incidents = CountedIncidents(MemoryIncidents(), exporter)
    incidents.begin("sink", "tax.main", state="waiting", reason="slow")
    incidents.begin("sink", "tax.main", state="parked", reason="away")
    (series,) = exported(exporter).series("mesh_incidents")
    assert series == ({"kind": "sink", "name": "tax.main", "state": "parked"}, 1.0)
    incidents.end("sink", "tax.main")
    assert exported(exporter).series("mesh_incidents") == []
