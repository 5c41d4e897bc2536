"""The ledger of a running mesh: lines balance, and what is done to a topic from outside turns exactly its line red, soon."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Producer

from tests.stage.running_mesh import RunningMesh, contract, database
from tests.stage.until import until

FIELDS = {"id": "int", "name": "string", "side": "int"}
TABLE = "CREATE TABLE t (id int PRIMARY KEY, name text, side int); ALTER TABLE t REPLICA IDENTITY FULL"
FOUND_WITHIN_SECONDS = 30.0  # ten on a machine that has time; others run beside this


def standings(mesh: RunningMesh, feed: str) -> dict[str, str]:
    """The standing of each line of the feed, by its name."""
    report = mesh.run("ledger", "--json", "--feed", feed).json
    return {name: line["standing"] for part in ("feeds", "subscriptions") for name, line in report[part].items()}


def balanced(mesh: RunningMesh, feed: str) -> None:
    """Returns once every line of the feed is."""
    until(lambda: set(standings(mesh, feed).values()) == {"balanced"}, 60, f"the lines of {feed} balance")


def red(mesh: RunningMesh, feed: str, name: str) -> dict[str, Any]:
    """The line, as a report has it that calls it red, and no other of the feed."""

    def found() -> dict[str, Any]:
        report = mesh.run("ledger", "--json", "--feed", feed)
        lines = report.json["feeds"] | report.json["subscriptions"]
        if lines[name]["standing"] != "red":
            return {}
        assert report.status == 1
        assert [each for each, line in lines.items() if line["standing"] == "red"] == [name]
        return lines[name]

    return until(found, FOUND_WITHIN_SECONDS, f"the line of {name} turns red")


def forged(mesh: RunningMesh, topic: str, change: Callable[[bytes], bytes], *, of: str = "") -> tuple[int, int]:
    """Write the last record of a topic that has a value, changed, from outside; its partition and offset."""
    message = max((each for each in mesh.records(of or topic) if each.value()), key=lambda each: each.timestamp()[1])
    places: list[tuple[int, int]] = []
    producer = Producer(mesh.kafka.client({}))
    producer.produce(
        topic,
        change(message.value() or b""),
        message.key(),
        message.partition() or 0,
        on_delivery=lambda _, told: places.append((told.partition(), told.offset())),
    )
    assert producer.flush(30) == 0
    return places[0]


@pytest.mark.timeout(900)
def test_what_is_forged_turns_exactly_its_line_red_and_what_is_told_to_do_mends_it(mesh: RunningMesh) -> None:
    agency, one, two = f"{mesh.unique}a", f"{mesh.unique}s", f"{mesh.unique}u"
    source = mesh.database(agency)
    for subscriber in (one, two):
        mesh.database(subscriber)
    feed = f"{agency}.t"
    mesh.agency(agency, {"t": contract(["id"], FIELDS)})
    mesh.subscriber(one, {"feed": feed, "columns": ["name", "side"]})
    mesh.subscriber(two, {"feed": feed, "columns": ["name"], "row_filter": "side == 1"})
    with database(source) as town:
        town.execute(TABLE)
        town.execute("INSERT INTO t SELECT n, 'name' || n, n % 2 FROM generate_series(1, 5000) n")
        mesh.done("onboard", mesh.folder)
        mesh.verified(feed)
        balanced(mesh, feed)
        line = mesh.run("ledger", "--json", "--feed", feed).json["feeds"][feed]
        assert (line["written"], line["read"], line["valid"], line["rejected"]) == (5000, 5000, 5000, 0)

        # Doubled in the feed.
        partition, offset = forged(mesh, feed, lambda value: value)
        (difference,) = red(mesh, feed, feed)["differences"]
        assert (difference["partition"], difference["written"]) == (partition, 0)
        assert difference["from"] <= offset <= difference["to"]
        incident = mesh.done("status")["incidents"]
        fix = next(each["fix"] for each in incident if (each["kind"], each["name"]) == ("ledger", feed))
        assert fix == f"`mesh resync {feed}` copies it anew; then `mesh ledger accept {feed} --reason ...`"
        assert mesh.run("resync", feed).status == 0
        mesh.verified(feed)
        assert mesh.run("ledger", "accept", feed, "--reason", "a record written by hand").status == 0
        balanced(mesh, feed)

        # Changed on its way to one subscriber, among other changes.
        town.execute("UPDATE t SET name = name || '!' WHERE id % 10 = 1")
        grant = f"{two}.{feed}"
        forged(mesh, f"out.{grant}", lambda value: value.replace(b"name", b"eman"))
        town.execute("UPDATE t SET name = name || '?' WHERE id % 10 = 3")
        assert len(red(mesh, feed, grant)["differences"]) == 1
        for status in ("REVOKED", "ACTIVE"):
            assert mesh.run("grant", grant, status).status == 0
        balanced(mesh, feed)
        mesh.verified(feed)


def test_nothing_can_be_accepted_that_is_not_red(mesh: RunningMesh) -> None:
    agency = f"{mesh.unique}a"
    source, feed = mesh.database(agency), f"{agency}.t"
    mesh.agency(agency, {"t": contract(["id"], FIELDS)})
    with database(source) as town:
        town.execute(TABLE)
        mesh.done("onboard", mesh.folder)
    balanced(mesh, feed)
    ran = mesh.run("ledger", "accept", feed, "--reason", "none")
    assert ran.status != 0
    assert "there is nothing to accept" in ran.err
    assert "does not exist" in mesh.run("ledger", "accept", "nobody.t", "--reason", "none").err


@pytest.mark.timeout(900)
def test_a_copy_by_several_processes_is_accounted_for_with_what_changes_behind_it(mesh: RunningMesh) -> None:
    agency, subscriber = f"{mesh.unique}a", f"{mesh.unique}s"
    source, feed = mesh.database(agency), f"{agency}.t"
    mesh.database(subscriber)
    mesh.agency(agency, {"t": contract(["id"], FIELDS)})
    mesh.subscriber(subscriber, {"feed": feed, "columns": ["name"], "row_filter": "side == 1"})
    with database(source) as town:
        town.execute(TABLE)
        town.execute("INSERT INTO t SELECT n, repeat('name', 100), n % 40 FROM generate_series(1, 100000) n")
        mesh.done("onboard", mesh.folder)
        until(lambda: f"{agency}.main: 2 processes copy" in mesh.said("capture"), 60, "two processes copy it")
        for number in range(20):
            town.execute("UPDATE t SET name = 'new' WHERE id = %s", (number * 40 + 1,))
        mesh.verified(feed)
        balanced(mesh, feed)
        town.execute("DELETE FROM t WHERE id <= 500")
        mesh.verified(feed)
        balanced(mesh, feed)
