"""No error that the capture side tells of quotes a row, whatever PostgreSQL's own text says (F-13)."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from producers.postgresql.link.link import command, connect, connect_replication, translated
from schemas.errors import MeshError
from tests.stage.captured_tables import add, make, until_flowing
from tests.stage.capturing import Rig, contract
from tests.stage.until import until

CANARY = "440106199001010018"
TABLE = f"""
CREATE TABLE canaries (id text PRIMARY KEY, n int CHECK (n < 5), d date);
CREATE UNIQUE INDEX canaries_n ON canaries (n);
INSERT INTO canaries VALUES ('{CANARY}', 1);
CREATE FUNCTION loud(text) RETURNS int LANGUAGE plpgsql AS
  $$BEGIN RAISE EXCEPTION 'cannot take %', $1 USING DETAIL = $1, HINT = $1, ERRCODE = 'ZZ001'; END$$"""
UNIQUE = f"INSERT INTO canaries VALUES ('{CANARY}', 2)"
FAILING = [
    f"SELECT '{CANARY}'::date",
    f"SELECT ('{CANARY}' || '0000')::bigint",
    "SELECT convert_from('\\x343430d6'::bytea, 'UTF8')",
    UNIQUE,
    f"INSERT INTO canaries VALUES ('{CANARY}9', 7)",
    f"INSERT INTO canaries VALUES (NULL, 3, '{CANARY[6:14]}')",
    f"DO $$BEGIN RAISE EXCEPTION 'row {CANARY}'; END$$",
    f"SELECT loud('{CANARY}')",
    f"""SELECT '{{"id": {CANARY}x'::json""",
    f"""SELECT jsonb_path_query('"{CANARY}"', 'strict $.double().{CANARY}')""",
]


def _stated(dsn: str, statement: str) -> str:
    with pytest.raises(MeshError) as failed, connect(dsn, name="a.main") as connection, translated("a.main"):
        connection.execute(statement.encode()).fetchall()
    return f"{failed.value}"


def _commanded(dsn: str, statement: str) -> str:
    link = connect_replication(dsn, name="a.main")
    try:
        with pytest.raises(MeshError) as failed:
            command(link, statement, "a.main")
    finally:
        link.finish()
    return f"{failed.value}"


@pytest.mark.parametrize("told", [_stated, _commanded])
def test_no_error_of_the_database_quotes_a_row(dsn: str, told: Callable[[str, str], str]) -> None:
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute(TABLE.encode())
    for statement in FAILING:
        text = told(dsn, statement)
        assert not [canary for canary in (CANARY, CANARY[6:14], "0xd6") if canary in text], text
    assert "constraint canaries_pkey" in told(dsn, UNIQUE)
    assert "does not exist" in told(dsn, "SELECT FROM nowhere")  # names are told


def test_no_value_that_the_driver_cannot_read_is_quoted(dsn: str) -> None:
    text = _stated(dsn, "SELECT '9999-01-01'::date + 999999")
    assert "12736" not in text
    assert "DataError" in text


def test_a_copy_that_fails_in_the_database_quotes_no_row_anywhere(
    rig: Rig, dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    with psycopg.connect(dsn, autocommit=True) as db:
        make(db, "o")
        (other,) = add(rig, "o")
        db.execute("CREATE TABLE t (id bigint PRIMARY KEY, name text, n int GENERATED ALWAYS AS (name::int) VIRTUAL)")
        db.execute(f"INSERT INTO t VALUES (1, '{CANARY}x')")
        agreed = contract(f"{rig.agency}.t", {"id": "long", "n": "int"})
        with rig.capturing():
            rig.add(agreed)
            until_flowing(rig, db, other)
            until(rig.incidents.present, 60, "it is told")
        told = [f"{each.reason} {each.fix}" for each in rig.incidents.present().values()]
    assert CANARY not in caplog.text
    assert not [each for each in told if CANARY in each]
