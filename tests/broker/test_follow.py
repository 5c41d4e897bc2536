"""`mesh follow`: a feed whose table changed goes on, and nothing is missing at its subscriber (C-1, C-8, C-9)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import psycopg

from schemas.feed import AUDIT
from schemas.log.control.records import read_all
from tests.stage.running_mesh import RunningMesh, contract, database, rows
from tests.stage.until import until

MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}
PLAIN = {"id": "int", "name": "string"}


@dataclass
class Town:
    """A department with a table `t` and its neighbour `o`, both delivered; `feed` and `other` are their feeds."""

    mesh: RunningMesh
    db: psycopg.Connection[Any]
    target: str
    feed: str
    other: str

    def incident(self) -> Mapping[str, Any]:
        """What `mesh status` says of the feed, once it stands."""

        def found() -> Mapping[str, Any]:
            listed = self.mesh.done("status", "--once")["incidents"]
            return next((each for each in listed if each["name"] == self.feed and each["state"] == "stopped"), {})

        return until(found, 60, f"{self.feed} is stopped")

    def follow_to_the_letter(self, fix: str) -> Any:
        """Do what a fix says."""
        words = re.findall(r"`mesh follow ([^`]+)`", fix)[0].split()
        return self.mesh.done("follow", *words)

    def until_other_flows(self) -> None:
        """A change of the neighbour arrives."""
        self.db.execute("INSERT INTO o SELECT max(id) + 1, 'flows' FROM o")
        self.mesh.verified(self.other)


@contextmanager
def town(
    mesh: RunningMesh, fields: Mapping[str, Any], table: str, granted: Sequence[str] | None = None
) -> Iterator[Town]:
    agency, subscriber = f"{mesh.unique}a", f"{mesh.unique}s"
    source, target = mesh.database(agency), mesh.database(subscriber)
    mesh.agency(agency, {"t": contract(["id"], fields), "o": contract(["id"], PLAIN)})
    granted = granted or [name for name in fields if name != "id"]
    mesh.subscriber(
        subscriber, {"feed": f"{agency}.t", "columns": granted}, {"feed": f"{agency}.o", "columns": ["name"]}
    )
    with database(source) as db:
        db.execute(table.encode())
        db.execute("ALTER TABLE t REPLICA IDENTITY FULL; CREATE TABLE o (id int PRIMARY KEY, name text)")
        db.execute("ALTER TABLE o REPLICA IDENTITY FULL; INSERT INTO o VALUES (1, 'one')")
        mesh.done("onboard", mesh.folder)
        made = Town(mesh, db, target, f"{agency}.t", f"{agency}.o")
        mesh.verified(made.feed)
        yield made


def test_a_value_column_of_another_type_is_followed_to_the_subscribers_table(mesh: RunningMesh) -> None:
    table = "CREATE TABLE t (id int PRIMARY KEY, score int, name varchar(9)); INSERT INTO t VALUES (1, 10, 'one'), (2, 20, 'two')"
    with town(mesh, {"id": "int", "score": "int", "name": "string"}, table) as t:
        t.db.execute("ALTER TABLE t ALTER score TYPE bigint, ALTER name TYPE text")
        t.db.execute("INSERT INTO t VALUES (3, 5000000000, 'longer than nine characters'); DELETE FROM t WHERE id = 1")
        stopped = t.incident()
        t.until_other_flows()
        shown = mesh.done("follow", t.feed)
        assert not shown["done"]
        assert shown["differences"] == ["column score (bigint): int becomes long"]
        followed = t.follow_to_the_letter(stopped["fix"])
        assert (followed["done"], followed["waits_for"]) == (True, "")
        mesh.verified(t.feed, 2)
        assert (3, 5_000_000_000, "longer than nine characters") in rows(t.target, t.feed.replace(".", "_"))
        t.db.execute("UPDATE t SET score = 6000000000 WHERE id = 2; INSERT INTO t VALUES (4, 1, NULL)")
        mesh.verified(t.feed, 3)
        t.until_other_flows()
        assert mesh.done("follow", t.feed)["differences"] == []
        lines = [line for _, _, line in read_all(mesh.kafka, [AUDIT]) if line["subject"] == t.feed]
        assert [line["what"] for line in lines] == ["feed onboarded", "feed followed its table"]


def test_a_key_column_of_another_type_is_followed(mesh: RunningMesh) -> None:
    table = "CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'one'), (2, 'two')"
    with town(mesh, PLAIN, table) as t:
        t.db.execute("ALTER TABLE t ALTER id TYPE bigint")
        t.db.execute("INSERT INTO t VALUES (5000000000, 'far'); DELETE FROM t WHERE id = 1")
        stopped = t.incident()
        t.until_other_flows()
        t.follow_to_the_letter(stopped["fix"])
        mesh.verified(t.feed, 2)
        t.db.execute(
            "DELETE FROM t WHERE id = 2; UPDATE t SET name = 'near' WHERE id > 2; INSERT INTO t VALUES (7, 'new')"
        )
        mesh.verified(t.feed, 2)
        assert (5_000_000_000, "near") in rows(t.target, t.feed.replace(".", "_"))
        t.until_other_flows()


def test_a_decimal_of_more_digits_is_followed_with_its_rewritten_rows(mesh: RunningMesh) -> None:
    table = "CREATE TABLE t (id int PRIMARY KEY, fee numeric(6,2)); INSERT INTO t VALUES (1, 1.25), (2, 1000.50)"
    with town(mesh, {"id": "int", "fee": MONEY}, table) as t:
        t.db.execute("ALTER TABLE t ALTER fee TYPE numeric(12,4) USING fee * 1.0001")
        stopped = t.incident()  # also without a change of any row
        assert "numeric(12,4) holds values that decimal(6,2) does not" in stopped["reason"]
        t.db.execute("INSERT INTO t VALUES (3, 12345678.1234)")
        t.until_other_flows()
        followed = t.follow_to_the_letter(stopped["fix"])
        assert followed["differences"] == ["column fee (numeric(12,4)): decimal(6,2) becomes decimal(12,4)"]
        mesh.verified(t.feed, 3)
        assert mesh.records(f"dlq.{t.feed}") == []
        assert (3, Decimal("12345678.1234")) in rows(t.target, t.feed.replace(".", "_"))
        t.until_other_flows()


def test_a_column_that_was_dropped_or_renamed_is_followed_where_nobody_needs_it(mesh: RunningMesh) -> None:
    table = (
        "CREATE TABLE t (id int PRIMARY KEY, name text, old text, of text); INSERT INTO t VALUES (1, 'one', '1', '1')"
    )
    with town(mesh, {**PLAIN, "old": "string", "of": "string"}, table, granted=["name"]) as t:
        t.db.execute("ALTER TABLE t DROP old; ALTER TABLE t RENAME of TO called")
        t.db.execute("INSERT INTO t VALUES (2, 'two'), (3, 'three'); DELETE FROM t WHERE id = 1")
        stopped = t.incident()
        t.until_other_flows()
        t.follow_to_the_letter(stopped["fix"])
        mesh.verified(t.feed, 2)
        t.db.execute("UPDATE t SET name = 'goes on' WHERE id = 2")
        mesh.verified(t.feed, 2)
        t.until_other_flows()


def test_a_renamed_table_is_followed_to_its_name(mesh: RunningMesh) -> None:
    table = "CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'one'), (2, 'two')"
    with town(mesh, PLAIN, table) as t:
        t.db.execute("ALTER TABLE t RENAME TO t2")
        t.db.execute("INSERT INTO t2 VALUES (10, 'under the other name'); DELETE FROM t2 WHERE id = 1")
        stopped = t.incident()
        t.until_other_flows()
        followed = t.follow_to_the_letter(stopped["fix"])
        assert followed["differences"] == ["table public.t is public.t2 now"]
        mesh.verified(t.feed, 2)
        t.db.execute("UPDATE t2 SET name = 'goes on' WHERE id = 2")
        mesh.verified(t.feed, 2)
        t.until_other_flows()
        refused = mesh.run("onboard", mesh.folder)  # the department's own file is of before
        assert refused.status != 0
        assert "the feed runs on public.t2" in refused.err
        words = re.findall(r"`mesh follow ([^`]+)`", refused.err)[0].split()
        agency, name = t.feed.split(".")
        (mesh.folder / agency / f"{name}.avsc").write_text(mesh.run("follow", *words).out)
        mesh.done("onboard", mesh.folder)
        t.until_other_flows()
        mesh.verified(t.feed, 2)
