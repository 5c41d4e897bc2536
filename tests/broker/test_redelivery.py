"""Dead letters of a subscriber come back when a person says so, and a grant is delivered again: `mesh dlq`, `mesh replay`."""

from __future__ import annotations

from typing import Any

import psycopg

from tests.broker.test_ledger import balanced
from tests.stage.running_mesh import Ran, RunningMesh, contract, database, run
from tests.stage.until import until


def values(dsn: str, table: str) -> dict[int, str]:
    try:
        with database(dsn) as town:
            return dict(town.execute(f"SELECT id, name FROM {table}".encode()).fetchall())
    except psycopg.errors.UndefinedTable:
        return {}


def onboarded(mesh: RunningMesh, rows: int) -> tuple[str, str, str, str]:
    """A feed of so many rows and a grant on it: both databases, the grant's id, the subscriber's table."""
    agency, subscriber = f"{mesh.unique}a", f"{mesh.unique}s"
    source, target = mesh.database(agency), mesh.database(subscriber)
    mesh.agency(agency, {"t": contract(["id"], {"id": "int", "name": "string"})})
    mesh.subscriber(subscriber, {"feed": f"{agency}.t", "columns": ["name"]})
    with database(source) as town:
        town.execute("CREATE TABLE t (id int PRIMARY KEY, name text); ALTER TABLE t REPLICA IDENTITY FULL")
        town.execute(f"INSERT INTO t SELECT n, 'a' FROM generate_series(1, {rows}) n".encode())
    mesh.done("onboard", mesh.folder)
    mesh.verified(f"{agency}.t", rows)
    return source, target, f"{subscriber}.{agency}.t", f"{agency}_t"


def dlq(mesh: RunningMesh, verb: str, *arguments: str) -> Ran:
    return run("dlq", verb, "--dir", mesh.directory, "--json", *arguments, env=mesh.variables)


def done(mesh: RunningMesh, verb: str, *arguments: str) -> Any:
    ran = dlq(mesh, verb, *arguments)
    assert ran.status == 0, ran.err
    return ran.json


def listed(mesh: RunningMesh, grant: str, state: str = "waiting") -> list[Any]:
    return done(mesh, "list", grant, "--state", state)


def test_rows_that_a_constraint_refused_come_back_in_bulk_and_never_over_newer_ones(mesh: RunningMesh) -> None:
    source, target, grant, table = onboarded(mesh, 120)
    with database(target) as town:
        town.execute(f"ALTER TABLE {table} ADD CONSTRAINT short CHECK (name <> 'canary 张三')".encode())
    with database(source) as town:
        town.execute("UPDATE t SET name = 'canary 张三' WHERE id <= 100")
        until(lambda: len(listed(mesh, grant)) == 100, 60, "a hundred dead letters")
        town.execute("UPDATE t SET name = 'newer' WHERE id <= 10")
    until(lambda: values(target, table)[10] == "newer", 30, "newer rows are taken")
    assert "张三" not in dlq(mesh, "list", grant).out, "a list shows no value of a row"
    dry = done(mesh, "retry", grant, "--all", "--dry-run")
    assert sorted(dry["letters"].values()) == ["retried"] * 90 + ["superseded"] * 10
    first = next(letter for letter in listed(mesh, grant) if dry["letters"][letter["letter"]] == "retried")
    assert (first["reason"], first["hop"]) == ("sql_23514", "deliver")
    told = done(mesh, "show", first["letter"], "--reveal")
    assert told["after"]["name"] == "canary 张三"
    assert told["after"]["id"] == told["key"]["id"]

    assert len(listed(mesh, grant)) == 100, "a dry run does nothing"
    with database(target) as town:
        town.execute(f"ALTER TABLE {table} DROP CONSTRAINT short".encode())
    one = done(mesh, "retry", first["letter"])
    assert one["letters"] == {first["letter"]: "retried"}
    until(lambda: values(target, table)[told["key"]["id"]] == "canary 张三", 30, "one comes back")
    done(mesh, "retry", grant, "--all", "--reason", "sql_23514")
    mesh.verified(grant, 120)
    assert values(target, table)[1] == "newer"
    assert listed(mesh, grant) == []
    assert len(listed(mesh, grant, "superseded")) == 10
    balanced(mesh, grant.partition(".")[2])  # what a command appended is accounted for as well


def test_letters_are_dropped_and_nothing_is_retried_for_a_grant_that_is_over(mesh: RunningMesh) -> None:
    source, target, grant, table = onboarded(mesh, 3)
    with database(target) as town:
        town.execute(f"ALTER TABLE {table} ADD CONSTRAINT short CHECK (name <> 'bad')".encode())
    with database(source) as town:
        town.execute("UPDATE t SET name = 'bad' WHERE id <= 2")
    until(lambda: len(listed(mesh, grant)) == 2, 60, "two dead letters")
    first, second = (each["letter"] for each in listed(mesh, grant))
    done(mesh, "drop", first)
    assert [each["letter"] for each in listed(mesh, grant)] == [second]
    refused = dlq(mesh, "retry", grant)
    assert refused.status == 1
    assert "--all" in refused.err
    mesh.run("grant", grant, "REVOKED")
    refused = dlq(mesh, "retry", second)
    assert refused.status == 1
    assert "over or suspended" in refused.err
    assert mesh.run("replay", grant).status == 1


def test_a_grant_is_delivered_again_from_the_beginning_and_from_a_time(mesh: RunningMesh) -> None:
    source, target, grant, table = onboarded(mesh, 50)
    with database(source) as town:
        town.execute("UPDATE t SET name = 'b' WHERE id <= 5")
    until(lambda: values(target, table)[5] == "b", 30, "the change")
    with database(target) as town:
        town.execute(f"DELETE FROM {table} WHERE id BETWEEN 1 AND 40".encode())
    dry = mesh.done("replay", grant, "--dry-run", "--since", "2100-01-01T00:00")
    assert dry["grants"][grant]["records"] == 0
    assert mesh.run("replay", grant, "--since", "yesterday").status == 1
    asked = mesh.done("replay", grant)
    assert asked["grants"][grant]["records"] >= 55
    mesh.verified(grant, 50)
    with database(source) as town:
        town.execute("UPDATE t SET name = 'c' WHERE id = 7")
    until(lambda: values(target, table)[7] == "c", 30, "and it goes on")
    audits = [(message.value() or b"").decode() for message in mesh.records("mesh.audit")]
    assert any('"what":"replay"' in line and grant in line for line in audits)
