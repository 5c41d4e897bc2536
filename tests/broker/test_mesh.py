"""The mesh as departments, subscribers and operators meet it: `mesh up` on real servers, the command line, their databases."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from confluent_kafka.schema_registry import SchemaRegistryClient

from tests.stage import feeds
from tests.stage.running_mesh import ARRIVES_WITHIN_SECONDS, RunningMesh, changing, contract, database, rows
from tests.stage.until import until

TOWN = """
CREATE TABLE enterprise (ent_id text PRIMARY KEY, trade text, district text NOT NULL, capital numeric(18,2), founded date,
    seen timestamptz, active boolean, tags text[], doc json);
COMMENT ON TABLE enterprise IS '企业'; ALTER TABLE enterprise REPLICA IDENTITY FULL;
INSERT INTO enterprise SELECT 'E' || n, 'trade ' || n, '44010' || n % 3, n * 1.01, date '2016-01-01' + n, now(), n % 2 = 0,
    ARRAY['a', n::text], '{"n": 1}' FROM generate_series(1, 300) n;
"""
CHANGES = """
INSERT INTO enterprise (ent_id, trade, district) SELECT 'N' || n, 'new', '440101' FROM generate_series(1, 50) n;
UPDATE enterprise SET trade = trade || ' ltd', capital = capital + 1, tags = NULL WHERE ent_id < 'E2';
DELETE FROM enterprise WHERE ent_id BETWEEN 'E5' AND 'E6';
UPDATE enterprise SET ent_id = 'K' || ent_id WHERE ent_id BETWEEN 'E7' AND 'E8';
"""
COLUMNS = ["trade", "district", "capital", "founded", "seen", "active", "tags", "doc"]


def test_a_department_joins_from_its_live_database(mesh: RunningMesh) -> None:
    agency, first, later = f"{mesh.unique}a", f"{mesh.unique}s", f"{mesh.unique}t"
    source, at_first = mesh.database(agency), mesh.database(first)
    mesh.database(later)
    with database(source) as town:
        town.execute(TOWN)

    folder, feed = mesh.folder / agency, f"{agency}.enterprise"
    mesh.done("draft", f"${{MESH_{agency.upper()}_DSN}}", "--agency", agency, "--into", folder)
    assert mesh.done("check", folder)["feeds"][0]["standing"] == "new"
    outcome = mesh.done("onboard", folder)
    assert 0 < outcome["feeds"][feed]["first_record_seconds"] < ARRIVES_WITHIN_SECONDS  # HANDBOOK A1

    grant = {"feed": feed, "columns": COLUMNS}
    mesh.done("check", mesh.subscriber(first, grant))
    mesh.done("onboard", mesh.folder / first)
    mesh.verified(feed, 300)
    with database(source) as town:
        town.execute(CHANGES)
        mesh.verified(feed)
        town.execute("TRUNCATE enterprise; INSERT INTO enterprise (ent_id, district) VALUES ('only', '440100')")
        mesh.verified(feed, 1)
        assert [row[0] for row in rows(at_first, f"{agency}_enterprise")] == ["only"]

    # A subscriber that comes to a quiet feed gets its past.
    mesh.done("onboard", mesh.subscriber(later, grant))
    mesh.verified(f"{later}.{feed}", 1)

    # A table that comes later, while changes to both go on.
    with database(source) as town:
        town.execute("CREATE TABLE permit (id int PRIMARY KEY, note text); ALTER TABLE permit REPLICA IDENTITY FULL;")
        town.execute("INSERT INTO permit SELECT n, 'note ' || n FROM generate_series(1, 2000) n")
    both = """WITH p AS (INSERT INTO permit VALUES (2000 + %(n)s, 'late')), q AS (UPDATE permit SET note = 'u' WHERE id = %(n)s)
              INSERT INTO enterprise (ent_id, district) VALUES ('late ' || %(n)s, '440100')"""
    with changing(source, both):
        mesh.done(
            *("draft", f"${{MESH_{agency.upper()}_DSN}}", "--agency", agency, "--into", folder),
            *("--table", "public.permit"),
        )
        mesh.done("onboard", folder)
        mesh.done("onboard", mesh.subscriber(first, grant, {"feed": f"{agency}.permit", "columns": ["note"]}))
        until(lambda: len(rows(at_first, f"{agency}_permit")) > 2000, ARRIVES_WITHIN_SECONDS, "permits")
    mesh.verified(feed)
    mesh.verified(f"{agency}.permit")


def registered(mesh: RunningMesh, topic: str) -> list[list[str]]:
    """The columns of every version of a topic's row."""
    with SchemaRegistryClient({"url": mesh.endpoints["registry"]}) as client:
        subject = f"{topic}-value"
        versions = [client.get_version(subject, number).schema.schema_str for number in client.get_versions(subject)]
    envelopes = [json.loads(text) for text in versions]
    return [[field["name"] for field in envelope["fields"][0]["type"][1]["fields"]] for envelope in envelopes]


def test_a_column_that_comes_later_reaches_nobody_until_it_is_granted(mesh: RunningMesh) -> None:
    agency, subscriber = f"{mesh.unique}a", f"{mesh.unique}s"
    source, target = mesh.database(agency), mesh.database(subscriber)
    feed, out = f"{agency}.t", f"out.{subscriber}.{agency}.t"
    with database(source) as town:
        town.execute("CREATE TABLE t (id int PRIMARY KEY, a text, b text); ALTER TABLE t REPLICA IDENTITY FULL")
        town.execute("INSERT INTO t SELECT n, 'a', 'b' FROM generate_series(1, 20) n")
        fields = {"id": "int", "a": "string", "b": "string"}
        mesh.agency(agency, {"t": contract(["id"], fields)})
        mesh.subscriber(subscriber, {"feed": feed, "columns": ["a"]})
        mesh.done("onboard", mesh.folder)
        mesh.verified(feed, 20)

        town.execute("ALTER TABLE t ADD secret text DEFAULT 'sss'")
        town.execute("UPDATE t SET secret = 'ssh', a = 'a2' WHERE id < 5")
        mesh.agency(agency, {"t": contract(["id"], {**fields, "secret": "string"})})
        standing = mesh.done("check", mesh.folder / agency)["feeds"][0]
        assert (standing["standing"], standing["added"]) == ("successor", ["secret"])
        mesh.done("onboard", mesh.folder / agency)
        town.execute("UPDATE t SET secret = 'tell', a = 'a3' WHERE id < 10")
        mesh.verified(feed, 20)
    until(
        lambda: any((seen.value or {}).get("after", {}).get("secret") == "tell" for seen in mesh.seen(feed)), 30, "it"
    )

    # HANDBOOK A3: {a} and the key, in the registry, on the topic, at the subscriber.
    assert registered(mesh, out) == [["id", "a"]]
    for seen in mesh.seen(out):
        for row in (seen.value["before"], seen.value["after"]) if seen.value else ():
            assert row is None or set(row) == {"id", "a"}
    assert {len(row) for row in rows(target, f"{agency}_t")} == {2}

    mesh.done("onboard", mesh.subscriber(subscriber, {"feed": feed, "columns": ["a", "secret"]}))
    mesh.verified(feed, 20)
    assert rows(target, f"{agency}_t")[0] == (1, "a3", "tell")
    assert registered(mesh, out) == [["id", "a"], ["id", "a", "secret"]]


def test_a_row_that_moves_leaves_the_old_district_and_appears_at_the_new_one(mesh: RunningMesh) -> None:
    agency, districts = f"{mesh.unique}a", {f"{mesh.unique}d{number}": f"44010{number}" for number in (1, 2)}
    old, new = districts
    source = mesh.database(agency)
    targets = {code: mesh.database(code) for code in districts}
    feed, table = f"{agency}.firm", f"{agency}_firm"
    mesh.agency(agency, {"firm": contract(["id"], {"id": "string", "name": "string", "district": "string"})})
    for code, district in districts.items():
        mesh.subscriber(code, {"feed": feed, "columns": ["name"], "row_filter": f"district == '{district}'"})
    with database(source) as town:
        town.execute("CREATE TABLE firm (id text PRIMARY KEY, name text, district text)")
        town.execute("ALTER TABLE firm REPLICA IDENTITY FULL")
        town.execute("INSERT INTO firm SELECT n, 'n' || n, '44010' || n % 4 FROM generate_series(1, 40) n")
        mesh.done("onboard", mesh.folder)
        mesh.verified(feed, 10)
        town.execute("UPDATE firm SET district = '440102' WHERE id = '1'")
        town.execute("DELETE FROM firm WHERE id = '5'")
        mesh.verified(feed)
    assert ("1", "n1") not in rows(targets[old], table)
    assert ("1", "n1") in rows(targets[new], table)

    left, gone, came = history(mesh, old, feed, "1"), history(mesh, old, feed, "5"), history(mesh, new, feed, "1")
    assert [(change["op"], headers.get("reason")) for change, headers in left[1:]] == [("d", "OUT_OF_SCOPE")]
    assert left[-1][0]["before"] == {"id": "1", "name": "n1"}  # the key and granted columns, no more
    assert [(change["op"], headers.get("reason")) for change, headers in gone[1:]] == [("d", "SOURCE_DELETED")]
    assert [(change["op"], change["after"]["name"]) for change, _ in came] == [("c", "n1")]
    for _, headers in [*left, *gone, *came]:
        assert headers["purpose"] == "核验"
    assert came[0][1]["grant_id"] == f"{new}.{feed}"

    # The department's own feed says what happened, not what somebody may see of it.
    firm = [seen.value for seen in mesh.seen(feed) if seen.key == {"id": "1"} and seen.value]
    assert [change["op"] for change in firm] == ["r", "u"]
    assert (firm[1]["before"]["district"], firm[1]["after"]["district"]) == ("440101", "440102")


def history(mesh: RunningMesh, subscriber: str, feed: str, key: str) -> list[tuple[dict[str, Any], Mapping[str, str]]]:
    """The changes of one row on a subscriber's topic; each removal must be followed by its tombstone."""
    seen = [one for one in mesh.seen(f"out.{subscriber}.{feed}") if one.key == {"id": key}]
    for change, next_one in zip(seen, [*seen[1:], None], strict=True):
        if change.value and change.value["op"] == "d":
            assert next_one is not None
            assert next_one.value is None
    return [(dict(one.value), one.headers) for one in seen if one.value]


def test_a6_an_ended_grant_stops_its_running_feed_within_five_seconds(mesh: RunningMesh) -> None:
    agency, subscriber = f"{mesh.unique}a", f"{mesh.unique}s"
    source, target = mesh.database(agency), mesh.database(subscriber)
    feed = f"{agency}.t"
    fields = {"id": "int", "a": "string", "b": "string"}
    mesh.agency(agency, {"t": contract(["id"], fields)})
    stays, revoked, expires = (f"{subscriber}.{feed}{purpose}" for purpose in ("", ".audit", ".survey"))
    plain = {"feed": feed, "columns": ["a"]}
    audit = {"feed": feed, "columns": ["b"], "grant_id": revoked, "purpose": "审计"}
    survey = {"feed": feed, "columns": ["a", "b"], "grant_id": expires, "purpose": "普查"}
    mesh.subscriber(subscriber, plain, audit, survey)
    with database(source) as town:
        town.execute("CREATE TABLE t (id int PRIMARY KEY, a text, b text); ALTER TABLE t REPLICA IDENTITY FULL")
        town.execute("INSERT INTO t VALUES (0, 'a', 'b')")
    mesh.done("onboard", mesh.folder)
    # HANDBOOK A5: a second purpose is a grant of its own, with its own topic and table.
    mesh.verified(feed, 1)
    assert rows(target, f"{agency}_t") == [(0, "a")]
    assert rows(target, f"{agency}_t_audit") == [(0, "b")]

    with changing(source, "INSERT INTO t VALUES (%(n)s, 'a', 'b')"):
        for grant in (stays, revoked, expires):
            until(lambda out=f"out.{grant}": newest(mesh, out) > 0, 30, "it flows")
        ends_at = datetime.now(UTC) + timedelta(seconds=4)
        mesh.done("onboard", mesh.subscriber(subscriber, plain, audit, {**survey, "valid_to": ends_at.isoformat()}))
        ends = max(ends_at.timestamp(), time.time())  # on a slow machine it is over before the mesh knows of it
        ran = mesh.run("grant", revoked, "REVOKED")
        assert (ran.status, ran.out.strip()) == (0, f"{revoked} is REVOKED")
        # HANDBOOK A6: five seconds later at most, while the third goes on.
        latest = {revoked: time.time() + 5, expires: ends + 5}
        until(lambda: newest(mesh, f"out.{stays}") > max(latest.values()) + 1, 60, "the third grant goes on")
        for grant, stopped in latest.items():
            assert newest(mesh, f"out.{grant}") <= stopped, grant
    # Of the feed's three grants one is left to be compared.
    mesh.verified(feed)
    assert len(rows(target, f"{agency}_t_audit")) < len(rows(target, f"{agency}_t"))

    # Onboarding again, of what does not speak of it, gives nothing back.
    again = mesh.done("onboard", mesh.subscriber(subscriber, plain, audit))
    assert any(f"{revoked} stays REVOKED" in notice for notice in again["notices"])
    assert any(f"{expires} is not in the folder" in notice for notice in again["notices"])
    count = len(rows(target, f"{agency}_t_audit"))
    with database(source) as town:
        town.execute("INSERT INTO t VALUES (-1, 'a', 'b')")
    mesh.verified(stays)
    assert len(rows(target, f"{agency}_t_audit")) == count
    # It comes back with what it missed.
    assert mesh.run("grant", revoked, "ACTIVE").status == 0
    mesh.verified(revoked)


def newest(mesh: RunningMesh, topic: str) -> float:
    """When the last record of a topic came to the broker, in Unix seconds; 0 while there is only the snapshot's."""
    found = feeds.read_all(mesh.kafka, [topic]).values()
    times = [message.timestamp()[1] / 1000 for partition in found for message in partition]
    return max(times) if len(times) > 1 else 0
