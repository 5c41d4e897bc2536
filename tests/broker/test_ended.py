"""What has ended calls nobody: its gauges, its health and its incidents end with it, and come back with it."""

from __future__ import annotations

import json

from ops.metrics.scrape import Samples, gather
from tests.broker.test_console import console, get
from tests.stage.running_mesh import RunningMesh, contract, database
from tests.stage.until import until, until_none

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


def test_a_dead_subscriber_s_revoked_grant_takes_its_gauges_and_incident_along(mesh: RunningMesh) -> None:
    agency, subscriber = f"{mesh.unique}a", f"{mesh.unique}s"
    source = mesh.database(agency)
    mesh.variables[f"MESH_{subscriber.upper()}_DSN"] = NOWHERE
    feed, sink = f"{agency}.t", f"{subscriber}.main"
    grant_id = f"{subscriber}.{feed}"
    mesh.agency(agency, {"t": contract(["id"], {"id": "int", "note": "string"})})
    mesh.subscriber(subscriber, {"feed": feed, "columns": ["note"]})
    with database(source) as town:
        town.execute("CREATE TABLE t (id int PRIMARY KEY, note text); ALTER TABLE t REPLICA IDENTITY FULL")
        town.execute("INSERT INTO t SELECT n, 'words of a row' FROM generate_series(1, 10) n")
    try:
        mesh.run("onboard", mesh.folder, "--wait", "0")

        def samples() -> Samples:
            return gather(mesh.directory)[0]

        def parked(found: Samples) -> float | None:
            return found.latest("mesh_parked", subscriber=subscriber, sink="main")

        until(lambda: parked(samples()) == 1, 120, "the sink is parked")
        until(lambda: samples().latest("mesh_incidents", kind="sink", name=sink) == 1, 30, "and said to be")

        def told() -> dict[str, object] | None:
            report = mesh.done("status")
            found = {entry["grant_id"]: entry for entry in report["subscriptions"]}[grant_id]
            return found if found["state"] in {"parked", "waiting"} and found["reason"] else None

        subscription = until(told, 60, "status says why")
        assert subscription["health"] == "down"
        assert "words of a row" not in json.dumps(subscription)
        with console(mesh) as url:
            status, text, _ = get(f"{url}/health/sink/{sink}")
            assert (status, sink in text) == (503, True)
            assert get(f"{url}/health/feed/{feed}")[0] == 200
            assert get(f"{url}/health/feed/{feed}-not")[0] == 404

            assert mesh.run("grant", grant_id, "REVOKED").status == 0

            def left() -> list[str]:
                found = samples()
                told = {
                    "parked": parked(found),
                    "lag": found.latest("mesh_delivery_lag_seconds", grant_id=grant_id),
                    "incident": found.latest("mesh_incidents", name=sink),
                    "sink's health": found.latest("mesh_entity_health", entity=sink),
                    "grant's health": found.latest("mesh_entity_health", entity=grant_id),
                }
                return [name for name, value in told.items() if value is not None]

            until_none(left, 60, "nothing is left of it")
            report = mesh.done("status")
            assert {entry["grant_id"]: entry for entry in report["subscriptions"]}[grant_id]["health"] == "off"
            assert sink not in [incident["name"] for incident in report["incidents"]]
            assert get(f"{url}/health/sink/{sink}")[0] == 404

            assert mesh.run("grant", grant_id, "ACTIVE").status == 0
            until(lambda: parked(samples()) == 1, 120, "given again, it is parked again, and seen")
    finally:
        mesh.run("grant", grant_id, "REVOKED")
        del mesh.variables[f"MESH_{subscriber.upper()}_DSN"]
