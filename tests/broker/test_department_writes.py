"""Invariant 10: whatever is onboarded, the department's own UPDATE and DELETE go on working; what breaks them is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ops.onboarding.draft import draft
from ops.proof.compare import entitled
from producers.postgresql.link.link import connect
from producers.postgresql.onboarding.preflight import Finding, preflight
from producers.postgresql.read_back import rows as source_rows
from producers.postgresql.slot import Slot, slot_name
from schemas.agreement.grant import Grant
from schemas.errors import Misconfigured
from tests.stage.capturing import Rig, contract
from tests.stage.until import until

WRITES = ("UPDATE {} SET note = note || '!' WHERE id = 1", "DELETE FROM {} WHERE id = 2")


def refusals(rig: Rig, *columns: str, table: str = "t", **gov: Any) -> list[Finding]:
    """What `mesh check` and `mesh onboard` refuse a table for."""
    fields = dict.fromkeys(columns, "string") | {"id": "long"}
    agreed = contract(f"{rig.agency}.{table}", fields, **gov)
    return [finding for finding in preflight(rig.dsn, [agreed]) if finding.severity == "error"]


def published(db: psycopg.Connection[Any], rig: Rig) -> set[str]:
    query = "SELECT tablename FROM pg_publication_tables WHERE pubname = %s"
    return {name for (name,) in db.execute(query, (slot_name(rig.source),)).fetchall()}


def test_children_by_inheritance_stay_out_of_the_feed_and_writable(rig: Rig) -> None:
    feed = f"{rig.agency}.parent"
    agreed = contract(feed, {"id": "long", "note": "string"})
    with psycopg.connect(rig.dsn, autocommit=True) as db:
        db.execute("CREATE TABLE parent (id bigint PRIMARY KEY, note text)")
        db.execute("ALTER TABLE parent REPLICA IDENTITY FULL")
        db.execute("CREATE TABLE child (extra int) INHERITS (parent)")
        db.execute("INSERT INTO parent SELECT n, 'p' FROM generate_series(1, 4) n")
        db.execute("INSERT INTO child SELECT n, 'c', n FROM generate_series(1, 4) n")
        rig.add(agreed)
        with rig.capturing():
            rig.until_rows(feed, 4)
            rig.until_streaming()
            assert published(db, rig) == {"parent"}
            for statement in WRITES:
                db.execute(statement.format("child"))
                db.execute(statement.format("ONLY parent"))
            rows = until(lambda: r if len(r := rig.fold(feed)) == 3 else None, 60, "the delete has come")
        grant = Grant(
            subscriber="x", feed=feed, columns=("note",), purpose="核验", legal_basis="示例依据", grant_id=f"x.{feed}"
        )
        held = {key: (row["id"], row["note"]) for key, row in rows.items()}
        assert held == entitled(grant, agreed, source_rows(rig.dsn, agreed)), "verify compares with the table alone"


def test_children_that_came_with_their_parent_before_are_taken_out_at_the_next_start(rig: Rig) -> None:
    feed = f"{rig.agency}.parent"
    rig.add(contract(feed, {"id": "long", "note": "string"}))
    with psycopg.connect(rig.dsn, autocommit=True) as db:
        db.execute("CREATE TABLE parent (id bigint PRIMARY KEY, note text)")
        db.execute("CREATE TABLE child () INHERITS (parent)")
        db.execute("INSERT INTO child VALUES (1, 'c'), (2, 'c')")
        with rig.capturing():
            rig.until_streaming()
        db.execute(f"ALTER PUBLICATION {slot_name(rig.source)} ADD TABLE child")
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
            db.execute(WRITES[0].format("child"))
        with rig.capturing():
            until(lambda: published(db, rig) == {"parent"}, 60, "the child is out of the publication")
        for statement in WRITES:
            db.execute(statement.format("child"))


TABLES = {
    "deferrable": "CREATE TABLE t (id bigint PRIMARY KEY DEFERRABLE, note text)",
    "no_key": "CREATE TABLE t (id bigint NOT NULL, note text)",
    "nothing": "CREATE TABLE t (id bigint PRIMARY KEY, note text); ALTER TABLE t REPLICA IDENTITY NOTHING",
    "index_dropped": "CREATE TABLE t (id bigint PRIMARY KEY, note text); CREATE UNIQUE INDEX i ON t (id); "
    "ALTER TABLE t REPLICA IDENTITY USING INDEX i; DROP INDEX i",
    "virtual_column": "CREATE TABLE t (id bigint PRIMARY KEY, note text, loud text GENERATED ALWAYS AS (upper(note)) VIRTUAL);"
    "ALTER TABLE t REPLICA IDENTITY FULL",
    "virtual_column_and_deferrable": "CREATE TABLE t (id bigint PRIMARY KEY DEFERRABLE, note text, "
    "loud text GENERATED ALWAYS AS (upper(note)) VIRTUAL)",
    "leaf_without": "CREATE TABLE t (id bigint PRIMARY KEY, note text) PARTITION BY RANGE (id); "
    "CREATE TABLE l PARTITION OF t FOR VALUES FROM (0) TO (9); ALTER TABLE l REPLICA IDENTITY NOTHING",
    "full_root_virtual_leaf": "CREATE TABLE t (id bigint PRIMARY KEY, note text, loud text GENERATED ALWAYS AS (upper(note)) "
    "VIRTUAL) PARTITION BY RANGE (id); CREATE TABLE l PARTITION OF t FOR VALUES FROM (0) TO (9); "
    "ALTER TABLE l REPLICA IDENTITY FULL",
}


@pytest.mark.parametrize("made", TABLES.values(), ids=TABLES.keys())
def test_a_table_whose_writes_would_fail_is_refused_and_its_fix_works_to_the_letter(rig: Rig, made: str) -> None:
    with psycopg.connect(rig.dsn, autocommit=True) as db:
        db.execute(made.encode())
        db.execute("INSERT INTO t SELECT n, 'x' FROM generate_series(1, 3) n")
        db.execute("CREATE PUBLICATION before FOR TABLE ONLY t WITH (publish_via_partition_root = true)")
        with pytest.raises(psycopg.Error, match="cannot update table"):  # so it would go
            db.execute(WRITES[0].format("t"))
        db.execute("DROP PUBLICATION before")
        (refused,) = refusals(rig, "note")
        assert "updates and deletes would fail" in refused.message
        rig.add(contract(f"{rig.agency}.t", {"id": "long", "note": "string"}))
        with rig.capturing():
            rig.until_incident("feed", f"{rig.agency}.t", "stopped")
            db.execute(WRITES[0].format("t"))
        assert not published(db, rig)

        db.execute(refused.fix.encode())
        assert not refusals(rig, "note")
        with rig.capturing():
            rig.until_rows(f"{rig.agency}.t", 3)
            rig.until_streaming()
            for statement in WRITES:
                db.execute(statement.format("t"))
            rows = until(lambda: r if len(r := rig.fold(f"{rig.agency}.t")) == 2 else None, 60, "the delete has come")
    assert {row["note"] for row in rows.values()} == {"x", "x!!"}


def test_identity_that_goes_between_check_and_publication_is_seen_in_its_transaction(rig: Rig) -> None:
    entry = rig.add(contract(f"{rig.agency}.t", {"id": "long", "note": "string"}))
    with psycopg.connect(rig.dsn, autocommit=True) as db, connect(rig.dsn, name="test") as own:
        db.execute("CREATE TABLE t (id bigint NOT NULL, note text); INSERT INTO t VALUES (1, 'x'), (2, 'y')")
        slot = Slot(own, rig.source)
        with pytest.raises(Misconfigured, match="updates and deletes would fail"):
            slot.publish({entry.feed: entry})
        assert not published(db, rig)
        for statement in WRITES:
            db.execute(statement.format("t"))
        db.execute("ALTER TABLE t REPLICA IDENTITY FULL")
        slot.publish({entry.feed: entry})
        assert published(db, rig) == {"t"}


def test_key_is_without_the_columns_that_an_index_only_includes(rig: Rig, tmp_path: Path) -> None:
    feed = f"{rig.agency}.t"
    rig.add(contract(feed, {"id": "long", "x": "string", "note": "string"}))
    with psycopg.connect(rig.dsn, autocommit=True) as db:
        db.execute("CREATE TABLE t (x text NOT NULL, id bigint, note text, PRIMARY KEY (id) INCLUDE (x))")
        db.execute("INSERT INTO t VALUES ('a', 1, 'n'), ('b', 2, 'n')")
        draft(rig.dsn, ["t"], tmp_path, rig.agency)
        assert json.loads((tmp_path / "t.avsc").read_text())["gov"]["key"] == ["id"]
        with rig.capturing():
            rig.until_rows(feed, 2)
            rig.until_streaming()
            db.execute("UPDATE t SET id = 3, x = 'c' WHERE id = 1")
            db.execute("DELETE FROM t WHERE id = 2")
            rows = until(lambda: r if len(r := rig.fold(feed)) == 1 else None, 60, "the delete has come")
    assert rows[(3,)] == {"id": 3, "x": "c", "note": "n"}


def test_contract_key_that_the_log_does_not_have_of_an_old_row_is_refused(rig: Rig) -> None:
    with psycopg.connect(rig.dsn, autocommit=True) as db:
        db.execute("CREATE TABLE t (id bigint, x text NOT NULL, note text, PRIMARY KEY (id) INCLUDE (x))")
        db.execute("CREATE TABLE u (id bigint PRIMARY KEY, other text NOT NULL UNIQUE, note text)")
        db.execute("ALTER TABLE u REPLICA IDENTITY USING INDEX u_other_key")
    (of_t,) = refusals(rig, "x", "note", key=["id", "x"])
    assert "not within public.t's replica identity (id)" in of_t.message
    (of_u,) = refusals(rig, "other", "note", table="u")
    assert "not within public.u's replica identity (other)" in of_u.message
    with psycopg.connect(rig.dsn, autocommit=True) as db:
        db.execute((of_t.fix + of_u.fix).encode())
    assert not refusals(rig, "x", "note", key=["id", "x"])
    assert not refusals(rig, "other", "note", table="u")


def test_partitions_whose_changes_are_in_no_log_are_refused(rig: Rig) -> None:
    with psycopg.connect(rig.dsn, autocommit=True) as db:
        db.execute("CREATE TABLE t (id bigint PRIMARY KEY, note text) PARTITION BY RANGE (id)")
        db.execute("CREATE UNLOGGED TABLE l (id bigint PRIMARY KEY, note text)")
        db.execute("ALTER TABLE t ATTACH PARTITION l FOR VALUES FROM (0) TO (9)")
        (refused,) = refusals(rig, "note")
        assert "not logged" in refused.message
        db.execute(refused.fix.encode())
    assert not refusals(rig, "note")
