"""The key of a subscriber's HASH masks in a running mesh: without it the grant alone stops, and with it everybody agrees."""

from __future__ import annotations

from pathlib import Path

from ops.settings import variable_of
from tests.stage.running_mesh import RunningMesh, contract, database, rows
from tests.stage.until import until, until_none


def test_a_missing_hash_key_stops_the_grant_alone_and_is_never_made_anew(mesh: RunningMesh, tmp_path: Path) -> None:
    agency, subscriber, other = f"{mesh.unique}a", f"{mesh.unique}s", f"{mesh.unique}t"
    source, target = mesh.database(agency), mesh.database(subscriber)
    at_other = mesh.database(other)
    feed = f"{agency}.t"
    mesh.agency(agency, {"t": contract(["id"], {"id": "string", "note": "string"})})
    hashed = {"feed": feed, "columns": ["note"], "mask": {"id": "HASH"}}
    mesh.subscriber(subscriber, hashed)
    with database(source) as town:
        town.execute("CREATE TABLE t (id text PRIMARY KEY, note text); ALTER TABLE t REPLICA IDENTITY FULL")
        town.execute("INSERT INTO t SELECT n, 'n' FROM generate_series(1, 20) n")
        mesh.done("onboard", mesh.folder)
        mesh.verified(feed, 20)
        before = rows(target, f"{agency}_t")

        key = mesh.directory / "connections" / f"{subscriber}.hash-key"
        text = key.read_text()
        aside = key.rename(tmp_path / "aside")
        try:
            mesh.subscriber(other, {"feed": feed, "columns": ["note"]})
            mesh.done("onboard", mesh.folder / other)  # news: every worker looks at all grants again
            town.execute("UPDATE t SET note = 'm'")
            until(lambda: {note for _, note in rows(at_other, f"{agency}_t")} == {"m"}, 60, "others flow")

            def reason() -> str:
                subscriptions = {entry["grant_id"]: entry for entry in mesh.done("status")["subscriptions"]}
                return subscriptions[f"{subscriber}.{feed}"]["reason"] or ""

            until(lambda: f"hash key of {subscriber}: is not here" in reason(), 60, "the status says why")
            assert not key.exists()
            ran = mesh.run("onboard", mesh.folder / subscriber)
            assert ran.status != 0
            assert f"MESH_CONNECTION_{subscriber.upper()}_HASH_KEY" in ran.err

            # Elsewhere, with the servers' addresses alone: refused without the key, exact with it.
            known = mesh.endpoints
            there = {
                **known["kafka_login"],
                "MESH_REGISTRY": known["registry"],
                "MESH_DATABASE": known["hub_database"],
                variable_of(agency, "main", "source"): source,
                variable_of(subscriber, "main", "sink"): target,
            }
            elsewhere = tmp_path / "elsewhere"
            ran = mesh.run("verify", f"{subscriber}.{feed}", "--within", "1", directory=elsewhere, **there)
            assert (ran.status, f"hash key of {subscriber}: is not here" in ran.err) == (1, True)
        finally:
            aside.rename(key)
        mesh.verified(feed, 20)
        there[f"MESH_CONNECTION_{subscriber.upper()}_HASH_KEY"] = text
        ran = mesh.run("verify", f"{subscriber}.{feed}", "--within", "30", directory=elsewhere, **there)
        assert ran.status == 0, ran.err
    after = rows(target, f"{agency}_t")
    assert [pseudonym for pseudonym, _ in after] == [pseudonym for pseudonym, _ in before]
    assert {note for _, note in after} == {"m"}
    until_none(reason, 60, "the incident has ended")
