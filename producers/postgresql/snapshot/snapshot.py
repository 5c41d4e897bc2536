"""Snapshots: the database as it was at one place in its log, for the rows that tables had before their changes are followed.

A snapshot's position is the consistent point of a replication slot that exported it: everything committed before is in the
rows, everything after comes through the stream, nothing is in neither (PG-15). A first snapshot comes with the
source's own slot; a resumed one, or that of a table added later, with a temporary slot that is dropped once its snapshot
is imported (PG-16, PG-24).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import psycopg
from psycopg import sql
from psycopg.pq.abc import PGconn

from producers.postgresql.link.catalog import CatalogTable, SourceTypes, identifier, tables
from producers.postgresql.link.link import rows_of, translated
from producers.postgresql.stream.pgoutput import lsn_number
from schemas.errors import Transient
from schemas.incident import Incidents

SLOT_WARNING_SECONDS = 20.0

_logger = logging.getLogger(__name__)

_BLOCKERS = """
SELECT 'process ' || pid || ' (' || coalesce(application_name, '') || ', since ' || xact_start::timestamp(0) || ')'
FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()
UNION ALL SELECT 'prepared transaction ' || gid FROM pg_prepared_xacts"""

_END_THEM = (
    "capture begins by itself once they have ended; one that was forgotten: SELECT pg_terminate_backend(<process>)"
)


def create_slot(
    link: PGconn,
    slot: str,
    *,
    is_temporary: bool,
    statements: psycopg.Connection[Any],
    name: str,
    incidents: Incidents,
) -> Iterator[tuple[int, str] | None]:
    """Create a slot without blocking: yields None while the server waits, then consistent point and snapshot name.

    The server waits for every transaction that runs now, in any database; after a while it is told which (PG-10).
    """
    kind = "TEMPORARY " if is_temporary else ""
    link.send_query(f"CREATE_REPLICATION_SLOT {slot} {kind}LOGICAL pgoutput (SNAPSHOT 'export')".encode())
    is_told, tell_at = False, time.monotonic() + SLOT_WARNING_SECONDS
    try:
        with translated(name):
            while True:
                link.consume_input()
                if not link.is_busy():
                    break
                if time.monotonic() > tell_at:
                    is_told, tell_at = True, time.monotonic() + 3 * SLOT_WARNING_SECONDS
                    waits = f"a new slot waits for transactions that run: {blockers(statements)}"
                    _logger.warning("%s: %s", name, waits)
                    incidents.begin("source", name, state="waiting", reason=waits, fix=_END_THEM)
                yield None
            result = link.get_result()
    finally:
        if is_told:
            incidents.end("source", name)
    if result is None:
        raise Transient(f"source {name}: no answer to CREATE_REPLICATION_SLOT")
    row = rows_of(result, name)[0]
    yield lsn_number(row["consistent_point"] or "0/0"), row["snapshot_name"] or ""


def blockers(statements: psycopg.Connection[Any]) -> str:
    """The transactions that a new slot waits for (PG-10)."""
    named = "; ".join(row[0] for row in statements.execute(_BLOCKERS))
    return named or "none that this role may see (`GRANT pg_read_all_stats` to it, and they are named)"


class Reading:
    """One open snapshot: a transaction that sees the database as it was at `position`."""

    def __init__(self, connection: psycopg.Connection[Any], exported: str, position: int, name: str) -> None:
        self._connection = connection
        self.name = name
        self.position = position
        with translated(name):
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(exported))
            moment = connection.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint").fetchone()
        assert moment is not None, "a SELECT without FROM has one row"
        self.read_at_ms: int = moment[0]

    def hold(self, tables: Iterable[str]) -> list[str]:
        """Keep the tables' files in place: TRUNCATE and rewrites wait until the snapshot is over. The ones that are locked."""
        locked: list[str] = []
        with translated(self.name):
            for table in tables:
                try:
                    with self._connection.transaction():
                        lock = sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE NOWAIT").format(identifier(table))
                        self._connection.execute(lock)
                except psycopg.errors.LockNotAvailable:
                    locked.append(table)
        return locked

    def export(self) -> str:
        """The snapshot's name for further transactions, good for as long as this one is open (PG-15)."""
        with translated(self.name):
            row = self._connection.execute("SELECT pg_export_snapshot()").fetchone()
        assert row is not None, "a SELECT without FROM has one row"
        return row[0]

    def catalog(self, names: Iterable[str]) -> Mapping[str, CatalogTable]:
        """The named tables; while they are held, none of their columns and types changes."""
        with translated(self.name):
            return tables(self._connection, SourceTypes(self._connection), names)

    @property
    def link(self) -> PGconn:
        """The connection itself, to copy through."""
        return self._connection.pgconn

    def close(self) -> None:
        """End the transaction, and with it what it holds back in the source (PG-17)."""
        self._connection.close()
