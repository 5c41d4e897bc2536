"""Drafts from a live database: what comes out can be checked, onboarded, and captured."""

from __future__ import annotations

import json
import subprocess
from io import StringIO
from urllib.parse import urlsplit

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from ops.embedded.postgres import _binaries
from ops.lint.check import check
from ops.lint.folder import load
from ops.onboarding.draft import draft
from producers.postgresql.onboarding.preflight import preflight
from schemas.contract import Contract
from schemas.errors import Misconfigured
from schemas.registry.client import RegistryClient
from schemas.wire.compatibility import breaches
from schemas.wire.envelope import key_schema, value_schema
from schemas.wire.name import avro_name, column_name
from schemas.wire.schema import NAME


def execute(dsn, *statements):
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def contract_of(folder, stem, agency="aic"):
    return Contract.parse(json.loads((folder / f"{stem}.avsc").read_text("utf-8")), f"{agency}.{stem}")


def fields_of(folder, stem):
    return {field["name"]: field for field in contract_of(folder, stem).record["fields"]}


def test_pgbench_tables_are_drafted_checked_and_registered(postgres, registry, tmp_path, unique):
    dsn = postgres.create_database("pgbench")
    subprocess.run([_binaries() / "pgbench", "-i", "-q", "-s", "1", dsn], check=True, capture_output=True)
    agency, folder = unique, tmp_path / "bench"
    outcome = draft(dsn, [], folder, agency)
    names = sorted(path.name for path in outcome.written)
    assert names == ["agency.yaml", "pgbench_accounts.avsc", "pgbench_branches.avsc", "pgbench_tellers.avsc"]
    assert [(item.table, item.column) for item in outcome.left_out] == [("public.pgbench_history", "")]
    assert "no primary key" in outcome.left_out[0].reason
    report = check(folder)
    assert report.errors == []
    said = {problem.message for problem in report.warnings}
    assert {
        "is CONDITIONAL only by the draft's choice",
        "has no Chinese name",
        "no doc on bid, bbalance, filler",
    } <= said
    accounts = contract_of(folder, "pgbench_accounts", agency)
    assert (accounts.key, accounts.table) == (("aid",), "public.pgbench_accounts")
    assert [finding for finding in preflight(dsn, [accounts]) if finding.severity == "error"] == []
    assert {f.severity for f in outcome.findings if "REPLICA IDENTITY FULL" in f.fix} == {"warning"}
    client = RegistryClient(registry)
    for contract in load(folder).agencies[0].contracts:
        client.register(f"{contract.feed}-key", key_schema(contract))
        client.register(f"{contract.feed}-value", value_schema(contract))
    standing = {feed.standing for feed in check(folder, client).feeds}
    assert standing == {"unchanged"}
    client.close()
    again = draft(dsn, [], folder, agency)
    assert (again.written, len(again.kept)) == ([], 4)
    assert len(draft(dsn, [], folder, agency, force=True).written) == 4


def test_a_fix_is_a_statement_that_runs(dsn, tmp_path):
    execute(
        dsn, 'CREATE SCHEMA "Old"', 'CREATE UNLOGGED TABLE "Old"."Große Tabelle" ("a b" int NOT NULL UNIQUE, v text)'
    )
    (left_out,) = draft(dsn, ["Old.Große Tabelle"], tmp_path, "aic").left_out
    assert left_out.fix == 'ALTER TABLE "Old"."Große Tabelle" SET LOGGED;'
    execute(dsn, left_out.fix)
    (finding,) = draft(dsn, ["Old.Große Tabelle"], tmp_path, "aic").findings
    assert finding.severity == "error"
    execute(dsn, finding.fix)
    assert draft(dsn, ["Old.Große Tabelle"], tmp_path, "aic", force=True).findings == []


TYPES = """
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE DOMAIN yuan AS numeric(18,2);
CREATE TYPE pair AS (a int, b int);
CREATE TABLE every (
  id bigint PRIMARY KEY, b bool NOT NULL, i2 int2, i4 int4, i8 int8, o oid, n numeric(18,2), big numeric, odd numeric(3,5),
  neg numeric(3,-2),
  yuan yuan, f4 float4, f8 float8, d date, ts timestamp, tz timestamptz, t time, ttz timetz, iv interval, txt text, vc varchar(9),
  ch char(4), raw bytea, u uuid, j json, jb jsonb, m mood, mo money, ip inet, bits bit(3), ints int[], texts text[] NOT NULL,
  dates date[], decs numeric(9,3)[], r int4range, p pair, g int GENERATED ALWAYS AS (i4 * 2) STORED)
"""


def test_every_type_has_its_mapping_and_the_capture_agrees(dsn, tmp_path):
    execute(dsn, TYPES)
    outcome = draft(dsn, ["every"], tmp_path, "aic")
    types = {name: field["type"] for name, field in fields_of(tmp_path, "every").items()}
    bare = {name: kind[1] if isinstance(kind, list) else kind for name, kind in types.items()}
    expected = {
        "id": "long", "b": "boolean", "i2": "int", "i4": "int", "i8": "long", "o": "long", "f4": "float", "f8": "double",
        "big": "string", "odd": "string", "neg": "string", "txt": "string", "vc": "string", "ch": "string", "raw": "bytes",
        "j": "string", "jb": "string", "m": "string", "mo": "string", "ip": "string", "bits": "string", "ttz": "string",
        "r": "string", "p": "string",
    }  # fmt: skip
    assert {name: bare[name] for name in expected} == expected
    logical = {
        name: kind["logicalType"] for name, kind in bare.items() if isinstance(kind, dict) and "logicalType" in kind
    }
    assert logical == {
        "n": "decimal",
        "yuan": "decimal",
        "d": "date",
        "ts": "local-timestamp-micros",
        "tz": "timestamp-micros",
        "t": "time-micros",
        "u": "uuid",
    }
    assert (bare["yuan"]["precision"], bare["yuan"]["scale"]) == (18, 2)
    assert bare["ints"] == {"type": "array", "items": ["null", "int"]}
    assert bare["decs"]["items"][1]["scale"] == 3
    assert bare["iv"]["type"] == "record"
    assert types["b"] == "boolean"
    assert types["i4"] == ["null", "int"]
    assert {item.column for item in outcome.left_out} == {"g"}
    assert fields_of(tmp_path, "every")["vc"]["pg.type"] == "character varying(9)"
    assert check(tmp_path).errors == []
    assert [f for f in preflight(dsn, [contract_of(tmp_path, "every")]) if f.severity == "error"] == []


def test_lossless_adds_a_text_branch_where_the_type_is_narrower(dsn, tmp_path):
    execute(dsn, TYPES)
    draft(dsn, ["public.every"], tmp_path, "aic", lossless=True)
    types = {name: field["type"] for name, field in fields_of(tmp_path, "every").items()}
    widened = {
        name for name, kind in types.items() if isinstance(kind, list) and kind[-1] == "string" and len(kind) == 3
    }
    assert widened == {"n", "yuan", "d", "ts", "tz", "t", "iv", "ints", "dates", "decs"}
    assert types["texts"][-1] == "string"
    assert types["id"] == "long"
    assert check(tmp_path).errors == []
    contract = contract_of(tmp_path, "every")
    assert [f for f in preflight(dsn, [contract]) if f.severity == "error"] == []
    assert breaches([], value_schema(contract), "FULL_TRANSITIVE") == []


def test_names_comments_and_personal_columns(dsn, tmp_path):
    execute(
        dsn,
        'CREATE TABLE "企业 登记" ("统一代码" text PRIMARY KEY, "Full Name" text, mobile text, "2x" int, "a_x4E2D_b" int)',
        """COMMENT ON TABLE "企业 登记" IS '商事主体登记信息'""",
        """COMMENT ON COLUMN "企业 登记"."2x" IS '数量|二倍'""",
    )
    outcome = draft(dsn, [], tmp_path, "aic")
    stem = next(path.stem for path in outcome.written if path.suffix == ".avsc")
    contract = contract_of(tmp_path, stem)
    assert (contract.table, contract.doc) == ("public.企业 登记", "商事主体登记信息")
    assert [field.column for field in contract.fields] == ["统一代码", "Full Name", "mobile", "2x", "a_x4E2D_b"]
    assert contract.by_name["_x0032_x"].doc == "数量|二倍"
    mobile = contract.by_name["mobile"]
    assert ("PII" in mobile.tags, mobile.gov["class"]) == (True, "NOT_SHARED")
    assert contract.gov["class"] == "CONDITIONAL"
    assert check(tmp_path).errors == []
    assert [f for f in preflight(dsn, [contract]) if f.severity == "error"] == []


def test_key_may_be_a_unique_index_and_keeps_its_order(dsn, tmp_path):
    execute(
        dsn,
        "CREATE TABLE two (a int NOT NULL, b int NOT NULL, c int, UNIQUE (b, a), UNIQUE (c))",
        "CREATE TABLE three (a int, b int, PRIMARY KEY (b, a))",
        "CREATE TABLE part (a int NOT NULL)",
        "CREATE UNIQUE INDEX ON part (a) WHERE a > 0",
        "CREATE TABLE few (a int NOT NULL, b text NOT NULL)",
        "CREATE UNIQUE INDEX ON few (a) INCLUDE (b)",
        "CREATE UNIQUE INDEX ON few (lower(b))",
        "CREATE UNLOGGED TABLE quick (a int PRIMARY KEY)",
        "CREATE VIEW seen AS SELECT * FROM two",
        "CREATE TABLE whole (a int PRIMARY KEY) PARTITION BY RANGE (a)",
        "CREATE TABLE leaf PARTITION OF whole FOR VALUES FROM (0) TO (9)",
    )
    outcome = draft(dsn, [], tmp_path, "aic")
    assert contract_of(tmp_path, "two").key == ("b", "a")
    assert contract_of(tmp_path, "three").key == ("b", "a")
    assert contract_of(tmp_path, "few").key == ("a",)
    assert sorted(path.stem for path in outcome.written) == ["agency", "few", "three", "two", "whole"]
    assert {item.table: item.fix.split(" ")[0] for item in outcome.left_out} == {
        "public.part": "ALTER",
        "public.quick": "ALTER",
    }
    assert {f.subject for f in outcome.findings if f.severity == "error"} == {"aic.two", "aic.few"}


def test_same_table_in_two_schemas(dsn, tmp_path):
    execute(dsn, "CREATE SCHEMA old", "CREATE TABLE a (i int PRIMARY KEY)", "CREATE TABLE old.a (i int PRIMARY KEY)")
    draft(dsn, [], tmp_path, "aic")
    tables = {contract.feed: contract.table for contract in load(tmp_path).agencies[0].contracts}
    assert tables == {"aic.a": "old.a", "aic.public_a": "public.a"}


def test_missing_rights_are_explained_with_their_statement(dsn, tmp_path, unique):
    execute(
        dsn,
        "CREATE TABLE a (i int PRIMARY KEY)",
        f"CREATE ROLE {unique} LOGIN PASSWORD 'x'",
    )
    parts = urlsplit(dsn)
    weak = parts._replace(netloc=f"{unique}:x@{parts.hostname}:{parts.port}").geturl()
    outcome = draft(weak, [], tmp_path, "aic")
    fixes = " ".join(finding.fix for finding in outcome.findings)
    assert "WITH REPLICATION" in fixes
    assert "GRANT SELECT ON public.a" in fixes
    out = StringIO()
    outcome.render(Console(file=out, width=60))
    assert "GRANT SELECT ON public.a" in out.getvalue()
    assert json.loads(json.dumps(outcome.to_json()))["findings"]
    assert ":x@" not in (tmp_path / "agency.yaml").read_text()
    execute(dsn, f"DROP OWNED BY {unique}", f"DROP ROLE {unique}")


def test_what_cannot_be_drafted_is_refused_with_its_fix(dsn, tmp_path, monkeypatch):
    with pytest.raises(Misconfigured, match=r"no table public\.nowhere"):
        draft(dsn, ["nowhere"], tmp_path, "aic")
    with pytest.raises(Misconfigured, match="is no code"):
        draft(dsn, [], tmp_path, "AIC")
    with pytest.raises(Misconfigured, match="no MariaDB or PostgreSQL or push or folder or SQLAlchemy address"):
        draft("nowhere", [], tmp_path, "aic")
    with pytest.raises(Misconfigured, match="MESH_NOWHERE"):
        draft("${MESH_NOWHERE}", [], tmp_path, "aic")
    with pytest.raises(Misconfigured, match="does not exist"):
        draft(f"{dsn}_none", [], tmp_path, "aic")
    monkeypatch.setenv("MESH_DRAFT_DSN", dsn)
    assert draft("${MESH_DRAFT_DSN}", [], tmp_path, "aic").written == [tmp_path / "agency.yaml"]


@given(st.text(min_size=1, max_size=20))
def test_column_names_survive_their_encoding(name):
    assert NAME.fullmatch(avro_name(name))
    assert column_name(avro_name(name)) == name


@given(st.lists(st.sampled_from(["_", "x", "0", "04E2D", "中", "a"]), min_size=1, max_size=8).map("".join))
def test_column_names_that_look_encoded_survive_too(name):
    assert column_name(avro_name(name)) == name
