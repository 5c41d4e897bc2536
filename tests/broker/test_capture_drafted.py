"""From a live table through its drafted contract into its feed: names, keys, partitions and types as departments have them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg

from ops.onboarding.draft import draft
from schemas.contract import Contract
from tests.stage.capturing import Rig
from tests.stage.until import until


def drafted(rig: Rig, folder: Path, *, lossless: bool = False) -> dict[str, Contract]:
    """Drafts of all tables, onboarded, by table; the feed is `contract.feed`."""
    outcome = draft(rig.dsn, [], folder, rig.agency, lossless=lossless)
    assert [finding for finding in outcome.findings if finding.severity == "error"] == []
    found: dict[str, Contract] = {}
    for path in folder.glob("*.avsc"):
        agreed = Contract.parse(json.loads(path.read_text("utf-8")), f"{rig.agency}.{path.stem}")
        rig.add(agreed, partitions=2)
        found[agreed.table] = agreed
    return found


def by_column(agreed: Contract, row: Any) -> dict[str, Any]:
    return {agreed.by_name[name].column: value for name, value in row.items()}


NAMED = """
CREATE SCHEMA "市 政";
CREATE TABLE "市 政"."企业 Register.v2" (
  gone text, "Full Name" text, "序号" int, "UPPER" text, old int, "select" text, "quo""te" text, "it's 100%" text,
  "back\\slash{}" text, "2x" int, "统一代码" text, doubled int GENERATED ALWAYS AS ("2x" * 2) STORED, note text,
  seen int GENERATED ALWAYS AS ("2x" + 1) VIRTUAL, PRIMARY KEY ("统一代码", "序号"));
ALTER TABLE "市 政"."企业 Register.v2" DROP COLUMN gone, DROP COLUMN old;
"""


def test_names_keys_holes_and_generated_columns(rig: Rig, dsn: str, tmp_path: Path) -> None:
    insert = (
        'INSERT INTO "市 政"."企业 Register.v2" ("Full Name", "序号", "UPPER", "select", "quo""te", "it\'s 100%%", '
        "\"back\\slash{}\", \"2x\", \"统一代码\", note) VALUES ('n', %s, 'U', 's', 'q', 'i', 'b', 2, '代码', '备注')"
    )
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute(NAMED.encode())
        db.execute(insert, (1,))
        (agreed,) = drafted(rig, tmp_path).values()
        assert agreed.table == "市 政.企业 Register.v2"
        with rig.capturing():
            rig.until_rows(agreed.feed, 1)
            rig.until_streaming()
            db.execute(insert, (2,))
            db.execute(insert, (3,))
            db.execute('UPDATE "市 政"."企业 Register.v2" SET note = \'新\' WHERE "序号" = 2')
            db.execute('UPDATE "市 政"."企业 Register.v2" SET "序号" = 4 WHERE "序号" = 1')
            db.execute('DELETE FROM "市 政"."企业 Register.v2" WHERE "序号" = 3')
            until(lambda: set(rig.fold(agreed.feed)) == {("代码", 2), ("代码", 4)}, 60, "all changes")
    rows = {key: by_column(agreed, row) for key, row in rig.fold(agreed.feed).items()}
    expected = {
        "Full Name": "n", "序号": 4, "UPPER": "U", "select": "s", 'quo"te': "q", "it's 100%": "i", "back\\slash{}": "b",
        "2x": 2, "统一代码": "代码", "note": "备注",
    }  # fmt: skip
    assert rows["代码", 4] == expected
    assert rows["代码", 2] == expected | {"序号": 2, "note": "新"}


PARTITIONED = """
CREATE SCHEMA ops;
CREATE TABLE ops.whole (area int, at date, name text, PRIMARY KEY (at, area)) PARTITION BY RANGE (area);
CREATE TABLE ops.first PARTITION OF ops.whole FOR VALUES FROM (0) TO (10);
CREATE TABLE ops.second (hole text, name text, at date NOT NULL, area int NOT NULL) ;
ALTER TABLE ops.second DROP COLUMN hole;
ALTER TABLE ops.whole ATTACH PARTITION ops.second FOR VALUES FROM (10) TO (20);
CREATE TABLE ops.rest PARTITION OF ops.whole DEFAULT PARTITION BY LIST (area);
CREATE TABLE ops.deep PARTITION OF ops.rest DEFAULT;
INSERT INTO ops.whole VALUES (1, '2024-01-01', 'a'), (11, '2024-01-02', 'b'), (99, '2024-01-03', 'c');
"""


def test_partitions_of_any_shape_are_one_feed(rig: Rig, dsn: str, tmp_path: Path) -> None:
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute(PARTITIONED.encode())
        (agreed,) = drafted(rig, tmp_path).values()
        assert (agreed.table, agreed.key) == ("ops.whole", ("at", "area"))
        with rig.capturing():
            rig.until_rows(agreed.feed, 3)
            rig.until_streaming()
            db.execute("INSERT INTO ops.whole SELECT area + 1, at, name || '2' FROM ops.whole")
            db.execute("UPDATE ops.whole SET area = 12 WHERE area = 1")  # into another partition: delete and insert
            db.execute("DELETE FROM ops.whole WHERE area = 99")
            until(
                lambda: set(named(rig, agreed)) == {(12, "a"), (2, "a2"), (11, "b"), (12, "b2"), (100, "c2")}, 60, "all"
            )


def named(rig: Rig, agreed: Contract) -> list[tuple[int, str]]:
    return [(row["area"], row["name"]) for row in rig.fold(agreed.feed).values()]


TYPED = """
CREATE TYPE mood AS ENUM ('ok');
CREATE TYPE pair AS (a int, b text);
CREATE TYPE "text" AS (a int, b text);
CREATE TYPE secret; CREATE TYPE mute;
CREATE FUNCTION secret_in(cstring) RETURNS secret LANGUAGE internal IMMUTABLE STRICT AS 'int4in';
CREATE FUNCTION secret_out(secret) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'int4out';
CREATE FUNCTION secret_send(secret) RETURNS bytea LANGUAGE internal IMMUTABLE STRICT AS 'int4send';
CREATE TYPE secret (INPUT = secret_in, OUTPUT = secret_out, SEND = secret_send, LIKE = int4);
CREATE FUNCTION mute_in(cstring) RETURNS mute LANGUAGE internal IMMUTABLE STRICT AS 'int4in';
CREATE FUNCTION mute_out(mute) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'int4out';
CREATE TYPE mute (INPUT = mute_in, OUTPUT = mute_out, LIKE = int4);
CREATE TABLE typed (id int PRIMARY KEY, mood mood, pair pair, posing public."text", secret secret, secrets secret[], mute mute,
  acl aclitem, class regclass, span tstzrange, grid int[], words tsvector);
"""
ROW = """
INSERT INTO typed SELECT %s, 'ok', ROW(1, 'x,"y')::pair, ROW(2, 'z')::public."text", '7', '{{8,NULL}}', '9',
  makeaclitem(10, 10, 'SELECT', false), 'pg_type', '[2024-01-01,infinity)', {grid}, 'fat cat'"""


def test_types_without_a_mapping_go_as_sent_and_types_may_grow(rig: Rig, dsn: str, tmp_path: Path) -> None:
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute(TYPED.encode())
        db.execute(ROW.format(grid="'{1}'"), (1,))
        (agreed,) = drafted(rig, tmp_path).values()
        kinds = {field.name: field.branches[0] for field in agreed.fields}
        assert (kinds["secret"], kinds["mute"], kinds["acl"], kinds["class"]) == ("bytes", "string", "string", "long")
        with rig.capturing():
            rig.until_rows(agreed.feed, 1)
            rig.until_streaming()
            db.execute(ROW.format(grid="'{1}'"), (2,))
            db.execute(ROW.format(grid="'{{1},{2}}'"), (3,))
            db.execute("ALTER TYPE pair ADD ATTRIBUTE c numeric")
            db.execute("ALTER TYPE mood ADD VALUE 'new'")
            db.execute("UPDATE typed SET mood = 'new', pair.c = 1.50 WHERE id = 2")
            db.execute("INSERT INTO typed (id) VALUES (4)")
            rig.until_rows(agreed.feed, 3)
            said = db.execute("SELECT acl::text, 'pg_type'::regclass::oid::int8 FROM typed WHERE id = 1").fetchone()
    assert said is not None
    changes = sorted(rig.changes(agreed.feed), key=lambda change: change.position)
    copied, logged, grown = (dict(change.after or {}) for change in changes[:3])
    assert logged == copied | {"id": 2}
    assert copied == {
        "id": 1, "mood": "ok", "pair": '(1,"x,""y")', "posing": "(2,z)", "secret": b"\0\0\0\7", "mute": "9",
        "secrets": [b"\0\0\0\x08", None], "acl": said[0], "class": said[1], "span": '["2024-01-01 00:00:00+00",infinity)',
        "grid": [1], "words": "'cat' 'fat'",
    }  # fmt: skip
    assert grown == logged | {"mood": "new", "pair": '(1,"x,""y",1.50)'}
    assert rig.seen.rejections == {(agreed.feed, "array_shape"): 1}


def test_what_the_server_cannot_send_is_refused_before_it_breaks_the_stream(dsn: str, tmp_path: Path) -> None:
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute("CREATE TABLE t (id int PRIMARY KEY, acls aclitem[])")
    outcome = draft(dsn, [], tmp_path, "a")
    assert [(item.column, "binary form" in item.reason) for item in outcome.left_out] == [("acls", True)]
    (error,) = [finding for finding in outcome.findings if finding.severity == "error"]
    assert error.fix == 'ALTER TABLE public.t ALTER "acls" TYPE text;'
