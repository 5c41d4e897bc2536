"""Sending: what one fold of a topic's changes comes to in statements, in the order in which they may follow each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from schemas.errors import Rejected
from sinks.postgresql.pipe import Pipe, SqlStatement
from sinks.postgresql.table.array import array
from sinks.postgresql.table.row import OIDS, cells, staging_type
from sinks.postgresql.table.table import DeliveredTable
from sinks.row import WireColumn
from sinks.table.fold import RunFold
from sinks.table.reading import Taken
from sinks.table.target import TargetTable
from sinks.table.targets import Conditions

_TEXT, _BYTEA = OIDS["text"], OIDS["bytea"]


class Sending:
    """Sends folds through one pipe."""

    def __init__(self, pipe: Pipe, conditions: Conditions) -> None:
        self._pipe = pipe
        self._conditions = conditions

    def send(self, target: TargetTable[DeliveredTable], topic: str, fold: RunFold) -> None:
        """Queue what the fold comes to, in the transaction that is open."""
        if not target.types:
            return  # tombstones of a table that was never made
        table, types, statement = target.table, target.types, SqlStatement(topic)
        if fold.truncated:
            self._conditions.has_removed.add(topic)
            self._pipe.queue(statement, table.truncate(), [fold.truncated, topic.encode()], arrays=0)
        if fold.forgotten:
            self._send_keys(target, topic, table.forget(types), dict.fromkeys(fold.forgotten, b""))
        if fold.removed:
            self._conditions.has_removed.add(topic)
            self._send_keys(target, topic, table.delete(types), fold.removed)
        self._send_whole(target, topic, fold)
        if fold.partial:
            self._send_partial(target, topic, fold.partial)

    def _send_whole(self, target: TargetTable[DeliveredTable], topic: str, fold: RunFold) -> None:
        table, types, statement, is_guarded = (
            target.table,
            target.types,
            SqlStatement(topic),
            topic in self._conditions.has_removed,
        )
        for takes_equal in (False, True):
            rows = {key: row for key, row in fold.whole.items() if (row.op == b"r") is takes_equal}
            if rows:
                if topic in self._conditions.giving_way:
                    self._send_giving_way(target, topic, table, rows, takes_equal=takes_equal)
                sql = target.sql.get((takes_equal, is_guarded))
                if sql is None:
                    sql = table.upsert(types, takes_equal=takes_equal, is_guarded=is_guarded)
                    target.sql[takes_equal, is_guarded] = sql
                self._send_rows(statement, sql, table.columns, rows, needs_keys=is_guarded)
                if anew := target.filling.intersection(column.name for column in table.columns):
                    self._send_rows(statement, table.fill(types, anew), table.columns, rows)

    def _send_giving_way(
        self,
        target: TargetTable[DeliveredTable],
        topic: str,
        sent: DeliveredTable,
        rows: Mapping[bytes, Taken],
        *,
        takes_equal: bool,
    ) -> None:
        nulled = target.giving_way
        is_whole = len(sent.columns) == len(target.table.columns)
        if nulled is None or not (nulled or is_whole):
            return
        nulled = [name for name in nulled if name in {column.name for column in sent.columns}]
        if nulled or is_whole:
            sql = sent.give_way(target.types, nulled, takes_equal=takes_equal)
            self._send_rows(SqlStatement(topic), sql, sent.columns, rows)

    def _send_keys(
        self, target: TargetTable[DeliveredTable], topic: str, sql: str, tokens: Mapping[bytes, bytes]
    ) -> None:
        read = target.keys.read
        rows = {key: Taken(read(b"\0\0\0\0\0" + key), b"d", token, ()) for key, token in tokens.items()}
        self._send_rows(SqlStatement(topic), sql, target.keys.columns, rows)

    def _send_partial(self, target: TargetTable[DeliveredTable], topic: str, rows: Mapping[bytes, Taken]) -> None:
        groups: dict[tuple[str, ...], dict[bytes, Taken]] = {}
        for key, row in rows.items():
            groups.setdefault(tuple(sorted(row.unchanged)), {})[key] = row
        for absent, group in groups.items():
            numbers = [number for number, column in enumerate(target.table.columns) if column.wire not in absent]
            columns = [target.table.columns[number] for number in numbers]
            cut = {
                key: row._replace(cells=tuple(row.cells[number] for number in numbers))
                for key, row in group.items()
                if row.cells is not None
            }
            if topic in self._conditions.giving_way:
                self._send_giving_way(
                    target, topic, replace(target.table, columns=tuple(columns)), cut, takes_equal=False
                )
            self._send_rows(SqlStatement(topic), target.table.update(target.types, columns), columns, cut)
            if anew := target.filling.intersection(column.name for column in columns):
                sent = replace(target.table, columns=tuple(columns))
                self._send_rows(SqlStatement(topic), sent.fill(target.types, anew), columns, cut)
            check = target.table.check_present(target.types, columns)
            self._send_rows(SqlStatement(topic, Rejected), check, columns, cut)

    def _send_rows(
        self,
        statement: SqlStatement,
        sql: str,
        columns: Sequence[WireColumn],
        rows: Mapping[bytes, Taken],
        *,
        needs_keys: bool = True,
    ) -> None:
        found = zip(*(row.cells for row in rows.values() if row.cells is not None), strict=True)
        params = [array(column, OIDS[staging_type(kind)]) for column, kind in zip(found, columns, strict=True)]
        params.append(array(cells(row.token for row in rows.values()), _TEXT))
        # A statement that looks up no removal needs no keys: there unnest gives null.
        params.append(array(cells(rows) if needs_keys else [], _BYTEA))
        params.append(statement.topic.encode())
        self._pipe.queue(statement, sql, params, arrays=len(params) - 1)
