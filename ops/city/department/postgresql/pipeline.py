"""Pipeline: one department's connection for writing, pipelined, a transaction at a time.

libpq's own pipeline mode costs about a tenth of what the driver's cursors do, and the city is only the scenery of a
measurement: its processor time is taken from what is measured.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable, MutableMapping, Sequence
from typing import NamedTuple

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo
from psycopg.pq.abc import PGconn, PGresult

from ops.city.department.change import RowChange
from ops.city.department.database import AGAIN_SECONDS, AWAY, CONNECT_WITHIN_SECONDS
from ops.city.department.postgresql.statement import Statement, Statements
from schemas.contract import Contract

UNREAD_MAX = 500
"""Statements sent without reading answers: their answers must fit the socket's buffers, or both sides wait for ever."""

SESSION = "-c synchronous_commit=off"
"""One connection stands here for a department's hundreds of clerks, whose commits its database writes to disk together. Alone it
would wait for the disk at every commit, and the city's rate would be the disk's."""

_ENDING = {"08", "57"}
"""Classes of SQLSTATE that end the connection."""
_OUTDATED = {"0A000", "42804"}
"""What a statement fails with that was prepared when its table's columns had other types; the server itself sees to all else."""


class _Sent(NamedTuple):
    statement: Statement
    is_change: bool
    """Not where it is only prepared."""


class _Away(Exception):
    """The connection broke."""


class Pipeline:
    """See Writer. Sends transactions without waiting; `answers` waits."""

    def __init__(
        self, agency: str, dsn: str, contracts: Iterable[Contract], hindered: MutableMapping[str, str]
    ) -> None:
        self._agency = agency
        self._statements = Statements(contracts)
        self._address = make_conninfo(
            dsn, application_name="mesh-city", options=SESSION, connect_timeout=CONNECT_WITHIN_SECONDS
        )
        self._hindered = hindered
        self._connection: PGconn | None = None
        self._retry_at = 0.0
        self._names: dict[bytes, bytes] = {}
        """By statement, the name under which this connection has it prepared."""
        self._prepared = 0
        self._sent: deque[_Sent | None] = deque()  # None where a transaction ends
        self._counted: Counter[tuple[str, str]] = Counter()

    def send(self, transaction: Sequence[RowChange], /) -> None:
        """See Writer: everything up to the sync commits together or not at all."""
        connection = self._opened()
        if connection is None:
            return
        try:
            for statement, parameters in map(self._statements.of, transaction):
                name = self._names.get(statement.name)
                if name is None:
                    self._prepared += 1
                    name = self._names[statement.name] = b"%s_%d" % (statement.name, self._prepared)
                    connection.send_prepare(name, statement.text)
                    self._sent.append(_Sent(statement, is_change=False))
                connection.send_query_prepared(name, parameters)
                self._sent.append(_Sent(statement, is_change=True))
            connection.pipeline_sync()
            self._sent.append(None)
            if len(self._sent) > UNREAD_MAX:
                self._read(connection)
        except (psycopg.Error, _Away):
            self._lose()

    def answers(self) -> Counter[tuple[str, str]]:
        """See Writer."""
        if self._connection is not None:
            try:
                self._read(self._connection)
            except (psycopg.Error, _Away):
                self._lose()
        counted, self._counted = self._counted, Counter()
        return counted

    def _opened(self) -> PGconn | None:
        if self._connection is None and time.monotonic() >= self._retry_at:
            connection = pq.PGconn.connect(self._address.encode())
            if connection.status != pq.ConnStatus.OK:
                connection.finish()
                self._lose()
                return None
            connection.enter_pipeline_mode()
            self._connection = connection
            self._hindered.pop(self._agency, None)
        return self._connection

    def _lose(self) -> None:
        """What was not answered may or may not be committed."""
        self.close()
        self._names.clear()
        self._sent.clear()
        self._retry_at = time.monotonic() + AGAIN_SECONDS
        self._hindered[self._agency] = AWAY

    def _read(self, connection: PGconn) -> None:
        rows: Counter[tuple[str, str]] = Counter()
        is_refused = False
        while self._sent:
            sent = self._sent.popleft()
            result = connection.get_result()
            if result is None:
                raise _Away
            if sent is None:
                if result.status != pq.ExecStatus.PIPELINE_SYNC:
                    raise _Away
                if not is_refused:
                    self._counted += rows  # the sync's answer says that the transaction is committed
                    for feed, _ in rows if self._hindered else ():
                        self._hindered.pop(feed, None)
                rows.clear()
                is_refused = False
                continue
            if result.status == pq.ExecStatus.COMMAND_OK:
                if sent.is_change:
                    rows[sent.statement.feed, sent.statement.op] += result.command_tuples or 0
            else:
                is_refused = True
                self._refused(sent, result)
            connection.get_result()  # the end of this statement's answer

    def _refused(self, sent: _Sent, result: PGresult) -> None:
        """A statement failed, or the one before it in its transaction did."""
        state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
        if result.status != pq.ExecStatus.PIPELINE_ABORTED:
            if not state or state[:2] in _ENDING:
                raise _Away
            constraint = (result.error_field(pq.DiagnosticField.CONSTRAINT_NAME) or b"").decode()
            what = f"SQLSTATE {state}, {constraint}" if constraint else f"SQLSTATE {state}"
            self._hindered[sent.statement.feed] = f"its database refuses what the city writes ({what})"
        if not sent.is_change or state in _OUTDATED:
            self._names.pop(sent.statement.name, None)

    def close(self) -> None:
        """See Writer."""
        if self._connection is not None:
            self._connection.finish()
            self._connection = None
