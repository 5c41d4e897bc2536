"""Rows that leave a grant's filter are removed, whatever the table says of the row as it was (invariant 11)."""

from __future__ import annotations

from tests.stage.running_mesh import RunningMesh, contract, database, rows
from tests.stage.until import until

FIELDS = {"id": "int", "district": "string", "note": "string"}


def test_rows_leave_the_filter_after_the_table_stopped_sending_rows_as_they_were(mesh: RunningMesh) -> None:
    agency, subscriber = f"{mesh.unique}a", f"{mesh.unique}s"
    source, target = mesh.database(agency), mesh.database(subscriber)
    mesh.agency(agency, {"t": contract(["id"], FIELDS), "p": contract(["id"], FIELDS)})
    filtered = {"columns": ["district", "note"], "row_filter": "district == 'in'"}
    mesh.subscriber(subscriber, {"feed": f"{agency}.t", **filtered}, {"feed": f"{agency}.p", **filtered})
    with database(source) as town:
        town.execute(
            "CREATE TABLE t (id int PRIMARY KEY, district text, note text); ALTER TABLE t REPLICA IDENTITY FULL"
        )
        town.execute("CREATE TABLE p (id int PRIMARY KEY, district text, note text) PARTITION BY RANGE (id)")
        town.execute("CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100)")
        town.execute("ALTER TABLE p REPLICA IDENTITY FULL; ALTER TABLE p1 REPLICA IDENTITY FULL")
        for table in ("t", "p"):
            town.execute(f"INSERT INTO {table} SELECT n, 'in', 'n' FROM generate_series(1, 8) n".encode())
            town.execute(f"INSERT INTO {table} SELECT n, 'out', 'n' FROM generate_series(11, 18) n".encode())
        mesh.done("onboard", mesh.folder)
        for table in ("t", "p"):
            mesh.verified(f"{agency}.{table}", 8)

        town.execute("ALTER TABLE t REPLICA IDENTITY DEFAULT; ALTER TABLE p1 REPLICA IDENTITY DEFAULT")
        for table in ("t", "p"):
            town.execute(f"UPDATE {table} SET district = 'out' WHERE id IN (1, 2)".encode())
            town.execute(f"DELETE FROM {table} WHERE id IN (3, 4, 11)".encode())
            town.execute(f"UPDATE {table} SET note = 'm' WHERE id IN (5, 12)".encode())
            town.execute(f"UPDATE {table} SET district = 'in' WHERE id IN (1, 13)".encode())
        for table in ("t", "p"):
            name = f"{agency}_{table}"
            until(
                lambda name=name: [row[0] for row in rows(target, name)] == [1, 5, 6, 7, 8, 13], 60, f"{table} is right"
            )
            mesh.verified(f"{agency}.{table}", 6)
            told = {seen.key["id"] for seen in mesh.seen(f"out.{subscriber}.{agency}.{table}") if seen.key}
            assert told == {1, 2, 3, 4, 5, 6, 7, 8, 13}  # nobody hears of rows that were never granted
            assert mesh.records(f"dlq.{agency}.{table}") == []
