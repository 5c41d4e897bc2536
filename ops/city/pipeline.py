"""Pipeline: one department's connection for writing, pipelined, a transaction at a time.

libpq's own pipeline mode costs about a tenth of what the driver's cursors do, and the city is only the scenery of a
measurement: its processor time is taken from what is measured.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

from ops.city.statement import RowChange
from schemas.errors import ContractBroken, Transient

UNREAD_MAX = 500
"""Statements sent without reading answers: their answers must fit the socket's buffers, or both sides wait for ever."""

_SESSION = "-c synchronous_commit=off"
"""One connection stands here for a department's hundreds of clerks, whose commits its database writes to disk together. Alone it
would wait for the disk at every commit, and the city's rate would be the disk's."""


class Pipeline:
    """Sends transactions without waiting; `answers` waits. Raises Transient when the database is gone."""

    def __init__(self, agency: str, dsn: str) -> None:
        self.agency = agency
        self._connection = pq.PGconn.connect(
            make_conninfo(dsn, application_name="mesh-city", options=_SESSION).encode()
        )
        if self._connection.status != pq.ConnStatus.OK:
            raise Transient(f"agency {agency}: cannot connect to its database", fix="see whether its server runs")
        self._connection.enter_pipeline_mode()
        self._prepared: set[bytes] = set()
        self._sent: deque[tuple[str, str] | None] = deque()  # feed and op; None where a transaction ends
        self._counted: Counter[tuple[str, str]] = Counter()

    def send(self, transaction: Sequence[RowChange]) -> None:
        """Send one transaction: everything up to the sync commits together or not at all."""
        connection = self._connection
        try:
            for statement, parameters in transaction:
                if statement.name not in self._prepared:
                    connection.send_prepare(statement.name, statement.text)
                    self._prepared.add(statement.name)
                    self._sent.append((statement.feed, ""))
                connection.send_query_prepared(statement.name, parameters)
                self._sent.append((statement.feed, statement.op))
            connection.pipeline_sync()
        except psycopg.Error as error:
            raise self._gone() from error
        self._sent.append(None)
        if len(self._sent) > UNREAD_MAX:
            self._read()

    def answers(self) -> Counter[tuple[str, str]]:
        """Wait until everything sent is committed; rows changed per feed and op since the last call."""
        self._read()
        counted, self._counted = self._counted, Counter()
        return counted

    def _read(self) -> None:
        rows: Counter[tuple[str, str]] = Counter()
        while self._sent:
            sent = self._sent.popleft()
            result = self._connection.get_result()
            if result is None:
                raise self._gone()
            if sent is None:
                if result.status != pq.ExecStatus.PIPELINE_SYNC:
                    raise self._gone()
                self._counted += rows  # the sync's answer says that the transaction is committed
                rows.clear()
                continue
            if result.status != pq.ExecStatus.COMMAND_OK:
                raise self._refused(sent[0], result)
            if sent[1]:
                rows[sent] += result.command_tuples or 0
            self._connection.get_result()  # the end of this statement's answer

    def _refused(self, feed: str, result: pq.abc.PGresult) -> Exception:
        state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
        if not state or state[:2] in {"08", "57"}:
            return self._gone()
        constraint = (result.error_field(pq.DiagnosticField.CONSTRAINT_NAME) or b"").decode()
        breach = f"its database refused a change (SQLSTATE {state} {constraint})"
        return ContractBroken(feed, breach, fix="make the city's databases anew: they no longer hold what it remembers")

    def _gone(self) -> Transient:
        return Transient(
            f"agency {self.agency}: the connection to its database broke", fix="see whether its server runs"
        )

    def close(self) -> None:
        """Let the connection go; what was not answered may or may not be committed."""
        self._connection.finish()
