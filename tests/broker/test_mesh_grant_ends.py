"""What a subscriber may no longer have, it no longer has (invariant 11): grants revoked, expired, given again, masked otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.feed import AUDIT
from schemas.log.control.follower import read_directory
from schemas.log.control.records import read_all
from tests.stage.running_mesh import RunningMesh, contract, database, rows
from tests.stage.until import until

FIELDS = {"id": "int", "name": "string", "score": "int"}
TABLE = "CREATE TABLE t (id int PRIMARY KEY, name text, score int); ALTER TABLE t REPLICA IDENTITY FULL"


def ending(mesh: RunningMesh, topic: str) -> Any:
    """The confirmed end of a topic, if it is."""
    found = read_directory(mesh.kafka).endings.get(topic)
    return found if found and found.acknowledged_at else None


def joined(mesh: RunningMesh, **grant: Any) -> tuple[str, str, str, str]:
    """Source, target, feed and grant id of a subscription that is being delivered, with 30 rows."""
    agency, subscriber = f"{mesh.unique}a", f"{mesh.unique}s"
    source, target = mesh.database(agency), mesh.database(subscriber)
    feed = f"{agency}.t"
    mesh.agency(agency, {"t": contract(["id"], FIELDS)})
    mesh.subscriber(subscriber, {"feed": feed, "columns": ["name", "score"], **grant})
    with database(source) as town:
        town.execute(TABLE)
        town.execute("INSERT INTO t SELECT n, 'n' || n, n FROM generate_series(1, 30) n")
    mesh.done("onboard", mesh.folder)
    mesh.verified(feed)
    return source, target, feed, f"{subscriber}.{feed}"


def audited(mesh: RunningMesh, grant_id: str) -> list[Mapping[str, Any]]:
    lines = [line for _, _, line in read_all(mesh.kafka, [AUDIT])]
    return [line for line in lines if line["subject"] == grant_id and line["what"] == "grant ended"]


def test_a_revoked_grant_takes_its_rows_back_and_given_again_is_filled_anew(mesh: RunningMesh) -> None:
    source, target, feed, grant_id = joined(mesh)
    table = feed.replace(".", "_")
    assert mesh.run("grant", grant_id, "REVOKED").status == 0
    until(lambda: rows(target, table) == [], 10, "the rows are gone")
    end = until(lambda: ending(mesh, f"out.{grant_id}"), 10, "the end is confirmed")
    assert (end.reason, end.removed) == ("REVOKED", 30)
    (line,) = audited(mesh, grant_id)
    assert (line["reason"], line["removed"]) == ("REVOKED", 30)

    with database(source) as town:
        town.execute("DELETE FROM t WHERE id <= 10; UPDATE t SET name = 'new' WHERE id = 20")
        town.execute("INSERT INTO t VALUES (31, 'n31', 31)")
        assert mesh.run("grant", grant_id, "ACTIVE").status == 0
        mesh.verified(grant_id, 21)
        assert (20, "new", 20) in rows(target, table)
        # Once more, and nobody mistakes the second end for the first.
        assert mesh.run("grant", grant_id, "REVOKED").status == 0
        until(lambda: rows(target, table) == [], 10, "the rows are gone again")
        town.execute("INSERT INTO t VALUES (32, 'n32', 32)")
        assert mesh.run("grant", grant_id, "ACTIVE").status == 0
        mesh.verified(grant_id, 22)


def test_a_suspended_grant_keeps_its_rows_and_misses_no_removal(mesh: RunningMesh) -> None:
    source, target, feed, grant_id = joined(mesh, row_filter="score > 5")
    table = feed.replace(".", "_")
    assert mesh.run("grant", grant_id, "SUSPENDED").status == 0
    with database(source) as town:
        town.execute(
            "DELETE FROM t WHERE id = 10; UPDATE t SET score = 0 WHERE id = 20; UPDATE t SET score = 9 WHERE id = 1"
        )
    assert len(rows(target, table)) == 25
    assert mesh.run("grant", grant_id, "ACTIVE").status == 0
    mesh.verified(grant_id, 24)
    assert ending(mesh, f"out.{grant_id}") is None


def test_a_grant_may_say_that_its_rows_are_kept(mesh: RunningMesh) -> None:
    source, target, feed, grant_id = joined(mesh, at_end="keep")
    table = feed.replace(".", "_")
    assert mesh.run("grant", grant_id, "REVOKED").status == 0
    end = until(lambda: ending(mesh, f"out.{grant_id}"), 10, "the end is confirmed")
    assert (end.at_end, end.removed) == ("keep", None)
    assert len(rows(target, table)) == 30
    with database(source) as town:
        town.execute("DELETE FROM t WHERE id <= 10")
    assert mesh.run("grant", grant_id, "ACTIVE").status == 0
    mesh.verified(grant_id, 20)


def test_an_expired_grant_takes_its_rows_back(mesh: RunningMesh) -> None:
    _, target, feed, grant_id = joined(mesh)
    subscriber, table, topic = f"{mesh.unique}s", feed.replace(".", "_"), f"out.{grant_id}"
    ends = datetime.now(UTC) + timedelta(seconds=8)
    grant = {"feed": feed, "columns": ["name", "score"]}
    mesh.done("onboard", mesh.subscriber(subscriber, {**grant, "valid_to": ends.isoformat()}))
    until(lambda: rows(target, table) == [], 30, "the rows are gone")
    assert until(lambda: ending(mesh, topic), 10, "the end is confirmed").reason == "EXPIRED"
    # A later end gives it again, through a topic of its own.
    later = datetime.now(UTC) + timedelta(days=1)
    mesh.done("onboard", mesh.subscriber(subscriber, {**grant, "valid_to": later.isoformat()}))
    mesh.verified(grant_id, 30)


def test_a_number_that_is_hashed_now_is_delivered_anew_and_its_old_values_are_gone(mesh: RunningMesh) -> None:
    source, target, feed, _ = joined(mesh)
    subscriber, table = f"{mesh.unique}s", feed.replace(".", "_")
    masked = {"feed": feed, "columns": ["name", "score"], "mask": {"score": "HASH"}}
    mesh.done("onboard", mesh.subscriber(subscriber, masked))

    def hashed() -> bool:
        found = rows(target, table)
        return len(found) == 30 and all(isinstance(score, str) and len(score) == 64 for _, _, score in found)

    until(hashed, 60, "every row has a hash for its number")
    with database(source) as town:
        town.execute("DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (31, 'n31', 2)")
    until(lambda: len({score for *_, score in rows(target, table)}) == 29, 30, "equal numbers have equal hashes")


def test_a_grant_that_is_over_holds_nobody(mesh: RunningMesh) -> None:
    source, _, feed, grant_id = joined(mesh)
    agency, subscriber = f"{mesh.unique}a", f"{mesh.unique}s"
    assert mesh.run("grant", grant_id, "REVOKED").status == 0
    other = mesh.subscriber(f"{mesh.unique}t", {"feed": feed, "columns": ["name"]})
    mesh.database(f"{mesh.unique}t")
    mesh.done("onboard", other)
    with database(source) as town:
        mesh.agency(agency, {"t": contract(["id"], {"id": "int", "name": "string"})})
        mesh.done("onboard", mesh.folder)  # also with the subscriber's folder, which still names the column
        town.execute("ALTER TABLE t DROP COLUMN score; INSERT INTO t VALUES (31, 'n31')")
    mesh.verified(f"{mesh.unique}t.{feed}", 31)
    ran = mesh.run("grant", grant_id, "ACTIVE")
    assert (ran.status, "its feed has no score any more" in ran.err) == (1, True)
    mesh.done("onboard", mesh.subscriber(subscriber, {"feed": feed, "columns": ["name"]}))
    assert mesh.run("grant", grant_id, "ACTIVE").status == 0
    mesh.verified(grant_id, 31)
