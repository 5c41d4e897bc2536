"""A subscriber with a bucket and an SFTP server in a running mesh: refused with a way out, then delivered and verified."""

from __future__ import annotations

import json
from pathlib import Path

from tests.stage.receivers import Receiver, bucket, server
from tests.stage.running_mesh import RunningMesh, contract, database
from tests.stage.until import until
from tests.stage.weed import PASSWORD, SECRET_KEY, Weed

TABLE = contract(["id"], {"id": "int", "note": "string"})


def sink(receiver: Receiver, **secrets: str) -> dict[str, object]:
    name = "store" if receiver.kind == "s3" else "server"
    variables = {secret: f"${{{variable}}}" for secret, variable in secrets.items()}
    return {
        "name": name,
        "kind": receiver.kind,
        **variables,
        "options": {**receiver.options, "every_seconds": 0.2},
    }


def ids(receiver: Receiver, folder: str) -> list[int]:
    return sorted(line["id"] for line in receiver.lines(folder))


def test_a_subscriber_gets_its_drops_once_its_logins_are_right(mesh: RunningMesh, weed: Weed) -> None:
    agency, code = f"{mesh.unique}a", f"{mesh.unique}s"
    with database(mesh.database(agency)) as town:
        town.execute("CREATE TABLE t (id int PRIMARY KEY, note text); ALTER TABLE t REPLICA IDENTITY FULL")
        town.execute("INSERT INTO t SELECT id, 'note' FROM generate_series(1, 50) id")
    mesh.agency(agency, {"t": TABLE})
    store, there = bucket(weed, mesh.unique), server(weed, mesh.unique)
    sinks = [
        sink(store, connection="AT_STORE", access_key="STORE_KEY", secret_key="STORE_SECRET"),
        sink(there, connection="AT_SERVER", password="SERVER_PASSWORD"),
    ]
    grants = [
        {"feed": f"{agency}.t", "columns": ["id", "note"], "purpose": purpose, "sink": name, "grant_id": grant_id}
        for purpose, name, grant_id in (
            ("核验", "store", f"{code}.{agency}.t"),
            ("统计", "server", f"{code}.{agency}.t.statistics"),
        )
    ]
    folder: Path = mesh.folder / code
    folder.mkdir()
    entry = {"subscriber": code, "name": "订阅方", "sinks": sinks, "grants": grants}
    (folder / "subscriber.yaml").write_text(json.dumps(entry, ensure_ascii=False))
    mesh.variables |= {
        "AT_STORE": store.secrets["main"],
        "STORE_KEY": "drops",
        "STORE_SECRET": SECRET_KEY,
        "AT_SERVER": there.secrets["main"],
        "SERVER_PASSWORD": PASSWORD,
    }
    ran = mesh.run("onboard", mesh.folder, STORE_SECRET="wrong-word")
    assert ran.status == 1, ran
    assert "refuses the login" in ran.err + ran.out
    assert "fix: " in ran.err + ran.out
    assert not [name for name in mesh.topics() if code in name], "nothing is registered for who cannot be delivered to"
    mesh.done("onboard", mesh.folder)
    until(lambda: ids(store, f"{agency}.t") == list(range(1, 51)), 60, "the rows are in the bucket")
    until(lambda: ids(there, f"{agency}.t.statistics") == list(range(1, 51)), 60, "and on the server")
    mesh.verified(f"{agency}.t", rows=50)
    written = [path for path in mesh.directory.rglob("*") if path.is_file() and path.suffix in {".log", ".json"}]
    for secret in (SECRET_KEY, PASSWORD, "wrong-word"):
        assert not [path for path in written if secret.encode() in path.read_bytes()], "a secret is kept in no log"
        assert secret not in ran.err + ran.out
