# ruff: noqa: S608  -- our own tables' names; values are parameters
"""Memory: what `_mesh_tables` says of the tables that we made, and how a topic's offsets go back so that one is filled anew."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sinks.mysql.pipe import MysqlPipe, OpenTransaction
from sinks.mysql.table.cell import literal
from sinks.mysql.table.table import OFFSETS, TABLES

GONE = ""
"""The mark of a table that is gone, and whose offsets have gone back already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RememberedTable:
    """What stands in `_mesh_tables` of one topic.

    `mark` says which table of its name it was. `filling` are columns that a fill under way sets in current rows too, `until` the
    offsets, by partition, at which it ends; None without one.
    """

    name: str
    mark: str
    columns: frozenset[str]
    filling: frozenset[str] = field(default_factory=frozenset)
    until: Mapping[str, int] | None = None


class TableMemory:
    """Of one database."""

    def __init__(self, pipe: MysqlPipe) -> None:
        self._pipe = pipe

    def of(self, topics: Collection[str]) -> Mapping[str, RememberedTable]:
        """What is remembered of these topics."""
        if not topics:
            return {}
        sql = f"SELECT topic, name, mark, columns, filling, until FROM {TABLES} WHERE topic IN %s"
        return {
            topic: RememberedTable(
                name=name,
                mark=mark,
                columns=frozenset(json.loads(columns)),
                filling=frozenset(json.loads(filling) if filling else ()),
                until=json.loads(until) if until else None,
            )
            for topic, name, mark, columns, filling, until in self._pipe.rows(sql, (list(topics),))
        }

    def remember(self, topic: str, table: RememberedTable) -> None:
        """Keep this of a topic, whatever was kept."""
        self._pipe.transaction(lambda session: _keep(session, topic, table), topic)

    def rewind(self, topic: str, table: RememberedTable) -> None:
        """Keep this of a topic, and set its offsets back to nothing, so that it is delivered from the beginning.

        A fill is over where they are now. It comes before a table or column is made again: whatever ends us in between, the rows
        come.
        """

        def act(session: OpenTransaction) -> None:
            where = b" WHERE topic = " + literal(topic.encode())
            now = session.rows(
                f"SELECT `partition`, next_offset FROM {OFFSETS}".encode()
                + where
                + b" AND next_offset IS NOT NULL AND `partition` >= 0 FOR UPDATE"
            )
            until = {**(table.until or {}), **{str(number): offset for number, offset in now}}
            _keep(session, topic, _with_until(table, until))
            session.execute(f"UPDATE {OFFSETS} SET next_offset = NULL".encode() + where + b" AND `partition` >= 0")

        self._pipe.transaction(act, topic)

    def has_offsets(self, topic: str) -> bool:
        """Whether anything of the topic was delivered."""
        sql = f"SELECT 1 FROM {OFFSETS} WHERE topic = %s AND next_offset > 0 AND `partition` >= 0 LIMIT 1"
        return bool(self._pipe.rows(sql, (topic,)))

    def end_fills(self, topics: Sequence[str]) -> Sequence[str]:
        """Forget the fills of these topics that are over; which those are."""
        known = {topic: table for topic, table in self.of(topics).items() if table.until is not None}
        at: dict[tuple[str, str], int] = {}
        if known:
            sql = f"SELECT topic, `partition`, next_offset FROM {OFFSETS} WHERE topic IN %s AND next_offset IS NOT NULL"
            for topic, number, offset in self._pipe.rows(sql, (list(known),)):
                at[topic, str(number)] = offset
        ended = [
            topic
            for topic, table in known.items()
            if all(at.get((topic, number), -1) >= offset for number, offset in (table.until or {}).items())
        ]
        for topic in ended:
            table = known[topic]
            self.remember(topic, RememberedTable(name=table.name, mark=table.mark, columns=table.columns))
        return [topic for topic in topics if topic not in known or topic in ended]


def _with_until(table: RememberedTable, until: Mapping[str, int]) -> RememberedTable:
    return RememberedTable(
        name=table.name, mark=table.mark, columns=table.columns, filling=table.filling, until=until or None
    )


def _keep(session: OpenTransaction, topic: str, table: RememberedTable) -> None:
    values: Sequence[Any] = (
        topic,
        table.name,
        table.mark,
        json.dumps(sorted(table.columns), ensure_ascii=False),
        json.dumps(sorted(table.filling), ensure_ascii=False) if table.filling else None,
        json.dumps(table.until) if table.until else None,
    )
    cells = b",".join(b"NULL" if value is None else literal(value.encode()) for value in values)
    session.execute(
        f"REPLACE INTO {TABLES} (topic, name, mark, columns, filling, until) VALUES (".encode() + cells + b")"
    )
