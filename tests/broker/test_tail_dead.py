"""`mesh tail dlq.<feed>` beside a running mesh."""

from __future__ import annotations

import json

from tests.stage.running_mesh import RunningMesh, contract, database


def test_the_dead_letters_of_a_feed_can_be_followed_without_their_values(mesh: RunningMesh) -> None:
    agency = f"{mesh.unique}a"
    source = mesh.database(agency)
    feed = f"{agency}.t"
    rules = [{"name": "known", "expr": "kind in ['a', 'b']", "onFailure": "DLQ"}]
    mesh.agency(agency, {"t": contract(["id"], {"id": "int", "kind": "string"}, rules=rules)})
    with database(source) as town:
        town.execute("CREATE TABLE t (id int PRIMARY KEY, kind text); ALTER TABLE t REPLICA IDENTITY FULL")
        town.execute("INSERT INTO t SELECT n, 'a value of no kind' FROM generate_series(1, 3) n")
    mesh.done("onboard", mesh.folder)
    mesh.dead_letters(feed, 3)

    ran = mesh.run("tail", f"dlq.{feed}", "--from-start", "--count", 3)
    assert ran.status == 0, ran.err
    headline, *lines = ran.out.splitlines()
    assert "values are hidden" in headline
    assert len(lines) == 3
    assert all("enrich: rule_known" in line and f"of {feed} p" in line and "kind=" in line for line in lines)
    assert "of no kind" not in ran.out

    told = mesh.run("tail", f"dlq.{feed}", "--from-start", "--count", 1, "--json", "--reveal")
    assert json.loads(told.out)["row"]["kind"] == "a value of no kind"
    refused = mesh.run("tail", f"dlq.{feed}-not", "--count", 1)
    assert refused.status == 1
    assert "fix: " in refused.err
