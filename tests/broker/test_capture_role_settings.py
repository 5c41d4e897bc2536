"""What a department has set for the role that we capture with does not reach our own sessions (C-12)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from producers.postgresql.onboarding.preflight import preflight
from producers.postgresql.read_back import reading
from producers.postgresql.slot import slot_name
from producers.postgresql.snapshot import table_copy
from schemas.contract import Contract
from schemas.log.kafka import Kafka
from tests.stage.capturing import TIMESTAMPTZ, Rig, contract
from tests.stage.until import until

SETTINGS = {
    "default_transaction_read_only": "on",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "statement_timeout": "20ms",
    "lock_timeout": "1ms",
    "idle_in_transaction_session_timeout": "100ms",
    "idle_session_timeout": "100ms",
    "transaction_timeout": "100ms",
    "search_path": "elsewhere",
    "row_security": "off",
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "iso_8601",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "TimeZone": "Asia/Shanghai",
    "lc_monetary": "C",
    "xmloption": "document",
    "client_min_messages": "debug5",
    "client_encoding": "GB18030",
    "synchronous_commit": "remote_apply",
    "standard_conforming_strings": "off",
    "quote_all_identifiers": "on",
    "exit_on_error": "on",
    "wal_sender_timeout": "200ms",
}
FIELDS = {
    "id": "long",
    "moment": TIMESTAMPTZ,
    "span": "string",
    "price": "double",
    "raw": "bytes",
    "note": "string",
    "access": "string",
}
INSERT = """
INSERT INTO t SELECT n, '2026-01-02 03:04:05+00'::timestamptz + n * interval '1 h', '1 y 2 mon'::interval,
  n / 3.0::float8, '\\xdeadbeef'::bytea, repeat('名', 3000),
  (current_user || '=r/' || current_user)::aclitem FROM generate_series({}, {}) n"""


def role(db: psycopg.Connection[Any], name: str, settings: Mapping[str, str]) -> None:
    """A role that captures table `t`, with settings."""
    own = sql.Identifier(name)
    database = sql.Identifier(db.info.dbname)
    db.execute(sql.SQL("CREATE ROLE {} LOGIN REPLICATION PASSWORD 'secret'").format(own))
    db.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(database, own))
    db.execute(sql.SQL("ALTER TABLE t OWNER TO {}").format(own))
    for setting, value in settings.items():
        db.execute(sql.SQL("ALTER ROLE {} SET {} TO {}").format(own, sql.Identifier(setting.lower()), value))


def as_role(dsn: str, name: str) -> str:
    place = urlsplit(dsn)
    return place._replace(netloc=f"{name}:secret@{place.hostname}:{place.port}").geturl()


def test_settings_of_the_role_change_nothing_of_what_is_captured(
    kafka: Kafka, dsn: str, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_copy, "RANGE_BLOCKS", 4)  # so that copying processes have some of it
    agreed: list[Contract] = []
    own = Rig(kafka, dsn, f"{unique}a")
    theirs = Rig(kafka, as_role(dsn, unique), f"{unique}b", snapshot_processes=2)
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute(
            "CREATE TABLE t (id bigint PRIMARY KEY, moment timestamptz, span interval, price float8, raw bytea, note text, "
            "access aclitem)"
        )
        db.execute("ALTER TABLE t REPLICA IDENTITY FULL, ALTER note SET STORAGE EXTERNAL")
        db.execute(INSERT.format(1, 1000).encode())
        db.execute("ANALYZE t")
        role(db, unique, SETTINGS)
        try:
            for rig in (own, theirs):
                agreed.append(contract(f"{rig.agency}.t", FIELDS))
                rig.add(agreed[-1])
            db.execute(sql.SQL("ALTER ROLE {} CONNECTION LIMIT 3").format(sql.Identifier(unique)))
            (limited,) = [each for each in preflight(theirs.dsn, agreed[1:]) if "connections" in each.message]
            db.execute(limited.fix.encode())
            found = preflight(theirs.dsn, agreed[1:])
            assert not [each for each in found if each.severity == "error" or "connections" in each.message]
            with own.capturing(), theirs.capturing():
                for rig in (own, theirs):
                    rig.until_rows(f"{rig.agency}.t", 1000)
                    rig.until_streaming()
                db.execute(INSERT.format(1001, 1020).encode())
                db.execute("UPDATE t SET price = price + 1, id = id + 5000 WHERE id % 2 = 0 AND id > 900")

                def moved(rig: Rig) -> Mapping[tuple[Any, ...], Any]:
                    rows = rig.fold(f"{rig.agency}.t")
                    return rows if len(rows) == 1020 and (6020,) in rows else {}

                there, expected = (until(lambda rig=rig: moved(rig), 60, "all changes") for rig in (theirs, own))
                assert theirs.incidents.present() == {}
            printed = "SELECT moment, span, price, raw FROM public.t ORDER BY id"
            with reading(theirs.dsn, "source") as one, reading(dsn, "source") as other:  # as `mesh verify` does
                assert one.execute(printed).fetchall() == other.execute(printed).fetchall()
        finally:
            db.execute("ALTER TABLE t OWNER TO CURRENT_USER")
            for rig in (own, theirs):
                name = slot_name(rig.source)
                db.execute(sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(name)))
                until(
                    lambda name=name: (
                        not db.execute(
                            "SELECT FROM pg_replication_slots WHERE slot_name = %s AND active", (name,)
                        ).fetchone()
                    ),
                    30,
                    "its stream has ended",
                )
                db.execute(
                    "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s", (name,)
                )
            db.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(unique)))
    assert there == expected
