"""Tables and columns that are called as parts of the wire format are: delivered exactly, or refused at check (C-16)."""

from __future__ import annotations

from tests.stage.running_mesh import RunningMesh, contract, database

TABLES = ("envelope", "key", "value", "source", "row", "t")
COLUMNS = (
    "before",
    "after",
    "op",
    "source",
    "key",
    "value",
    "ts_ms",
    "transaction",
    "unchanged",
    "dq",
    "order",
    "Envelope",
)
CHANGES = (
    "UPDATE {0} SET {2} WHERE id = 1",
    "UPDATE {0} SET id = 30 WHERE id = 3",
    "DELETE FROM {0} WHERE id = 2",
    "INSERT INTO {0} (id, {1}) VALUES (4, 'late')",
)


def test_tables_and_columns_named_as_the_wire_has_them_are_delivered_exactly(mesh: RunningMesh) -> None:
    agency, subscriber = f"{mesh.unique}a", f"{mesh.unique}s"
    source = mesh.database(agency)
    mesh.database(subscriber)
    fields = {"id": "long", **dict.fromkeys(COLUMNS, "string")}
    mesh.agency(agency, {name: contract(["id"], fields) for name in TABLES})
    mesh.subscriber(subscriber, *({"feed": f"{agency}.{name}", "columns": list(COLUMNS)} for name in TABLES))
    columns = ", ".join(f'"{name}" text' for name in COLUMNS)
    changed = ", ".join(f"\"{name}\" = '{name} changed'" for name in COLUMNS)
    with database(source) as db:
        for name in TABLES:
            db.execute(f'CREATE TABLE "{name}" (id bigint PRIMARY KEY, {columns})'.encode())
            db.execute(f'ALTER TABLE "{name}" REPLICA IDENTITY FULL'.encode())
            values = ", ".join(f"'{column} ' || n" for column in COLUMNS)
            db.execute(f'INSERT INTO "{name}" SELECT n, {values} FROM generate_series(1, 3) n'.encode())
        mesh.done("onboard", mesh.folder)
        for name in TABLES:
            mesh.verified(f"{agency}.{name}", 3)
        for name in TABLES:
            for change in CHANGES:
                db.execute(change.format(f'"{name}"', f'"{COLUMNS[0]}"', changed).encode())
        for name in TABLES:
            mesh.verified(f"{agency}.{name}", 3)
            assert mesh.records(f"dlq.{agency}.{name}") == []
        assert [each for each in mesh.done("status", "--once")["incidents"] if agency in each["name"]] == []
