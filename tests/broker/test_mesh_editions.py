"""Grants that go on through another topic: moved to another sink, given again; and what a person asks of them there."""

from __future__ import annotations

from typing import Any

import yaml
from confluent_kafka.admin import AdminClient

from schemas.log.control.follower import read_directory
from tests.broker.test_mesh_grant_ends import joined
from tests.broker.test_outage import remove_all
from tests.broker.test_redelivery import done, listed
from tests.stage.running_mesh import RunningMesh, database, rows
from tests.stage.until import until


def test_a_grant_moved_to_another_sink_leaves_the_former_and_comes_back(mesh: RunningMesh) -> None:
    source, first, feed, grant_id = joined(mesh)
    subscriber, table = f"{mesh.unique}s", feed.replace(".", "_")
    second = mesh.database(f"{subscriber}2")
    path = mesh.folder / subscriber / "subscriber.yaml"

    def move(sink: str) -> None:
        told = yaml.safe_load(path.read_text())
        other = {"name": "other", "kind": "postgres", "connection": f"${{MESH_{subscriber.upper()}2_DSN}}"}
        told["sinks"] = [told["sinks"][0], other]
        told["grants"][0]["sink"] = sink
        path.write_text(yaml.safe_dump(told, allow_unicode=True))
        mesh.done("onboard", path.parent)

    def ended(topic: str) -> Any:
        found = read_directory(mesh.kafka).endings.get(topic)
        return found if found and found.acknowledged_at else None

    with database(source) as town:
        move("other")
        end = until(lambda: ended(f"out.{grant_id}"), 60, "the end at the former sink is confirmed")
        assert (end.sink, end.reason, end.removed) == ("main", "SUCCEEDED", 30)
        assert rows(first, table) == []
        mesh.verified(grant_id, 30)
        town.execute("UPDATE t SET name = 'moved' WHERE id = 1; DELETE FROM t WHERE id > 20")
        mesh.verified(grant_id, 20)
        assert (1, "moved", 1) in rows(second, table)
        assert rows(first, table) == [], "nothing more comes to the former sink"
        move("main")
        until(lambda: ended(f"out.{grant_id}-2"), 60, "the end at the other sink is confirmed")
        mesh.verified(grant_id, 20)
        assert (rows(second, table), len(rows(first, table))) == ([], 20)


def test_letters_and_replays_of_a_grant_given_again_are_those_of_its_present_topic(mesh: RunningMesh) -> None:
    source, target, feed, grant_id = joined(mesh)
    table = feed.replace(".", "_")

    def one_refused() -> str:
        with database(target) as town:
            town.execute(f"ALTER TABLE {table} ADD CONSTRAINT short CHECK (name <> 'bad')".encode())
        with database(source) as town:
            town.execute("UPDATE t SET name = 'bad' WHERE id = 1")
        (letter,) = until(lambda: listed(mesh, grant_id), 60, "a dead letter")
        return letter["letter"]

    first = one_refused()
    done(mesh, "drop", first)
    with database(source) as town, database(target) as at_target:
        town.execute("UPDATE t SET name = 'n' WHERE id = 1")
        assert mesh.run("grant", grant_id, "REVOKED").status == 0
        until(lambda: rows(target, table) == [], 60, "the rows are gone")
        at_target.execute(f"ALTER TABLE {table} DROP CONSTRAINT short".encode())
        assert mesh.run("grant", grant_id, "ACTIVE").status == 0
        mesh.verified(grant_id, 30)
        second = one_refused()
        assert (first, second) == (f"{grant_id}@0", f"{grant_id}-2@0")
        at_target.execute(f"ALTER TABLE {table} DROP CONSTRAINT short".encode())
        assert done(mesh, "retry", second)["letters"] == {second: "retried"}
        mesh.verified(grant_id, 30)
        at_target.execute(f"DELETE FROM {table}".encode())
        assert mesh.done("replay", grant_id)["grants"][grant_id]["whole"]
        mesh.verified(grant_id, 30)


def test_a_replay_of_what_the_topic_no_longer_holds_is_refused_and_comes_out_of_the_feed(mesh: RunningMesh) -> None:
    _, target, feed, grant_id = joined(mesh)
    table, topic = feed.replace(".", "_"), f"out.{grant_id}"
    remove_all(mesh, topic)
    with database(target) as at_target:
        at_target.execute(f"DELETE FROM {table} WHERE id <= 10".encode())
    refused = mesh.run("replay", grant_id, "--since", "2020-01-01T00:00")
    assert refused.status == 1
    assert "no longer holds" in refused.err
    words = refused.err.split("`")[1::2]
    assert words == [f"mesh replay {grant_id}", f"mesh grant {grant_id} REVOKED", f"mesh grant {grant_id} ACTIVE"]
    for command in words:
        ran = mesh.run(*command.split()[1:])
        assert ran.status == 0, ran.err
    mesh.verified(grant_id, 30)
    assert topic in AdminClient(mesh.kafka.client({})).list_topics(timeout=30).topics
