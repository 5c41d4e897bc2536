"""Ten violations, made by hand on topics and databases, and who finds each: the ledger or `mesh verify`, and no other line.

A checker that never fails is untested (RE-03). What is done to a topic shows in the ledger within seconds; what is done to a
subscriber's database, where the mesh cannot see it happen, `mesh verify` finds, down to one value.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.broker.test_ledger import balanced, forged, red
from tests.stage.running_mesh import RunningMesh, contract, database, rows
from tests.stage.until import until

FIELDS = {"id": "int", "name": "string", "phone": "string", "side": "int"}
TABLE = "CREATE TABLE t (id int PRIMARY KEY, name text, phone text, side int); ALTER TABLE t REPLICA IDENTITY FULL"


class City:
    """One department, and two subscribers: `whole` sees a masked phone, `half` one side alone."""

    def __init__(self, mesh: RunningMesh) -> None:
        self.mesh = mesh
        agency, whole, half = (f"{mesh.unique}{letter}" for letter in "asu")
        self.source = mesh.database(agency)
        self.target, _ = mesh.database(whole), mesh.database(half)
        self.feed, self.table = f"{agency}.t", f"{agency}_t"
        self.whole, self.half = f"{whole}.{self.feed}", f"{half}.{self.feed}"
        mesh.agency(agency, {"t": contract(["id"], FIELDS)})
        mesh.subscriber(whole, {"feed": self.feed, "columns": ["name", "phone"], "mask": {"phone": "MASK"}})
        mesh.subscriber(half, {"feed": self.feed, "columns": ["name"], "row_filter": "side == 1"})

    def verified(self, **counts: int) -> None:
        """What `mesh verify` counts at `whole`, and nothing at `half`."""
        found = self.mesh.run("verify", "--json", self.whole, "--within", "1")
        assert found.status == (1 if counts else 0)
        entry = found.json["subscriptions"][self.whole]
        names = ("missing", "surplus", "different", "withdrawn")
        assert {name: entry[name] for name in names if entry[name]} == counts
        assert self.mesh.run("verify", "--json", self.half, "--within", "1").status == 0

    def changed(self, statement: str, back: str, **counts: int) -> None:
        """Change the subscriber's table by hand; what `verify` finds of it. Then change it back."""
        with database(self.target) as theirs:
            theirs.execute(statement.format(t=self.table).encode())
            self.verified(**counts)
            theirs.execute(back.format(t=self.table).encode())
        self.verified()


@pytest.mark.timeout(900)
def test_ten_violations_are_each_found_by_the_right_one(mesh: RunningMesh) -> None:
    city = City(mesh)
    with database(city.source) as town:
        town.execute(TABLE)
        town.execute("INSERT INTO t SELECT n, 'name' || n, '1390000' || n, n % 2 FROM generate_series(1000, 1399) n")
        mesh.done("onboard", mesh.folder)
        mesh.verified(city.feed)
        balanced(mesh, city.feed)

        # In a subscriber's database: verify.
        keep, by_key = (
            "CREATE TABLE kept AS SELECT * FROM {t} WHERE id IN ({keys});",
            "DELETE FROM {t} WHERE id IN ({keys});",
        )
        again = "INSERT INTO {t} SELECT * FROM kept; DROP TABLE kept"

        def damage(keys: str, statement: str, **counts: int) -> None:
            stored, removed = keep.replace("{keys}", keys), by_key.replace("{keys}", keys)
            city.changed(stored + statement.replace("{keys}", keys), removed + again, **counts)

        damage("1001", "DELETE FROM {t} WHERE id IN ({keys})", missing=1)  # skipped
        damage("1002", "UPDATE {t} SET name = 'other' WHERE id IN ({keys})", different=1)  # changed
        swap = "UPDATE {t} SET name = CASE id WHEN 1003 THEN 'name1004' ELSE 'name1003' END WHERE id IN ({keys})"
        damage("1003, 1004", swap, different=2)  # swapped
        damage("1005", "UPDATE {t} SET phone = '13900001005' WHERE id IN ({keys})", different=1)  # unmasked
        with database(city.target) as theirs:
            theirs.execute(f"CREATE TABLE before AS SELECT * FROM {city.table} WHERE id IN (1006, 1007)".encode())
        town.execute("DELETE FROM t WHERE id = 1006; UPDATE t SET name = 'newer' WHERE id = 1007")
        mesh.verified(city.feed)
        resurrect = "INSERT INTO {t} SELECT * FROM before WHERE id = 1006"
        city.changed(resurrect, "DELETE FROM {t} WHERE id = 1006", surplus=1)  # resurrected
        late = "UPDATE {t} SET name = 'name1007' WHERE id = 1007"
        city.changed(
            late, "UPDATE {t} SET name = 'newer' WHERE id = 1007", different=1
        )  # an older row over a newer one
        column = "ALTER TABLE {t} ADD COLUMN side int; UPDATE {t} SET side = 1 WHERE id < 1010"
        city.changed(column, "ALTER TABLE {t} DROP COLUMN side", withdrawn=9)  # a column that nobody granted

        # On a topic: the ledger.
        forged(mesh, city.feed, lambda value: value)  # doubled
        red(mesh, city.feed, city.feed)
        assert mesh.run("ledger", "accept", city.feed, "--reason", "a test").status == 0
        balanced(mesh, city.feed)
        forged(mesh, f"out.{city.half}", lambda value: value, of=f"out.{city.whole}")  # to the wrong subscriber
        red(mesh, city.feed, city.half)
        assert mesh.run("ledger", "accept", city.half, "--reason", "a test").status == 0

        # After the grant has ended: verify, which looks for what should not be there.
        assert mesh.run("grant", city.whole, "REVOKED").status == 0
        until(lambda: rows(city.target, city.table) == [], 30, "the rows are gone")
        with database(city.target) as theirs:
            theirs.execute(f"INSERT INTO {city.table} SELECT * FROM before WHERE id = 1007".encode())
        ran = mesh.run("verify", "--json", city.whole, "--within", "2")
        entry: dict[str, Any] = ran.json["subscriptions"][city.whole]
        assert (ran.status, entry["surplus"]) == (1, 1)
