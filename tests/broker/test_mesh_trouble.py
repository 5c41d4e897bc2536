"""What goes wrong around a running mesh: records that nobody can read, rows that no type holds, a subscriber that is down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from confluent_kafka import Message, Producer

from tests.stage.running_mesh import ARRIVES_WITHIN_SECONDS, RunningMesh, contract, database, dropped, rows
from tests.stage.until import until

DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}


def headers(message: Message) -> Mapping[str, str]:
    return {name: (value or b"").decode() for name, value in message.headers() or ()}


def by_reason(messages: list[Message]) -> dict[str, Message]:
    return {headers(message)["mesh.errors.reason"]: message for message in messages}


def test_a_poisoned_record_is_set_aside_and_the_rest_flows(mesh: RunningMesh) -> None:
    agency, subscriber = f"{mesh.unique}a", f"{mesh.unique}s"
    source, _ = mesh.database(agency), mesh.database(subscriber)
    feed = f"{agency}.t"
    rules = [{"name": "known", "expr": "kind in ['a', 'b']", "onFailure": "DLQ"}]
    mesh.agency(agency, {"t": contract(["id"], {"id": "int", "kind": "string"}, rules=rules)})
    mesh.subscriber(subscriber, {"feed": feed, "columns": ["kind"]})
    with database(source) as town:
        town.execute("CREATE TABLE t (id int PRIMARY KEY, kind text); ALTER TABLE t REPLICA IDENTITY FULL")
        town.execute("INSERT INTO t SELECT n, 'a' FROM generate_series(1, 40) n")
        mesh.done("onboard", mesh.folder)
        mesh.verified(feed, 40)

        good = next(message for message in mesh.records(feed) if message.value())
        key, value = good.key(), good.value()
        poison = {
            "bad_magic": b"\x01" + value[1:],
            "unknown_schema": b"\0\x7f\xff\xff\xff" + value[5:],
            "": value[:-20],
        }
        producer = Producer(mesh.kafka.client({}))
        for partition in range(4):  # each partition, so that rows follow wherever they go
            for record in poison.values():
                producer.produce(feed, record, key, partition=partition)
        assert producer.flush(30) == 0
        town.execute("INSERT INTO t SELECT n, 'b' FROM generate_series(101, 140) n")
        town.execute("INSERT INTO t VALUES (200, 'of no known kind')")
        town.execute("UPDATE t SET kind = 'b' WHERE id <= 40")
        mesh.verified(feed, 80)

    letters = mesh.dead_letters(feed, 13)
    assert len(letters) == 13
    found = by_reason(letters)
    assert set(found) >= {"bad_magic", "unknown_schema", "rule_known"}
    assert len(found) == 4
    for reason, letter in found.items():
        told = headers(letter)
        assert told["__connect.errors.topic"] == feed
        assert told["__connect.errors.stage"] in {"enrich", "egress"}
        assert int(told["__connect.errors.offset"]) >= 0
        assert "of no known kind" not in str(told)  # no value of a row
        assert letter.value() == poison.get(reason, letter.value())
    (cut,) = set(found) - set(poison) - {"rule_known"}
    assert found[cut].value() == poison[""]


def test_a_value_that_no_type_holds_sets_its_row_aside_and_names_the_column(mesh: RunningMesh) -> None:
    agency, subscriber = f"{mesh.unique}a", f"{mesh.unique}s"
    source, target = mesh.database(agency), mesh.database(subscriber)
    feed = f"{agency}.t"
    mesh.agency(agency, {"t": contract(["id"], {"id": "int", "amount": DECIMAL})})
    mesh.subscriber(subscriber, {"feed": feed, "columns": ["amount"]})
    with database(source) as town:
        town.execute("CREATE TABLE t (id int PRIMARY KEY, amount numeric(12,2)); ALTER TABLE t REPLICA IDENTITY FULL")
        town.execute("INSERT INTO t VALUES (1, 1.10), (2, 'NaN'), (3, 3.30)")
        mesh.done("onboard", mesh.folder)
        until(lambda: len(rows(target, f"{agency}_t")) == 2, ARRIVES_WITHIN_SECONDS, "the other two rows")
        town.execute("INSERT INTO t VALUES (4, 'NaN'); INSERT INTO t VALUES (5, -5.50)")
        until(lambda: len(rows(target, f"{agency}_t")) == 3, ARRIVES_WITHIN_SECONDS, "the row after it")
    assert [(number, str(amount)) for number, amount in rows(target, f"{agency}_t")] == [
        (1, "1.10"),
        (3, "3.30"),
        (5, "-5.50"),
    ]
    for letter in mesh.dead_letters(feed, 2):
        told = headers(letter)
        assert told["mesh.errors.reason"] == "numeric_nan"
        assert "amount" in told["__connect.errors.exception.message"]
        assert told["__connect.errors.stage"] == "capture"


def test_a_subscriber_whose_database_is_down_holds_up_nobody_and_misses_nothing(mesh: RunningMesh) -> None:
    agency, down, well = f"{mesh.unique}a", f"{mesh.unique}s", f"{mesh.unique}t"
    source, at_down, at_well = (mesh.database(name) for name in (agency, down, well))
    feed = f"{agency}.t"
    mesh.agency(agency, {"t": contract(["id"], {"id": "int", "note": "string"})})
    for subscriber in (down, well):
        mesh.subscriber(subscriber, {"feed": feed, "columns": ["note"]})
    with database(source) as town:
        town.execute("CREATE TABLE t (id int PRIMARY KEY, note text); ALTER TABLE t REPLICA IDENTITY FULL")
        town.execute("INSERT INTO t SELECT n, 'before' FROM generate_series(1, 50) n")
        mesh.done("onboard", mesh.folder)
        mesh.verified(feed, 50)

        allow_connections(at_down, is_allowed=False)
        try:
            town.execute("INSERT INTO t SELECT n, 'during' FROM generate_series(51, 100) n")
            town.execute("DELETE FROM t WHERE id <= 10")
            until(lambda: len(rows(at_well, f"{agency}_t")) == 90, 30, "the other subscriber's rows")

            def told() -> Any:
                subscriptions = {entry["grant_id"]: entry for entry in mesh.done("status")["subscriptions"]}
                health = subscriptions[f"{down}.{feed}"]["health"], subscriptions[f"{well}.{feed}"]["health"]
                return health if health[0] != "ok" else None

            ran = mesh.run("verify", f"{down}.{feed}", "--within", "1")
            assert (ran.status, ran.err.count("Traceback")) == (1, 0)
            assert f"subscriber {down}: its database cannot be read" in ran.err
            assert until(told, ARRIVES_WITHIN_SECONDS, "the status says which one is unwell")[1] == "ok"
            incident = until(lambda: incident_of(mesh, "sink", f"{down}.main"), 30, "why, in words")
            assert incident["state"] == "parked"
            assert "does not answer" in incident["reason"]
        finally:
            allow_connections(at_down, is_allowed=True)
        town.execute("INSERT INTO t VALUES (101, 'after')")
    mesh.verified(feed, 91)
    assert incident_of(mesh, "sink", f"{down}.main") is None


def test_a_lost_slot_stops_one_source_loudly_until_somebody_accepts_the_gap(mesh: RunningMesh) -> None:
    lost, well, subscriber = f"{mesh.unique}a", f"{mesh.unique}b", f"{mesh.unique}s"
    addresses = {agency: mesh.database(agency) for agency in (lost, well)}
    target = mesh.database(subscriber)
    for agency, address in addresses.items():
        mesh.agency(agency, {"t": contract(["id"], {"id": "int", "note": "string"})})
        with database(address) as town:
            town.execute("CREATE TABLE t (id int PRIMARY KEY, note text); ALTER TABLE t REPLICA IDENTITY FULL")
            town.execute("INSERT INTO t SELECT n, 'before' FROM generate_series(1, 50) n")
    mesh.subscriber(subscriber, *({"feed": f"{agency}.t", "columns": ["note"]} for agency in addresses))
    mesh.done("onboard", mesh.folder)
    for agency in addresses:
        mesh.verified(f"{agency}.t", 50)
    assert mesh.run("resync", f"{well}.t").status == 0  # nothing is wrong with it: it is done all the same
    assert mesh.run("resync", "nobody.main").status == 1

    with database(addresses[lost]) as town:
        slot = f"mesh_{lost}_main"
        until(lambda: dropped(town, slot), 30, "the slot is gone")
        town.execute("DELETE FROM t WHERE id <= 10; INSERT INTO t VALUES (101, 'into the gap')")
        until(lambda: f"source {lost}.main: its slot {slot} is gone" in mesh.said("capture"), 60, "the loud stop")
    assert f"mesh resync {lost}.main" in mesh.said("capture")
    incident = until(lambda: incident_of(mesh, "source", f"{lost}.main"), 30, "what stands still, and why")
    assert (incident["state"], f"mesh resync {lost}.main" in incident["fix"]) == ("stopped", True)
    assert incident_of(mesh, "source", f"{well}.main") is None
    with database(addresses[well]) as town:
        town.execute("INSERT INTO t VALUES (101, 'meanwhile')")
    mesh.verified(f"{well}.t", 51)
    assert len(rows(target, f"{lost}_t")) == 50

    assert mesh.run("resync", f"{lost}.main").status == 0
    mesh.verified(f"{lost}.t", 41)
    until(lambda: incident_of(mesh, "source", f"{lost}.main") is None, 30, "nothing stands still any more")


def incident_of(mesh: RunningMesh, kind: str, name: str) -> Any:
    """The incident of one thing as `mesh status` tells it; None if it has none."""
    incidents = {(entry["kind"], entry["name"]): entry for entry in mesh.done("status")["incidents"]}
    return incidents.get((kind, name))


def allow_connections(address: str, *, is_allowed: bool) -> None:
    """Open a database, or close it and throw everybody out."""
    name = urlsplit(address).path[1:]
    with database(urlsplit(address)._replace(path="/postgres").geturl()) as server:
        server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {'true' if is_allowed else 'false'}".encode())
        if not is_allowed:
            server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
