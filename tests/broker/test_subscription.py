"""A subscriber's own controls on a running mesh: pause, resume, replay of a key, test; and that nobody else notices."""

from __future__ import annotations

import json
from typing import Any

from tests.broker.test_ledger import balanced
from tests.broker.test_redelivery import onboarded, values
from tests.stage.running_mesh import Ran, RunningMesh, database, run
from tests.stage.until import until


def subscription(mesh: RunningMesh, verb: str, *arguments: str) -> Ran:
    return run("subscription", verb, "--dir", mesh.directory, "--json", *arguments, env=mesh.variables)


def done(mesh: RunningMesh, verb: str, *arguments: str) -> Any:
    ran = subscription(mesh, verb, *arguments)
    assert ran.status == 0, f"{ran.out}\n{ran.err}"
    return ran.json


def state(mesh: RunningMesh, grant: str) -> tuple[str, str]:
    """Health of a grant's delivery and the reason, as `mesh status` has them."""
    told = mesh.done("status", "--once")
    [entry] = [each for each in told["subscriptions"] if each["grant_id"] == grant]
    return entry["health"], entry["reason"]


def test_a_grant_is_paused_told_and_goes_on_where_it_was_while_others_flow(mesh: RunningMesh) -> None:
    source, target, grant, table = onboarded(mesh, 20)
    agency, other = f"{mesh.unique}a", f"{mesh.unique}o"
    elsewhere = mesh.database(other)
    mesh.subscriber(other, {"feed": f"{agency}.t", "columns": ["name"]})
    mesh.done("onboard", mesh.folder)
    mesh.verified(f"{agency}.t", 20)

    done(mesh, "pause", grant, "--reason", "maintenance of the target")
    until(lambda: state(mesh, grant)[0] == "paused", 30, "the status says that it is paused")
    _, reason = state(mesh, grant)
    assert "maintenance of the target" in reason
    assert "paused by " in reason
    assert "since 20" in reason
    with database(source) as town:
        for n in range(40):
            town.execute(f"UPDATE t SET name = 'p{n}' WHERE id = {n % 20 + 1}".encode())
    until(lambda: values(elsewhere, table).get(20) == "p39", 30, "the others' rows")
    assert set(values(target, table).values()) == {"a"}, "nothing came to who is paused"
    [listed] = done(mesh, "list", grant)
    assert (listed["state"], listed["pause"]["reason"]) == ("paused", "maintenance of the target")

    resumed = done(mesh, "resume", grant)
    assert resumed["state"] == "active"
    until(lambda: values(target, table).get(20) == "p39", 30, "it goes on")
    mesh.verified(f"{agency}.t", 20)
    assert state(mesh, grant)[0] == "ok"
    audits = [json.loads(message.value() or b"{}") for message in mesh.records("mesh.audit")]
    lines = [(line["what"], line["subject"]) for line in audits]
    assert ("subscription pause", grant) in lines
    assert ("subscription resume", grant) in lines


def test_a_sink_is_paused_with_its_database_down_and_names_that_are_none_are_refused(mesh: RunningMesh) -> None:
    source, target, grant, table = onboarded(mesh, 5)
    sink = f"{mesh.unique}s.main"
    done(mesh, "pause", sink)
    until(lambda: state(mesh, grant)[0] == "paused", 30, "paused")
    assert done(mesh, "resume", grant)["still"] == [sink], "whoever resumes a grant of a paused sink is told"
    with database(source) as town:
        town.execute("UPDATE t SET name = 'b'")
    assert done(mesh, "show", sink)["state"] == "paused"
    wrong = subscription(mesh, "pause", f"{mesh.unique}s.mian")
    assert wrong.status == 1
    assert f"did you mean `{sink}`" in wrong.err
    long = subscription(mesh, "pause", sink, "--reason", "x" * 201)
    assert long.status == 1
    assert "200 characters" in long.err
    done(mesh, "resume", sink)
    until(lambda: set(values(target, table).values()) == {"b"}, 30, "it goes on")


def test_one_key_is_delivered_again_and_a_deleted_row_comes_back(mesh: RunningMesh) -> None:
    source, target, grant, table = onboarded(mesh, 10)
    with database(source) as town:
        town.execute("UPDATE t SET name = 'b' WHERE id = 3")
    until(lambda: values(target, table).get(3) == "b", 30, "the change")
    with database(target) as town:
        town.execute(f"DELETE FROM {table} WHERE id IN (3, 4)".encode())
    dry = done(mesh, "replay", grant, "--key", "3", "--dry-run")
    assert dry["grants"][grant]["records"] == 1
    done(mesh, "replay", grant, "--key", "3")
    until(lambda: values(target, table).get(3) == "b", 30, "the row of that key")
    assert 4 not in values(target, table), "and of no other"
    balanced(mesh, grant.partition(".")[2])
    none = subscription(mesh, "replay", grant, "--key", "999")
    assert none.status == 1
    assert "no change of such a key" in none.err
    done(mesh, "replay", f"{mesh.unique}s.main", "--from", "2020-01-01T00:00")
    until(lambda: values(target, table).get(4) == "a", 30, "all of a sink's grants from a time on")
    assert subscription(mesh, "replay", grant, "--key", "3", "--since", "2020-01-01T00:00").status == 2


def test_a_database_is_tried_and_what_it_lacks_is_told_with_the_statement(mesh: RunningMesh) -> None:
    _, target, grant, table = onboarded(mesh, 3)
    tried = done(mesh, "test", grant)
    assert tried["is_ok"]
    assert {check["what"] for check in tried["checks"]} >= {"its database answers", f"table {table} (of {grant})"}
    before = values(target, table)
    with database(target) as town:
        user = town.execute("SELECT current_user").fetchone()
        assert user
        town.execute(f"CREATE ROLE {mesh.unique} LOGIN PASSWORD 'quite long enough'".encode())
        town.execute(f"GRANT CONNECT ON DATABASE {town.info.dbname} TO {mesh.unique}".encode())
    known = next((mesh.directory / "connections" / "sink").glob(f"{mesh.unique}s.main*"))
    former = known.read_text()
    try:
        with database(target) as town:
            info = town.info
            at = f"host={info.host} port={info.port} dbname={info.dbname}"
            known.write_text(f"{at} user={mesh.unique} password='quite long enough'")
        failed = subscription(mesh, "test", f"{mesh.unique}s.main")
        assert failed.status == 1
        fixes = [check["fix"] for check in failed.json["checks"] if not check["is_ok"]]
        assert fixes
        with database(target) as town:
            for fix in fixes:
                town.execute(fix.encode())
        assert subscription(mesh, "test", f"{mesh.unique}s.main").status == 0, "the fixes help, to the letter"
    finally:
        known.write_text(former)
    assert values(target, table) == before, "and no row was written"
