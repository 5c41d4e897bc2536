"""HANDBOOK A10 between two whole meshes, each with a Kafka and a registry of its own: the city's and a district's."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from tests.stage.peers import address, anchor, identity_of, mesh_subscriber, write
from tests.stage.running_mesh import RunningMesh, contract, database
from tests.stage.until import until

FIELDS = {"id": "int", "name": "string", "region": "string"}
OURS, OTHER = "440106", "440105"


def positions(mesh: RunningMesh, topic: str) -> list[tuple[int, str, str]]:
    """(id, op, position) of every change on a topic, by position."""
    seen = [one for one in mesh.seen(topic) if one.value is not None]
    return sorted(
        ((one.key["id"], one.value["op"], one.value["source"]["sequence"]) for one in seen if one.key and one.value),
        key=lambda entry: (entry[2], entry[0]),  # rows of a snapshot share a position
    )


def audited(mesh: RunningMesh, fingerprint: str) -> list[str]:
    """What was done with an anchor, in order."""
    lines = [json.loads(message.value()) for message in mesh.records("mesh.audit")]
    assert all(line["who"] and line["when"] for line in lines)
    return [line["what"] for line in lines if line["subject"] == fingerprint and line["what"].startswith("anchor")]


def read_as(mesh: RunningMesh, user: str, topic: str) -> list[bytes] | str:
    """What a subscriber's own login reads of a topic now, or what the broker refused."""
    password = (mesh.directory / "connections" / f"{user}.kafka").read_text()
    login = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "SCRAM-SHA-512", "sasl.username": user}
    where = {"bootstrap.servers": mesh.endpoints["kafka_sasl"], "group.id": f"sub.{user}.test", "log_level": 0}
    consumer = Consumer({**where, **login, "sasl.password": password, "enable.partition.eof": True})
    try:
        # Assigned to what it may not read, the client would wait in silence; the topic's metadata says it.
        if (refused := consumer.list_topics(topic, 30).topics[topic].error) is not None:
            return refused.name()
        consumer.assign([TopicPartition(topic, number, 0) for number in range(4)])
        values: list[bytes] = []
        unread = 4
        while unread:
            message = consumer.poll(30)
            assert message is not None
            if (error := message.error()) is None:
                values.append(message.value())
            elif error.name() == "_PARTITION_EOF":
                unread -= 1
            else:
                return error.name()
        return values
    finally:
        consumer.close()


@pytest.mark.timeout(900)
def test_a10_a_district_is_accepted_by_its_anchor_only_and_stops_without_it(
    mesh: RunningMesh, far_mesh: RunningMesh, tmp_path: Path
) -> None:
    city, district = mesh, far_mesh
    code, city_code = f"{city.unique}d", f"{city.unique}city"
    feed = f"{code}.grid"
    keys = {name: of.done("identity") for name, of in (("city", city), ("district", district))}
    for name, key in keys.items():
        (tmp_path / f"{name}.pem").write_text(identity_of(city if name == "city" else district))
        assert key["fingerprint"] in (tmp_path / f"{name}.pem").read_text()
    assert keys["city"]["fingerprint"] != keys["district"]["fingerprint"]

    # The district provides: its own table, granted to the city, whose anchor it needs first.
    town = district.database(code)
    with database(town) as table:
        table.execute("CREATE TABLE grid (id int PRIMARY KEY, name text, region text)")
        table.execute("ALTER TABLE grid REPLICA IDENTITY FULL")
        table.execute(f"INSERT INTO grid SELECT n, 'g' || n, CASE WHEN n % 2 = 0 THEN '{OURS}' ELSE '{OTHER}' END"
                      " FROM generate_series(1, 60) n")  # fmt: skip
    district.done("onboard", district.agency(code, {"grid": contract(["id"], FIELDS)}))
    granted = mesh_subscriber(
        district.folder, city_code, keys["city"]["fingerprint"], feed=feed, columns=["name", "region"]
    )
    refused = district.run("onboard", granted)
    assert (refused.status, "is not uploaded here" in refused.err) == (1, True)
    assert anchor(district, "add", tmp_path / "city.pem", name="city").status == 0
    district.done("onboard", granted)

    # The city takes: not before the district's anchor is uploaded (and audited).
    source = {"name": "main", "kind": "mesh", "connection": "${MESH_FAR}"}
    source["options"] = {"anchor": keys["district"]["fingerprint"]}  # type: ignore[assignment]
    folder = write(city.folder / code, "agency.yaml", {"agency": code, "name": "天河区", "sources": [source]})
    write(folder, "grid.avsc", contract(["id"], FIELDS))
    variables = {"MESH_FAR": address(district, city_code)}
    refused = city.run("onboard", folder, **variables)
    assert (refused.status, "that mesh is not accepted" in refused.err) == (1, True)
    assert feed not in city.topics()
    assert anchor(city, "add", tmp_path / "district.pem", name=code).status == 0
    taken = city.run("onboard", folder, "--json", **variables)
    assert taken.status == 0, taken.err
    assert json.loads(taken.out)["feeds"][feed]["first_record_seconds"] is not None
    out = f"out.{city_code}.{feed}"
    until(lambda: len(positions(city, feed)) == 60, 60, "the district's rows")
    with database(town) as table:
        table.execute("UPDATE grid SET name = 'changed' WHERE id = 2; DELETE FROM grid WHERE id = 4")
        until(lambda: len(positions(city, feed)) == 62, 60, "what changed")
        assert positions(city, feed) == positions(district, out)  # HANDBOOK A10, invariant 2: the same positions

        # The district asks the city for its own rows, and gets no other's.
        reader = f"{city.unique}e"
        asked = mesh_subscriber(
            city.folder, reader, keys["district"]["fingerprint"], feed=feed, columns=["name", "region"],
            row_filter=f"region == '{OURS}'",
        )  # fmt: skip
        city.done("onboard", asked)
        served = f"out.{reader}.{feed}"
        until(lambda: len(positions(city, served)) >= 29, 60, "the district's own rows")
        rows = [
            row for one in city.seen(served) if one.value for row in (one.value["before"], one.value["after"]) if row
        ]
        assert {row["region"] for row in rows if row["region"]} == {OURS}
        assert all(row["id"] % 2 == 0 for row in rows)
        assert len(read_as(city, reader, served)) >= 29
        assert read_as(city, reader, feed) == "TOPIC_AUTHORIZATION_FAILED"

        # The anchor is removed: within five seconds nothing is taken and nothing given.
        assert anchor(city, "remove", keys["district"]["fingerprint"]).status == 0
        removed = time.monotonic()
        said = f"source {code}.main: its anchor {keys['district']['fingerprint']} is not uploaded here"
        until(lambda: said in city.said("capture"), 5, "capture stops, and says so")
        until(lambda: read_as(city, reader, served) == "TOPIC_AUTHORIZATION_FAILED", 5, "reading is refused")
        assert time.monotonic() - removed < 5
        count = len(positions(city, feed))
        table.execute(f"INSERT INTO grid SELECT n, 'late', '{OURS}' FROM generate_series(101, 140) n")
        until(lambda: len(positions(district, out)) == count + 40, 60, "the district goes on by itself")
        assert len(positions(city, feed)) == count
        assert audited(city, keys["district"]["fingerprint"]) == ["anchor added", "anchor removed"]

        # It is given back: what was missed comes, once.
        assert anchor(city, "add", tmp_path / "district.pem", name=code).status == 0
        until(lambda: len(positions(city, feed)) >= count + 40, 60, "what was missed")
        assert positions(city, feed) == positions(district, out)
        until(lambda: len(read_as(city, reader, served)) >= 69, 60, "and what the district missed")
    assert anchor(city, "remove", keys["district"]["fingerprint"]).status == 0
    assert anchor(district, "remove", keys["city"]["fingerprint"]).status == 0
