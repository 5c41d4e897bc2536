"""Connections to a captured PostgreSQL: one for statements, one for replication, both with the same fixed settings.

The settings decide how values without a binary form print, so they are the same on both connections (PG-21).
Failures leave this door as Transient or Misconfigured, with the statement that mends them.
"""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq.abc import PGconn, PGresult

from producers.postgresql.link.error import broken, told
from producers.postgresql.link.text import TextConnection
from producers.postgresql.value.encoding import codec_of
from schemas.errors import MeshError, Misconfigured, Transient

CONNECT_SECONDS = 10
ANSWER_SECONDS = 60.0
"""How long a statement may take: none of ours waits longer for a lock, so that a link which carries nothing any more is noticed."""

OPTIONS = " ".join(
    f"-c {name}={value}"
    for name, value in {
        "DateStyle": "ISO",
        "IntervalStyle": "postgres",
        "extra_float_digits": "1",
        "bytea_output": "hex",
        "TimeZone": "UTC",
        "lc_monetary": "C",
        "xmloption": "content",
        # What a department set for our role ends here: these settings win over those of role and database.
        "default_transaction_read_only": "off",
        "default_transaction_isolation": r"read\ committed",
        "default_transaction_deferrable": "off",
        "search_path": "public",
        "row_security": "off",  # a policy would hide rows from a copy in silence; so it is an error
        "client_min_messages": "warning",
        "standard_conforming_strings": "on",
        "quote_all_identifiers": "off",
        "wal_sender_timeout": "60s",
        "idle_session_timeout": "0",
        "statement_timeout": "0",
        "lock_timeout": "2s",
        "idle_in_transaction_session_timeout": "0",
        "synchronous_commit": "local",  # of a publication or an identity, for which no standby need be waited
        "exit_on_error": "off",
        "tcp_user_timeout": "60s",
        "tcp_keepalives_idle": "20s",
        "tcp_keepalives_interval": "5s",
        "tcp_keepalives_count": "4",
    }.items()
)
_WAITS_FOR_OTHERS = "-c lock_timeout=0"
"""A new slot waits for every transaction that runs (PG-10), which counts as a lock, and none of a table's is ever taken there."""
_HAS_TRANSACTION_TIMEOUT, _NO_TRANSACTION_TIMEOUT = 170_000, "SET transaction_timeout TO 0"
"""A setting that older servers do not know, and refuse as an option."""

_PARAMETERS = {
    "client_encoding": "UTF8",
    "options": OPTIONS,
    "connect_timeout": str(CONNECT_SECONDS),
    # A half-open socket would otherwise look like a quiet database for ever (PG-12).
    "keepalives": "1",
    "keepalives_idle": "20",
    "keepalives_interval": "5",
    "keepalives_count": "4",
    "tcp_user_timeout": "60000",
}

_NAMES = {
    "table": pq.DiagnosticField.TABLE_NAME,
    "column": pq.DiagnosticField.COLUMN_NAME,
    "type": pq.DiagnosticField.DATATYPE_NAME,
    "constraint": pq.DiagnosticField.CONSTRAINT_NAME,
}
_NO_DATABASE, _BAD_PASSWORD, _BAD_ROLE, _NO_PRIVILEGE = "3D000", "28P01", "28000", "42501"
_CHANGED_MEANWHILE = ("42703", "42P01")
"""Undefined column or table: our statements name what the catalog showed, so somebody changed it since; the next look tells."""
_NOT_IN_ENCODING, _NOT_CONVERTED = "22021", "22P05"
_OBJECT_IN_USE, _FULL, _LOCKED = "55006", "53400", "55P03"


class Locked(Transient):
    """Somebody holds a lock on the table for longer than we were willing to wait."""


def database_of(address: str) -> str:
    """The database's name in an address. Raises Misconfigured for what is none."""
    try:
        parts = conninfo_to_dict(address)
    except psycopg.ProgrammingError:
        raise _no_address() from None
    return str(parts.get("dbname") or parts.get("user") or "")


def _conninfo(address: str, **extra: str) -> str:
    try:
        return make_conninfo(address, **(_PARAMETERS | extra))
    except psycopg.ProgrammingError:
        raise _no_address() from None


def _no_address() -> Misconfigured:
    fix = "write postgresql://user:password@host:port/database"
    return Misconfigured("address", "is no PostgreSQL address", fix=fix)


def connect(address: str, *, name: str, text_encoding: str | None = None, role: str = "") -> psycopg.Connection[Any]:
    """A connection for statements, in autocommit; `role` says what it is for where people see it. Raises Transient or Misconfigured.

    `text_encoding` is the source's option: how the names of an SQL_ASCII database are to be read.
    """
    conninfo = _conninfo(address, application_name=f"pearlmesh {name} {role}".rstrip())
    try:
        connection = TextConnection.connect(conninfo, autocommit=True)
    except psycopg.Error as error:  # nothing of a row is read yet, and a refusal is told in its own words
        raise _judge(error.sqlstate, str(error), name) from error
    connection.answers_within_seconds = ANSWER_SECONDS
    with translated(name):
        if connection.info.server_version >= _HAS_TRANSACTION_TIMEOUT:
            connection.execute(_NO_TRANSACTION_TIMEOUT)
        if text_encoding and connection.info.parameter_status("server_encoding") == "SQL_ASCII":
            connection.read_by(codec_of("SQL_ASCII", text_encoding, name))
        return connection


def raw_text(connection: PGconn, name: str) -> None:
    """From now on the server sends text as it holds it, in its own encoding. Raises Transient or Misconfigured."""
    encoding = connection.parameter_status(b"server_encoding") or b"UTF8"
    check(connection.exec_(b"SET client_encoding TO " + encoding), name)


def connect_replication(address: str, *, name: str, is_raw: bool = False) -> PGconn:
    """A walsender connection, that of a stream as `raw_text` where text is not UTF-8. Raises Transient or Misconfigured."""
    conninfo = _conninfo(
        address, application_name=f"pearlmesh {name}", replication="database", options=f"{OPTIONS} {_WAITS_FOR_OTHERS}"
    )
    # PGconn.connect holds the interpreter until the server answers: all sources would stand still with one that does not.
    connection = pq.PGconn.connect_start(conninfo.encode())
    deadline = time.monotonic() + CONNECT_SECONDS
    try:
        while (status := connection.connect_poll()) != pq.PollingStatus.OK:
            if status == pq.PollingStatus.FAILED:
                raise _judge(None, connection.get_error_message(), name)
            poll = select.poll()
            poll.register(connection.socket, select.POLLIN if status == pq.PollingStatus.READING else select.POLLOUT)
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise _judge(None, "the server does not answer", name)
    except psycopg.Error as error:
        raise _judge(None, str(error), name) from error
    if connection.server_version >= _HAS_TRANSACTION_TIMEOUT:
        check(connection.exec_(_NO_TRANSACTION_TIMEOUT.encode()), name)
    if is_raw:
        raw_text(connection, name)
    return connection


def command(connection: PGconn, statement: str, name: str) -> list[dict[str, str | None]]:
    """Run one replication command and return its rows as text. Raises Transient or Misconfigured."""
    return rows_of(connection.exec_(statement.encode()), name)


def rows_of(result: PGresult, name: str) -> list[dict[str, str | None]]:
    """The rows of a result as text. Raises Transient or Misconfigured when it is an error."""
    check(result, name)
    names = [(result.fname(column) or b"").decode() for column in range(result.nfields)]
    return [
        {
            column: value.decode() if (value := result.get_value(row, i)) is not None else None
            for i, column in enumerate(names)
        }
        for row in range(result.ntuples)
    ]


def check(result: PGresult, name: str) -> None:
    """Raise Transient or Misconfigured if the result is an error."""
    if result.status in (pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.BAD_RESPONSE, pq.ExecStatus.EMPTY_QUERY):
        state = result.error_field(pq.DiagnosticField.SQLSTATE)
        if state is None:
            raise _judge(None, broken(result.error_message.decode(errors="replace")), name)
        message = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b""
        names = {kind: (result.error_field(field) or b"").decode(errors="replace") for kind, field in _NAMES.items()}
        raise _judge(state.decode(), told(state.decode(), message.decode(errors="replace"), names), name)


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Turn a driver's exception into ours, without what it may quote of a row."""
    try:
        yield
    except psycopg.Error as error:
        raise failure(error, name) from error


def failure(error: psycopg.Error, name: str) -> MeshError:
    """What a driver's exception means to us, without what it may quote of a row."""
    if error.sqlstate is None:
        is_ours = not isinstance(
            error, psycopg.OperationalError
        )  # a value that the driver cannot read, which it then quotes
        return _judge(None, type(error).__name__ if is_ours else broken(str(error)), name)
    diagnosis = error.diag
    names = {
        "table": diagnosis.table_name,
        "column": diagnosis.column_name,
        "type": diagnosis.datatype_name,
        "constraint": diagnosis.constraint_name,
    }
    return _judge(error.sqlstate, told(error.sqlstate, diagnosis.message_primary or "", names), name)


def _judge(state: str | None, message: str, name: str) -> MeshError:
    text = " ".join(message.split())
    if state not in _CHANGED_MEANWHILE and (fix := _fix(state, text)) is not None:
        return Misconfigured(f"source {name}", text, fix=fix)
    if state == _LOCKED:
        return Locked(f"source {name}: {text}", retry_after_seconds=5.0)
    wait = 5.0 if state == _OBJECT_IN_USE else None
    # Without a state nothing came from the server itself.
    fix = "" if state else "see that it is up and reachable from here, and that the address is right"
    return Transient(f"source {name}: {text}", retry_after_seconds=wait, fix=fix)


def _fix(state: str | None, text: str) -> str | None:
    """What a person must do; None for what may heal by itself."""
    if state in (_BAD_PASSWORD, _BAD_ROLE) or "authentication failed" in text or "no password supplied" in text:
        return "correct the user and password in the source's address file"
    if state == _NO_DATABASE or ("database" in text and "does not exist" in text):
        return "correct the database in the source's address file"
    if state == _NO_PRIVILEGE or "permission denied" in text or "must be owner" in text:
        return "run `mesh check` on the agency's folder: it prints the GRANT statements"
    if state == _FULL and "slot" in text:
        return "ALTER SYSTEM SET max_replication_slots = 20; then restart the database"
    if state is not None and state[:2] in ("42", "22"):
        is_text = state in (_NOT_IN_ENCODING, _NOT_CONVERTED)
        encoding = "say among the source's options in agency.yaml what its text is in, such as text_encoding: gb18030"
        return encoding if is_text else f"run `mesh check` on the agency's folder (SQLSTATE {state})"
    return None
