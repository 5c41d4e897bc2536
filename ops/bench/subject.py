"""The subject of every measurement: one 12-column table, its contract, and the changes made to it.

REPLICA IDENTITY FULL, as the mesh asks of departments: whoever reads the log gets each updated row as it was and as it is. Half
of the changes are inserts, half are updates of rows inserted a little before, in transactions of 100.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import psycopg

TABLE = "public.subject"
SEED_ROWS = 1_000
TRANSACTION_CHANGES = 100
DESCRIPTION = "12 columns, REPLICA IDENTITY FULL, half inserts and half updates, 100 changes a transaction"

COLUMNS = (
    "id",
    "name",
    "region",
    "amount",
    "changed_at",
    "born",
    "is_active",
    "code",
    "address",
    "grade",
    "phone",
    "note",
)
PROJECTED = 7
REGIONS = tuple(str(440_100 + number) for number in range(12))

_CREATE = """
DROP TABLE IF EXISTS subject;
CREATE TABLE subject (
    id bigint PRIMARY KEY, name text, region text, amount numeric(12,2), changed_at timestamptz, born date,
    is_active bool, code varchar(18), address text, grade int, phone bigint, note text) WITH (autovacuum_enabled = off);
ALTER TABLE subject REPLICA IDENTITY FULL;
CREATE OR REPLACE PROCEDURE add_subjects(first bigint, last bigint) LANGUAGE SQL AS $$
    INSERT INTO subject SELECT g, '名字 ' || g, (440100 + g % 12)::text, (g % 5000) * 1.37, now(),
        date '1950-01-01' + (g % 25000)::int, g % 7 <> 0, '44010' || lpad(g::text, 13, '0'), 'Tianhe Road ' || g % 900,
        g % 5, 13800000000 + g, 'note ' || g % 99
    FROM generate_series(first, last) g $$;
CREATE OR REPLACE PROCEDURE change_subjects(first bigint, changes int) LANGUAGE SQL AS $$
    CALL add_subjects(first, first + changes / 2 - 1);
    UPDATE subject SET grade = grade + 1, changed_at = now() WHERE id BETWEEN first - changes / 2 AND first - 1 $$;
CREATE OR REPLACE PROCEDURE backlog(first bigint, changes int, per_transaction int) LANGUAGE plpgsql AS $$
BEGIN
    FOR n IN 0 .. changes / per_transaction - 1 LOOP
        CALL change_subjects(first + n * (per_transaction / 2), per_transaction);
        COMMIT;
    END LOOP;
END $$;
CREATE OR REPLACE PROCEDURE live(first bigint, transactions int, per_transaction int, pause float8) LANGUAGE plpgsql AS $$
DECLARE
    started timestamptz := clock_timestamp();
BEGIN
    FOR n IN 0 .. transactions - 1 LOOP
        CALL change_subjects(first + n * (per_transaction / 2), per_transaction);
        COMMIT;
        PERFORM pg_sleep(extract(epoch FROM started - clock_timestamp()) + (n + 1) * pause);
    END LOOP;
END $$;
"""

_TYPES = {
    "id": "long",
    "amount": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2},
    "changed_at": {"type": "long", "logicalType": "timestamp-micros"},
    "born": {"type": "int", "logicalType": "date"},
    "is_active": "boolean",
    "grade": "int",
    "phone": "long",
}


def create(dsn: str, rows: int = SEED_ROWS) -> None:
    """Make the table anew with so many rows, numbered from 1."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(_CREATE)
        connection.execute("CALL add_subjects(1, %s)", (rows,))
        connection.execute("VACUUM (FREEZE, ANALYZE) subject")


def write_backlog(dsn: str, changes: int) -> tuple[str, str]:
    """Commit so many changes to a table fresh from `create`; the log's position before and after."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")
        before = _log_end(connection)
        connection.execute("CALL backlog(%s, %s, %s)", (SEED_ROWS + 1, changes, TRANSACTION_CHANGES))
        connection.execute("SET synchronous_commit = on")
        connection.execute("SELECT pg_logical_emit_message(true, 'bench', 'end')")  # all before it is on disk
        return before, _log_end(connection)


def _log_end(connection: psycopg.Connection[tuple[str]]) -> str:
    row = connection.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
    assert row is not None, "a SELECT without FROM has one row"
    return row[0]


def regions_of(number: int) -> Sequence[str]:
    """The six regions, half of all, that the grant of this number lets through."""
    return [REGIONS[(number + step) % len(REGIONS)] for step in range(0, len(REGIONS), 2)]


def columns_of(number: int) -> Sequence[str]:
    """The seven columns of the grant of this number."""
    others = COLUMNS[1:]
    return ["id", *(others[(number + step) % len(others)] for step in range(PROJECTED - 1))]


def passing(changes: int, regions: Iterable[str]) -> int:
    """How many records of the feed, seed rows and a backlog of so many changes, are in these regions."""
    wanted = {int(region) - 440_100 for region in regions}
    half = changes // 2
    lag = TRANSACTION_CHANGES // 2  # updates stay one transaction's inserts behind
    numbers = (range(1, SEED_ROWS + half + 1), range(SEED_ROWS - lag + 1, SEED_ROWS + half - lag + 1))
    return sum(number % 12 in wanted for span in numbers for number in span)


def write_agency(
    folder: Path,
    agency: str,
    connection: str,
    *,
    kind: str = "postgres",
    table: str = TABLE,
    options: Mapping[str, object] = MappingProxyType({}),
) -> None:
    """The folder of a department that has the table; `connection` names an environment variable."""
    source = {"name": "main", "kind": kind, "connection": connection, "options": dict(options)}
    fields = [
        {"name": name, "type": _TYPES.get(name, "string") if name == "id" else ["null", _TYPES.get(name, "string")]}
        for name in COLUMNS
    ]
    gov = {"key": ["id"], "table": table, "class": "UNCONDITIONAL"}
    _write(folder / "agency.yaml", {"agency": agency, "name": agency, "sources": [source]})
    _write(folder / "subject.avsc", {"type": "record", "name": "Subject", "gov": gov, "fields": fields})


def write_subscriber(folder: Path, subscriber: str, feed: str, connection: str, *, grants: int, is_cut: bool) -> None:
    """The folder of a subscriber with so many grants on the feed, each with rows and columns of its own if `is_cut`."""
    sink = {
        "name": "main",
        "kind": "postgres",
        "connection": connection,
        "options": {"beside_source": True, "schema": subscriber},
    }
    entries = [
        {
            "grant_id": f"{subscriber}.{feed}.g{number}",
            "feed": feed,
            "columns": list(columns_of(number) if is_cut else COLUMNS),
            "row_filter": f"region in {list(regions_of(number))}" if is_cut else None,
            "purpose": f"measurement {number}",
        }
        for number in range(grants)
    ]
    _write(
        folder / "subscriber.yaml",
        {"subscriber": subscriber, "name": subscriber, "sinks": [sink], "grants": entries},
    )


def _write(file: Path, record: object) -> None:
    """As JSON, which is YAML too."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(record, ensure_ascii=False, indent=1), encoding="utf-8")
