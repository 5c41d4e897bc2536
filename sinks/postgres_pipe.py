"""Pipe: the connection to one subscriber's database, and what its errors mean. The one place that speaks to psycopg here.

Statements are queued with libpq's pipeline mode and answered later: everything between two calls of `end` is one transaction,
and while the server works on it the caller reads the next rows.
"""

from __future__ import annotations

import select
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import pq

from schemas.errors import MeshError, Misconfigured, Rejected, Transient
from sinks.postgres_fault import Place, translate
from sinks.sink import Fenced

ANSWER_WITHIN_SECONDS = 120.0
CONNECT_WITHIN_SECONDS = 10
_SESSION = (
    "-c client_encoding=UTF8 -c DateStyle=ISO -c TimeZone=UTC -c statement_timeout=60s -c lock_timeout=10s "
    # Every join of ours is of a few keys with a table by its primary key. The planner knows nothing of the few, and would
    # read a table of ten thousand rows from end to end for one of them.
    "-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off -c enable_material=off"
)
_TABLES_LOCK = "SELECT pg_advisory_xact_lock(hashtext('_mesh_tables'))"


@dataclass(frozen=True, slots=True)
class Statement:
    """What a queued statement is about, no topic for our own tables; `division` is what its deliberate division by zero means."""

    topic: str
    division: type[Fenced] | type[Rejected] | None = None


class Pipe:
    """One connection, opened when first needed and again after it was lost."""

    def __init__(self, dsn: str, subscriber: str) -> None:
        self._dsn = dsn
        self._subscriber = subscriber
        self._connection: psycopg.Connection | None = None
        self._prepared: dict[str, bytes] = {}
        self._pending: list[Statement | None] = []

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
                for statement in (_TABLES_LOCK, *statements):
                    sql, params = (statement, None) if isinstance(statement, str) else statement
                    connection.execute(sql.encode(), params)
        except psycopg.Error as error:
            raise self._lost(error, topic) from None

    def queue(self, statement: Statement, sql: str, params: Sequence[bytes], *, arrays: int) -> None:
        """Queue a statement, prepared at its first use; the first `arrays` parameters are binary, the others text."""
        try:
            wire = self._open().pgconn
            if wire.pipeline_status == pq.PipelineStatus.OFF:
                wire.enter_pipeline_mode()
            name = self._prepared.get(sql)
            if name is None:
                name = self._prepared[sql] = f"_mesh_{len(self._prepared)}".encode()
                wire.send_prepare(name, sql.encode())
                self._pending.append(statement)
            formats = [pq.Format.BINARY] * arrays + [pq.Format.TEXT] * (len(params) - arrays)
            wire.send_query_prepared(name, params, formats)
            self._pending.append(statement)
        except psycopg.Error as error:
            raise self._lost(error) from None

    def end(self) -> None:
        """End the transaction: the server has all of it and commits when it comes to the end."""
        try:
            wire = self._open().pgconn
            wire.pipeline_sync()
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

    def close(self) -> None:
        """Close the connection; what was not committed is rolled back."""
        connection, self._connection = self._connection, None
        self._prepared.clear()
        self._pending.clear()
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
                options=_SESSION,
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
            raise _connect_error(error, self._subscriber) from None
        return self._connection

    def _lost(self, error: psycopg.Error, topic: str = "") -> MeshError:
        self.close()
        if error.sqlstate is None and not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            raise error  # our own mistake
        return translate(error.sqlstate, Place(topic=topic), self._subscriber)


def _wait(wire: pq.abc.PGconn, *, is_writing: bool) -> None:
    poll = select.poll()
    poll.register(wire.socket, select.POLLIN | (select.POLLOUT if is_writing else 0))
    until = time.monotonic() + ANSWER_WITHIN_SECONDS
    while not (events := poll.poll(1_000)):
        if time.monotonic() > until:
            raise psycopg.OperationalError("the server is silent")
    if events[0][1] & ~select.POLLOUT:
        wire.consume_input()


def _failure(result: pq.abc.PGresult, statement: Statement, subscriber: str) -> MeshError:
    state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
    if state == "22012" and statement.division is Fenced:
        return Fenced(f"{subscriber}: another process took a partition over, or its database went back")
    if state == "22012" and statement.division is Rejected:
        return Rejected(
            "partial_without_row",
            f"{statement.topic}: an update without all columns finds no row to complete",
            fix="deliver the grant again: `mesh replay <grant>`",
        )
    fields = (pq.DiagnosticField.TABLE_NAME, pq.DiagnosticField.COLUMN_NAME, pq.DiagnosticField.CONSTRAINT_NAME)
    names = [name.decode("utf-8", "replace") for field in fields if (name := result.error_field(field))]
    is_raised = result.error_field(pq.DiagnosticField.SOURCE_FUNCTION) == b"exec_stmt_raise"
    return translate(state, Place(topic=statement.topic, names=" ".join(names), is_raised=is_raised), subscriber)


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
