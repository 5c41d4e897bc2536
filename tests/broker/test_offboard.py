"""`mesh offboard`: what was onboarded by mistake leaves for good, and nothing of it stays where it is not wanted (O-10)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from psycopg import sql

from ops.metrics.scrape import gather
from schemas.feed import AUDIT
from schemas.log.control.follower import read_directory
from schemas.log.control.records import read_all
from tests.stage.running_mesh import Ran, RunningMesh, contract, database, rows
from tests.stage.until import until, until_none

FIELDS = {"id": "int", "name": "string"}
TABLE = "CREATE TABLE {0} (id int PRIMARY KEY, name text); ALTER TABLE {0} REPLICA IDENTITY FULL; "
SLOTS = "SELECT slot_name FROM pg_replication_slots WHERE slot_name = 'mesh_{}_main'"
PUBLISHED = "SELECT tablename FROM pg_publication_tables WHERE pubname = 'mesh_{}_main' ORDER BY tablename"


class Town:
    """An agency with tables `t` and `o`, and a subscriber of both, all delivered."""

    def __init__(self, mesh: RunningMesh, letter: str = "") -> None:
        self.mesh = mesh
        self.agency, self.subscriber = f"{mesh.unique}a{letter}", f"{mesh.unique}s{letter}"
        self.source, self.target = mesh.database(self.agency), mesh.database(self.subscriber)
        self.t, self.o = f"{self.agency}.t", f"{self.agency}.o"
        folder = mesh.agency(self.agency, {"t": contract(["id"], FIELDS), "o": contract(["id"], FIELDS)})
        self.folder = folder
        mesh.subscriber(self.subscriber, *({"feed": feed, "columns": ["name"]} for feed in (self.t, self.o)))
        with database(self.source) as db:
            for table in ("t", "o"):
                db.execute(TABLE.format(table).encode())
                db.execute(f"INSERT INTO {table} VALUES (1, 'one'), (2, 'two')".encode())
        mesh.done("onboard", folder)
        mesh.done("onboard", mesh.folder / self.subscriber)
        for feed in (self.t, self.o):
            until(lambda feed=feed: self.delivered(feed) == 2, 60, f"{feed} is delivered")

    def delivered(self, feed: str) -> int:
        return len(rows(self.target, feed.replace(".", "_")))

    def slot(self) -> list[Any]:
        with database(self.source) as db:
            return db.execute(SLOTS.format(self.agency).encode()).fetchall()

    def published(self) -> list[str]:
        with database(self.source) as db:
            return [name for (name,) in db.execute(PUBLISHED.format(self.agency).encode())]

    def offboard(self, *words: str) -> Ran:
        return self.mesh.run("offboard", "--json", *words)

    def incident(self, name: str) -> Mapping[str, Any]:
        listed = self.mesh.done("status", "--once")["incidents"]
        return next((each for each in listed if each["name"] == name and each["state"] in {"stopped", "parked"}), {})

    @contextmanager
    def away(self, address: str) -> Iterator[None]:
        """A database that lets nobody in while the block runs."""
        parts = urlsplit(address)
        name = sql.Identifier(parts.path[1:])
        with database(parts._replace(path="/postgres").geturl()) as server:
            alter = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
            server.execute(alter.format(name, sql.SQL("false")))
            server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (parts.path[1:],)
            )
            self.server = server
            try:
                yield
            finally:
                server.execute(alter.format(name, sql.SQL("true")))


def audited(mesh: RunningMesh, what: str, subject: str) -> list[Mapping[str, Any]]:
    lines = [line for _, _, line in read_all(mesh.kafka, [AUDIT])]
    return [line for line in lines if line["subject"] == subject and line["what"] == what]


def test_an_agency_that_was_a_mistake_leaves_and_its_names_never_come_back(mesh: RunningMesh) -> None:
    town = Town(mesh)
    shown = mesh.done("offboard", "agency", town.agency)
    assert not shown["done"]
    assert shown["feeds"] == [town.o, town.t]
    assert shown["sources"] == {f"{town.agency}.main": f"slot and publication mesh_{town.agency}_main"}
    assert len(shown["grants"]) == 2
    assert town.slot()
    assert read_directory(mesh.kafka).feeds.keys() >= {town.o, town.t}

    ended = mesh.done("offboard", "agency", town.agency, "--yes")
    assert (ended["done"], ended["waits_for"]) == (True, [])
    assert (town.slot(), town.published()) == ([], [])
    until(lambda: town.delivered(town.t) + town.delivered(town.o) == 0, 60, "the rows are gone at the subscriber")
    assert {town.t, town.o, f"dlq.{town.t}"} <= {*mesh.topics()} & {*ended["topics_kept"]}
    assert mesh.records(town.t)
    assert not (mesh.directory / "connections" / "source" / f"{town.agency}.main").exists()
    assert audited(mesh, "agency offboarded", town.agency)
    assert audited(mesh, "slot given back", f"{town.agency}.main")

    status = mesh.done("status", "--once")
    assert town.t not in str({**status, "sources": []})

    def gauges() -> list[str]:
        told = [gather(mesh.directory)[0].latest("mesh_capture_connected", source=f"{town.agency}.main")]
        return [str(value) for value in told if value is not None]

    until_none(gauges, 30, "its gauges are gone")
    refused = mesh.run("onboard", town.folder)
    assert refused.status == 1
    assert f"agency {town.agency} was offboarded on" in refused.out
    assert "never used again" in refused.out
    again = mesh.done("offboard", "agency", town.agency, "--yes")
    assert (again["feeds"], again["waits_for"]) == ([], [])
    assert mesh.run("offboard", "agency", f"{mesh.unique}nobody").status == 1


def test_a_dropped_tables_feed_leaves_alone_and_the_last_one_takes_the_slot_along(mesh: RunningMesh) -> None:
    town = Town(mesh)
    with database(town.source) as db:
        db.execute("DROP TABLE t")
        stopped = until(lambda: town.incident(town.t), 60, "the feed of the dropped table is stopped")
        words = re.findall(r"`mesh offboard ([^`]+)`", stopped["fix"])[0].split()
        assert mesh.done("offboard", *words)["waits_for"] == []
        until_none(lambda: town.incident(town.t), 60, "its incident is gone")
        until(lambda: town.delivered(town.t) == 0, 60, "its rows are gone at the subscriber")
        db.execute("INSERT INTO o VALUES (3, 'flows')")
        mesh.verified(town.o, 3)
        assert town.slot()

        assert mesh.done("offboard", "feed", town.o, "--yes")["waits_for"] == []
        assert (town.slot(), town.published()) == ([], [])

        (town.folder / "t.avsc").rename(town.folder / "t2.avsc")
        refused = mesh.run("onboard", town.folder)
        assert f"feed {town.o} was offboarded on" in refused.out
        (town.folder / "o.avsc").unlink()
        db.execute((TABLE.format("t2") + "INSERT INTO t2 VALUES (1, 'anew')").encode())
        mesh.done("onboard", town.folder)
        assert mesh.records(f"{town.agency}.t2"), "another table of the same source is captured"
        assert town.published() == ["t2"]


def test_a_subscriber_leaves_with_its_rows_and_its_keys(mesh: RunningMesh) -> None:
    town = Town(mesh)
    with town.away(town.target):
        waiting = town.offboard("subscriber", town.subscriber, "--yes", "--wait", "2")
        assert waiting.status == 1
        assert f"mesh offboard subscriber {town.subscriber} --yes --abandon" in waiting.json["waits_for"][0]
        assert town.subscriber in read_directory(mesh.kafka).subscribers, "its side is still asked"
    assert mesh.done("offboard", "subscriber", town.subscriber, "--yes")["waits_for"] == []
    assert town.delivered(town.t) + town.delivered(town.o) == 0
    assert not list((mesh.directory / "connections").rglob(f"{town.subscriber}.*"))
    directory = read_directory(mesh.kafka)
    assert town.subscriber not in directory.subscribers
    assert not [entry for entry in directory.grants.values() if entry.grant.subscriber == town.subscriber]
    assert audited(mesh, "subscriber left", town.subscriber)
    refused = mesh.run("onboard", mesh.folder / town.subscriber)
    assert f"subscriber {town.subscriber} was offboarded on" in refused.out


def test_a_database_that_is_away_has_its_slot_dropped_later_or_by_its_own_people(mesh: RunningMesh) -> None:
    town = Town(mesh)
    name = f"{town.agency}.main"
    with town.away(town.source):
        waiting = town.offboard("source", name, "--yes", "--wait", "3")
        assert waiting.status == 1
        said = until(lambda: town.incident(name), 60, "status says that the slot is still there")
        statement = f"SELECT pg_drop_replication_slot('mesh_{town.agency}_main')"
        assert statement in said["fix"]
        assert f"mesh offboard source {name} --yes --abandon" in said["fix"]
        (mesh.directory / "connections" / "source" / name).stat()
    until_none(town.slot, 120, "the slot is dropped once the database is back")
    until_none(lambda: town.incident(name), 60, "and nothing is said any more")

    other = Town(mesh, "b")
    name = f"{other.agency}.main"
    with other.away(other.source):
        assert other.offboard("agency", other.agency, "--yes", "--wait", "1").status == 1
        abandoned = mesh.done("offboard", "agency", other.agency, "--yes", "--abandon")
        assert abandoned["waits_for"] == []
        until_none(lambda: other.incident(name), 60, "nothing is said any more")
        other.server.execute(f"SELECT pg_drop_replication_slot('mesh_{other.agency}_main')".encode())
    assert not other.slot()


def test_a_kill_half_way_is_finished_by_running_it_again(mesh: RunningMesh) -> None:
    town = Town(mesh)
    with mesh.started("offboard", "agency", town.agency, "--yes") as process:
        until(lambda: read_directory(mesh.kafka).left("agency", town.agency), 60, "it has begun")
        process.kill()
        process.wait()
    assert mesh.done("offboard", "agency", town.agency, "--yes")["waits_for"] == []
    directory = read_directory(mesh.kafka)
    assert not {town.t, town.o} & directory.feeds.keys()
    assert not [entry for entry in directory.grants.values() if entry.grant.feed in {town.t, town.o}]
    assert town.slot() == []
    until(lambda: town.delivered(town.t) + town.delivered(town.o) == 0, 60, "the rows are gone at the subscriber")
