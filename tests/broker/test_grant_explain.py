"""`mesh grant explain` on a running mesh: why one row is, or is not, at its subscriber, and never a personal value."""

from __future__ import annotations

from typing import Any

import pytest

from tests.broker.test_a7_requests import done
from tests.stage.running_mesh import RunningMesh, contract, database, rows
from tests.stage.until import until

FIELDS = {"id": "int", "name": "string", "score": "int", "secret": "string"}
CANARY = "canary 张三"


@pytest.mark.timeout(900)
def test_each_reason_why_a_row_is_or_is_not_at_its_subscriber_is_told_and_no_personal_value(mesh: RunningMesh) -> None:
    agency, subscriber = f"{mesh.unique}a", f"{mesh.unique}s"
    source, target = mesh.database(agency), mesh.database(subscriber)
    feed = f"{agency}.t"
    record = contract(["id"], FIELDS)
    record["fields"][1]["confluent:tags"] = ["PII", "L3"]
    mesh.agency(agency, {"t": record})
    grant = {"feed": feed, "columns": ["name", "score"], "row_filter": "score > 10", "mask": {"id": "HASH"}}
    plain = {
        "feed": feed,
        "columns": ["name"],
        "grant_id": f"{subscriber}.{feed}.plain",
        "row_filter": f"name != '{CANARY}'",
    }
    mesh.subscriber(subscriber, grant, plain)
    with database(source) as town:
        town.execute("CREATE TABLE t (id int PRIMARY KEY, name text, score int, secret text)")
        town.execute("ALTER TABLE t REPLICA IDENTITY FULL")
        town.execute("INSERT INTO t SELECT n, 'n' || n, n, 's' FROM generate_series(1, 30) n")
    mesh.done("onboard", mesh.folder)
    grant_id, plain_id, table = f"{subscriber}.{feed}", f"{subscriber}.{feed}.plain", feed.replace(".", "_")
    until(lambda: len(rows(target, table)) == 20, 60, "its rows")
    mesh.verified(plain_id, 30)

    def told(key: int, of: str = grant_id) -> Any:
        outcome = done(mesh, "explain", of, "--key", f"id={key}")
        assert CANARY not in str(outcome)
        return outcome

    def step(outcome: Any, name: str) -> Any:
        return next(each for each in outcome["steps"] if each["name"].startswith(name))

    there = until(lambda: found if (found := told(20))["is_there"] else None, 90, "it is acknowledged")
    assert there["verdict"] == "It is at the subscriber, as it is in the feed now."
    assert step(there, "columns")["told"] == "gets id (HASH), name, score; not secret"
    outside = told(5)
    assert (outside["is_there"], "outside the row filter score > 10 (score=5)" in outside["verdict"]) == (False, True)
    assert "has no such row" in told(999)["verdict"]

    with database(source) as town, database(target) as at_target:
        # Moved out of the filter, deleted, and hidden by a filter over personal data.
        town.execute("UPDATE t SET score = 1 WHERE id = 21; DELETE FROM t WHERE id = 22")
        town.execute("UPDATE t SET name = %s WHERE id = 23", (CANARY,))
        moved = until(lambda: found if "removed" in str(found := told(21)) else None, 90, "its removal")
        assert "reason OUT_OF_SCOPE" in step(moved, "topic")["told"]
        until(lambda: "deleted in its source" in told(22)["verdict"], 90, "its deletion")
        hidden = until(
            lambda: found if (found := told(23, plain_id))["is_there"] is False else None, 90, "it is outside"
        )
        assert "outside the row filter on name (name=•••)" in hidden["verdict"]

        # Refused by the subscriber's database.
        at_target.execute(f"ALTER TABLE {table}_plain ADD CONSTRAINT short CHECK (length(name) < 9)".encode())
        town.execute("UPDATE t SET name = 'much too long' WHERE id = 24")
        dead = until(
            lambda: found if "dead letter" in (found := told(24, plain_id))["verdict"] else None, 60, "the letter"
        )
        assert step(dead, "dead letters")["fix"].startswith(f"`mesh dlq show {plain_id}@")

        # Suspended: what came since waits; what was there before stays.
        done(mesh, "suspend", grant_id, "--reason", "检查")

        def changed() -> Any:  # what comes before it takes hold is still delivered
            town.execute("UPDATE t SET score = score + 1 WHERE id = 25")
            return found if "waits until it is resumed" in (found := told(25))["verdict"] else None

        waits = until(changed, 90, "the change waits")
        assert "SUSPENDED" in step(waits, "grant")["told"]
        assert told(26)["is_there"] is None
    done(mesh, "revoke", grant_id, "--reason", "终止")
    ended = until(
        lambda: found if "not confirmed" not in (found := told(26))["verdict"] else None, 90, "the end is confirmed"
    )
    assert "its rows were removed" in ended["verdict"]
    # What is no key is refused, in words.
    ran = mesh.run("grant", "explain", grant_id, "--key", "id=x")
    assert (ran.status, "the value of id is no int" in ran.err) == (1, True)
