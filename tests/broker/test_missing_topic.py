"""A feed's topic that somebody deletes from Kafka stops that feed alone, and comes back by its fix."""

from __future__ import annotations

import re

import psycopg
from confluent_kafka.admin import AdminClient

from schemas.feed import dead_letter_topic
from schemas.log.kafka import Kafka
from tests.stage import feeds
from tests.stage.captured_tables import add, make, until_equal, until_flowing
from tests.stage.capturing import Rig
from tests.stage.running_mesh import RunningMesh, contract, database
from tests.stage.until import until


def delete(kafka: Kafka, topic: str) -> None:
    admin = AdminClient(kafka.client({}))
    for deleted in admin.delete_topics([topic], operation_timeout=30).values():
        deleted.result(30)
    until(lambda: topic not in admin.list_topics(timeout=10).topics, 30, f"{topic} is gone")


def test_a_deleted_topic_stops_its_feed_alone_until_it_is_there_again(rig: Rig, kafka: Kafka, dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as db:
        make(db, "t", "o")
        feed, other = add(rig, "t", "o")
        with rig.capturing():
            until_equal(rig, db, feed)
            until_equal(rig, db, other)
            rig.until_streaming()
            delete(kafka, feed)
            db.execute("INSERT INTO t VALUES (10, 'for nobody yet'); INSERT INTO o VALUES (10, 'flows')")
            stopped = rig.until_incident("feed", feed, "stopped", 120)
            assert "does not exist" in stopped.reason
            until_flowing(rig, db, other)
            db.execute("DELETE FROM t WHERE id = 1; UPDATE t SET name = 'meanwhile' WHERE id = 2")
            assert rig.incident("source", rig.source) is None
            feeds.create(kafka, feed)
            until_equal(rig, db, feed)
            rig.until_well("feed", feed)
            until_flowing(rig, db, feed)
            until_flowing(rig, db, other)


def test_a_deleted_topic_is_made_anew_by_the_fix_and_subscribers_get_what_they_lack(mesh: RunningMesh) -> None:
    agency, subscriber = f"{mesh.unique}a", f"{mesh.unique}s"
    source = mesh.database(agency)
    mesh.database(subscriber)
    mesh.agency(agency, {name: contract(["id"], {"id": "int", "name": "string"}) for name in ("t", "o")})
    feed, other = f"{agency}.t", f"{agency}.o"
    mesh.subscriber(subscriber, *({"feed": each, "columns": ["name"]} for each in (feed, other)))
    with database(source) as db:
        for name in ("t", "o"):
            db.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, name text)".encode())
            db.execute(
                f"ALTER TABLE {name} REPLICA IDENTITY FULL; INSERT INTO {name} VALUES (1, 'a'), (2, 'b')".encode()
            )
        mesh.done("onboard", mesh.folder)
        mesh.verified(feed, 2)
        mesh.verified(other, 2)
        delete(mesh.kafka, feed)
        db.execute(
            "INSERT INTO t VALUES (3, 'for nobody yet'); DELETE FROM t WHERE id = 1; INSERT INTO o VALUES (3, 'c')"
        )

        def stopped() -> str:
            listed = mesh.done("status", "--once")["incidents"]
            return next((each["fix"] for each in listed if (each["name"], each["state"]) == (feed, "stopped")), "")

        fix = until(stopped, 120, f"{feed} is stopped")
        mesh.verified(other, 3)
        command = re.findall(r"`mesh (\w+)` the folder of agency (\w+)", fix)
        assert command == [("onboard", agency)]
        mesh.done("onboard", mesh.folder / agency)
        mesh.verified(feed, 2)
        db.execute("INSERT INTO t VALUES (4, 'flows again'); INSERT INTO o VALUES (4, 'd')")
        mesh.verified(feed, 3)
        mesh.verified(other, 4)
        assert mesh.records(dead_letter_topic(feed)) == []
