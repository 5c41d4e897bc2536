"""A grant that allows less than before: what it no longer allows goes at the subscriber (invariant 11)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.stage.running_mesh import RunningMesh, contract, database, rows
from tests.stage.until import until

FIELDS = {"id": "int", "name": "string", "phone": "string", "score": "int"}
TABLE = "CREATE TABLE t (id int PRIMARY KEY, name text, phone text, score int); ALTER TABLE t REPLICA IDENTITY FULL"


def columns(address: str, table: str) -> set[str]:
    with database(address) as connection:
        found = connection.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
            (table,),
        )
        return {name for (name,) in found if not name.startswith("_mesh")}


@pytest.mark.timeout(900)
def test_a_narrowed_grant_takes_columns_rows_and_clear_text_back(mesh: RunningMesh) -> None:
    agency, subscriber, viewing = f"{mesh.unique}a", f"{mesh.unique}s", f"{mesh.unique}v"
    source, target, at_viewing = (mesh.database(name) for name in (agency, subscriber, viewing))
    feed, table = f"{agency}.t", f"{agency}_t"
    mesh.agency(agency, {"t": contract(["id"], FIELDS)})
    whole: dict[str, Any] = {"feed": feed, "columns": ["name", "phone", "score"]}
    for code in (subscriber, viewing):
        mesh.subscriber(code, whole)
    with database(source) as town:
        town.execute(TABLE)
        town.execute("INSERT INTO t SELECT n, 'name' || n, '139' || n, n FROM generate_series(1, 30) n")
        mesh.done("onboard", mesh.folder)
        mesh.verified(feed, 30)
        with database(at_viewing) as theirs:  # what depends on the column is the department's, and stays
            theirs.execute(f"CREATE VIEW phones AS SELECT id, phone FROM {table}".encode())
            theirs.execute(f"ALTER TABLE {table} ADD COLUMN remark text DEFAULT 'ours'".encode())

        narrow: dict[str, Any] = {"feed": feed, "columns": ["name", "score"], "mask": {"name": "MASK"}}
        for code in (subscriber, viewing):
            mesh.done("onboard", mesh.subscriber(code, {**narrow, "row_filter": "score <= 20"}))
        until(lambda: columns(target, table) == {"id", "name", "score"}, 30, "the column is gone")
        until(lambda: {phone for *_, phone in phones(at_viewing)} == {None}, 30, "its values are gone")
        town.execute("UPDATE t SET phone = 'new', score = score + 1 WHERE id <= 25")
        mesh.verified(feed, 19)
        assert columns(target, table) == {"id", "name", "score"}
        assert all("ame" not in name for _, name, _ in rows(target, table))
        assert {phone for *_, phone in phones(at_viewing)} == {None}
        with database(at_viewing) as theirs:
            assert theirs.execute(f"SELECT DISTINCT remark FROM {table}".encode()).fetchall() == [("ours",)]

        # Given again, the column is filled again.
        for code in (subscriber, viewing):
            mesh.done("onboard", mesh.subscriber(code, whole))
        mesh.verified(feed, 30)
        assert "phone" in columns(target, table)


def phones(address: str) -> list[tuple[Any, ...]]:
    with database(address) as connection:
        return connection.execute("SELECT id, phone FROM phones").fetchall()


def test_verify_looks_for_what_should_not_be_there(mesh: RunningMesh) -> None:
    agency, subscriber = f"{mesh.unique}a", f"{mesh.unique}s"
    source, target = mesh.database(agency), mesh.database(subscriber)
    feed, table = f"{agency}.t", f"{agency}_t"
    mesh.agency(agency, {"t": contract(["id"], FIELDS)})
    mesh.subscriber(subscriber, {"feed": feed, "columns": ["name"]})
    with database(source) as town:
        town.execute(TABLE)
        town.execute("INSERT INTO t VALUES (1, 'a', '139', 1), (2, 'b', '138', 2)")
        mesh.done("onboard", mesh.folder)
        mesh.verified(feed, 2)
    with database(target) as theirs:  # what an earlier version left there
        theirs.execute(f"ALTER TABLE {table} ADD COLUMN phone text; UPDATE {table} SET phone = '139'".encode())
    ran = mesh.run("verify", "--json", feed, "--within", "2")
    assert ran.status == 1
    assert ran.json["subscriptions"][f"{subscriber}.{feed}"]["withdrawn"] == 2
    with database(target) as theirs:
        theirs.execute(f"UPDATE {table} SET phone = NULL".encode())
        mesh.verified(feed, 2)
        # Of a grant that is over nothing may be left.
        assert mesh.run("grant", f"{subscriber}.{feed}", "REVOKED").status == 0
        until(lambda: rows(target, table) == [], 30, "the rows are gone")
        mesh.verified(f"{subscriber}.{feed}", 0)
        theirs.execute(f"INSERT INTO {table} (id, name, _mesh_token) VALUES (1, 'a', '')".encode())
    ran = mesh.run("verify", "--json", f"{subscriber}.{feed}", "--within", "2")
    assert (ran.status, ran.json["subscriptions"][f"{subscriber}.{feed}"]["surplus"]) == (1, 1)
