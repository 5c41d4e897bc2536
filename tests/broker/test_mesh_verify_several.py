"""`mesh verify <feed>` with several subscribers: each is compared, whatever is the matter with another (D-19)."""

from __future__ import annotations

import json
from pathlib import Path

from tests.stage.running_mesh import RunningMesh, contract, database
from tests.stage.until import until


def test_one_that_cannot_be_read_is_told_and_the_others_are_compared_csv_too(mesh: RunningMesh, tmp_path: Path) -> None:
    agency, table, drop, gone = (f"{mesh.unique}{letter}" for letter in "atdg")
    source, _ = mesh.database(agency), mesh.database(table)
    feed, place, other = f"{agency}.t", tmp_path / "drop", tmp_path / "other"
    mesh.agency(agency, {"t": contract(["id"], {"id": "int", "name": "string"})})
    grant = {"feed": feed, "columns": ["name"], "purpose": "核验", "legal_basis": "示例依据"}
    mesh.subscriber(table, grant)
    for subscriber, directory, form in ((drop, place, "csv"), (gone, other, "jsonl")):
        directory.mkdir()
        (mesh.folder / subscriber).mkdir()
        options = {"every_seconds": 0.2, "format": form}
        sink = {"name": "main", "kind": "files", "connection": f"${{MESH_{form.upper()}}}", "options": options}
        text = json.dumps({"subscriber": subscriber, "name": "测试", "sinks": [sink], "grants": [grant]})
        (mesh.folder / subscriber / "subscriber.yaml").write_text(text)
    with database(source) as town:
        town.execute("CREATE TABLE t (id int PRIMARY KEY, name text); ALTER TABLE t REPLICA IDENTITY FULL")
        town.execute(
            "INSERT INTO t SELECT n, CASE n % 4 WHEN 0 THEN '=' WHEN 1 THEN '' WHEN 2 THEN 'a,\"b' END FROM generate_series(1, 20) n"
        )
        ran = mesh.run("onboard", mesh.folder, MESH_CSV=str(place), MESH_JSONL=str(other))
        assert ran.status == 0, ran.err
        outcome = mesh.done("verify", feed, "--within", "60")
        assert {name: entry["found"] for name, entry in outcome["subscriptions"].items()} == dict.fromkeys(
            (f"{each}.{feed}" for each in (table, drop, gone)), 20
        )
        address = mesh.directory / "connections"
        (kept,) = [path for path in address.rglob(f"*{gone}*") if path.is_file() and str(other) in path.read_text()]
        text = kept.read_text()
        kept.unlink()
        try:
            ran = mesh.run("verify", feed, "--json", "--within", "1")
            told = ran.json
            assert (ran.status, told["exact"]) == (1, False)
            assert {name for name, entry in told["subscriptions"].items() if entry and entry["exact"]} == {
                f"{table}.{feed}",
                f"{drop}.{feed}",
            }
            assert list(told["unread"]) == [f"{gone}.{feed}"]
            said = mesh.run("verify", feed, "--within", "1").out
            assert f"{gone}.{feed} cannot be compared" in " ".join(said.split())
        finally:
            kept.write_text(text)
        town.execute("UPDATE t SET name = 'b' WHERE id = 1")
        until(lambda: mesh.run("verify", feed, "--within", "20").status == 0, 60, "all of them again")
