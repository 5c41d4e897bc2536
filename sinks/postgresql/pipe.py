"""Pipe: the connection to one subscriber's database, and what its errors mean. The one place that speaks to psycopg here.

Statements are queued with libpq's pipeline mode and answered later: everything between two calls of `end` is one transaction,
and while the server works on it the caller reads the next rows.
"""

from __future__ import annotations

import select
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import pq

from schemas.errors import Fenced, MeshError, Misconfigured, Rejected, Transient
from sinks.postgresql.fault import translate
from sinks.table.fault import FaultPlace

ANSWER_WITHIN_SECONDS = 120.0
CONNECT_WITHIN_SECONDS = 10
_BOUNDS_TRANSACTIONS = 170_000
"""From this version on PostgreSQL ends a transaction that takes too long, also one that waits for its client."""
_SETTINGS = {
    "DateStyle": "ISO",
    "TimeZone": "UTC",
    "statement_timeout": "60s",
    "lock_timeout": "10s",
    # Every join of ours is of a few keys with a table by its primary key. The planner knows nothing of the few, and would
    # read a table of ten thousand rows from end to end for one of them.
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_material": "off",
}
_SESSION = " ".join(f"-c {name}={value}" for name, value in _SETTINGS.items())
_SET = ("SELECT " + ", ".join(f"set_config('{name}', '{value}', true)" for name, value in _SETTINGS.items())).encode()
_CHECKS_ROWS = frozenset(
    {b"execMain.c", b"nbtinsert.c", b"execIndexing.c", b"ri_triggers.c", b"execExprInterp.c", b"domains.c"}
)
"""Where PostgreSQL tells of constraints that refuse a row."""
_NOT_PREPARED = frozenset({"26000", "42P05"})
_TABLES_LOCK = "SELECT pg_advisory_xact_lock(hashtext('_mesh_tables'))"


@dataclass(frozen=True, slots=True)
class SqlStatement:
    """What a queued statement is about, no topic for our own tables; `division` is what its deliberate division by zero means."""

    topic: str
    division: type[Fenced] | type[Rejected] | None = None


class Pipe:
    """One connection, opened when first needed and again after it was lost.

    Behind a pooler that gives every transaction another connection (PgBouncer) nothing of a session lasts: there the settings are
    statements of each transaction, and nothing is prepared under a name. That it is one shows when it refuses or ignores ours.
    """

    def __init__(self, dsn: str, subscriber: str) -> None:
        self._dsn = dsn
        self._subscriber = subscriber
        self._connection: psycopg.Connection | None = None
        self._is_pooled = False
        self._is_begun = False
        self._prepared: dict[str, bytes] = {}
        self._pending: list[SqlStatement | None] = []

    def rows(self, sql: str, params: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement by itself and return its rows."""
        self.collect()
        try:
            cursor = self._open().execute(sql.encode(), params or None)
            return cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            raise self._lost(error) from None

    def change_tables(
        self, statements: Sequence[str | tuple[str, Sequence[Any] | Mapping[str, Any]]], topic: str = ""
    ) -> None:
        """Run statements that make or alter tables, of one topic, in one transaction; only one process does so at a time."""
        self.collect()
        try:
            connection = self._open()
            with connection.transaction():
                connection.execute(_SET)
                for statement in (_TABLES_LOCK, *statements):
                    sql, params = (statement, None) if isinstance(statement, str) else statement
                    connection.execute(sql.encode(), params)
        except psycopg.Error as error:
            raise self._lost(error, topic) from None

    def queue(self, statement: SqlStatement, sql: str, params: Sequence[bytes], *, arrays: int) -> None:
        """Queue a statement, prepared at its first use; the first `arrays` parameters are binary, the others text."""
        try:
            wire = self._open().pgconn
            if wire.pipeline_status == pq.PipelineStatus.OFF:
                wire.enter_pipeline_mode()
            formats = [pq.Format.BINARY] * arrays + [pq.Format.TEXT] * (len(params) - arrays)
            if self._is_pooled:
                if not self._is_begun:
                    self._is_begun = True
                    wire.send_query_params(_SET, None)
                    self._pending.append(SqlStatement(""))
                wire.send_query_params(sql.encode(), params, param_formats=formats)
                self._pending.append(statement)
                return
            name = self._prepared.get(sql)
            if name is None:
                name = self._prepared[sql] = f"_mesh_{len(self._prepared)}".encode()
                wire.send_prepare(name, sql.encode())
                self._pending.append(statement)
            wire.send_query_prepared(name, params, formats)
            self._pending.append(statement)
        except psycopg.Error as error:
            raise self._lost(error) from None

    def end(self) -> None:
        """End the transaction: the server has all of it and commits when it comes to the end."""
        try:
            wire = self._open().pgconn
            wire.pipeline_sync()
            self._is_begun = False
            self._pending.append(None)
            while wire.flush() == 1:
                _wait(wire, is_writing=True)
        except psycopg.Error as error:
            raise self._lost(error) from None

    def collect(self) -> None:
        """Wait until everything queued is committed; raise for the first statement that failed."""
        if not self._pending or self._connection is None:
            return
        try:
            failure = self._answers(self._connection.pgconn)
        except psycopg.Error as error:
            raise self._lost(error) from None
        if failure is not None:
            self.close()  # what was prepared in a failed transaction may or may not exist
            raise failure

    def abandon(self) -> None:
        """Close the connection once all transactions that were ended have been decided; what was not ended is rolled back.

        Else the server may still be committing them while the next connection reads how far it is.
        """
        while self._pending and self._pending[-1] is not None:
            self._pending.pop()
        with suppress(MeshError):
            self.collect()
        self.close()

    def close(self) -> None:
        """Close the connection; what was not committed is rolled back."""
        connection, self._connection = self._connection, None
        self._prepared.clear()
        self._pending.clear()
        self._is_begun = False
        if connection is not None:
            connection.close()

    def _answers(self, wire: pq.abc.PGconn) -> MeshError | None:
        failure: MeshError | None = None
        for statement in self._pending:
            while wire.is_busy():
                _wait(wire, is_writing=False)
            result = wire.get_result()
            if result is None or statement is None:
                continue
            if result.status == pq.ExecStatus.FATAL_ERROR and failure is None:
                self._is_pooled = self._is_pooled or _state(result) in _NOT_PREPARED
                failure = _failure(result, statement, self._subscriber)
            while wire.get_result() is not None:
                pass
        self._pending.clear()
        if failure is None:
            wire.exit_pipeline_mode()
        return failure

    def _open(self) -> psycopg.Connection:
        if self._connection is not None and not self._connection.closed:
            return self._connection
        self.close()
        try:
            self._connection = psycopg.connect(
                self._dsn,
                autocommit=True,
                connect_timeout=CONNECT_WITHIN_SECONDS,
                client_encoding="UTF8",
                options=None if self._is_pooled else _SESSION,
                prepare_threshold=None,
                application_name=f"pearlmesh {self._subscriber}",
                keepalives_idle=15,
                keepalives_interval=5,
                keepalives_count=3,
            )
        except psycopg.ProgrammingError:
            raise Misconfigured(
                f"address of {self._subscriber}", "is no PostgreSQL address", fix="write postgresql://user:…@host/name"
            ) from None
        except psycopg.OperationalError as error:
            if not self._is_pooled and "startup parameter" in str(error):
                self._is_pooled = True
                return self._open()
            raise _connect_error(error, self._subscriber) from None
        if not self._is_pooled:
            self._is_pooled = self._connection.execute("SHOW enable_seqscan").fetchone() != ("off",)
        if not self._is_pooled and self._connection.info.server_version >= _BOUNDS_TRANSACTIONS:
            # A process that is stopped in the middle of one, and stays connected, would keep its successor out for ever.
            self._connection.execute(f"SET transaction_timeout = '{ANSWER_WITHIN_SECONDS:.0f}s'".encode())
        return self._connection

    def _lost(self, error: psycopg.Error, topic: str = "") -> MeshError:
        self.close()
        if error.sqlstate is None and not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            raise error  # our own mistake
        return translate(error.sqlstate, FaultPlace(topic=topic), self._subscriber)


def _wait(wire: pq.abc.PGconn, *, is_writing: bool) -> None:
    poll = select.poll()
    poll.register(wire.socket, select.POLLIN | (select.POLLOUT if is_writing else 0))
    until = time.monotonic() + ANSWER_WITHIN_SECONDS
    while not (events := poll.poll(1_000)):
        if time.monotonic() > until:
            raise psycopg.OperationalError("the server is silent")
    if events[0][1] & ~select.POLLOUT:
        wire.consume_input()


def _state(result: pq.abc.PGresult) -> str:
    return (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()


def _failure(result: pq.abc.PGresult, statement: SqlStatement, subscriber: str) -> MeshError:
    state = _state(result)
    if state == "22012" and statement.division is Fenced:
        return Fenced(f"{subscriber}: another process took a partition over, or its database went back")
    if state == "22012" and statement.division is Rejected:
        return Rejected(
            "partial_without_row",
            f"{statement.topic}: an update without all columns finds no row to complete",
            fix="deliver the grant again: `mesh replay <grant>`",
        )
    is_raised = result.error_field(pq.DiagnosticField.SOURCE_FUNCTION) == b"exec_stmt_raise"
    return translate(state, FaultPlace(topic=statement.topic, names=_names(result), is_raised=is_raised), subscriber)


def _names(result: pq.abc.PGresult) -> str:
    """Table, column and constraint where PostgreSQL itself refuses the row: a function may put a row's values there instead."""
    file = (result.error_field(pq.DiagnosticField.SOURCE_FILE) or b"").rpartition(b"/")[2]
    if file not in _CHECKS_ROWS:
        return ""
    fields = (pq.DiagnosticField.TABLE_NAME, pq.DiagnosticField.COLUMN_NAME, pq.DiagnosticField.CONSTRAINT_NAME)
    return " ".join(name.decode("utf-8", "replace") for field in fields if (name := result.error_field(field)))


def _connect_error(error: psycopg.OperationalError, subscriber: str) -> MeshError:
    text = str(error)
    if any(
        sign in text for sign in ("authentication failed", "no pg_hba.conf entry", "does not exist", "not permitted")
    ):
        return Misconfigured(
            f"address of {subscriber}",
            "the server refuses the login",
            fix="check the database, the account and its password",
        )
    return Transient(f"{subscriber}'s database does not answer", fix="see whether it runs and can be reached from here")
