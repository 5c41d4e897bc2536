# ruff: noqa: S608  -- identifiers are quoted, values are always parameters
"""Marks of ended topics in a PostgreSQL (sinks/table/ends.py), and the tables that a later edition takes over."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from schemas.feed import edition_of
from sinks.postgresql.pipe import Pipe
from sinks.postgresql.table.row import sql_type
from sinks.postgresql.table.table import DeliveredTable, does_fit, quote
from sinks.table.ends import ENDED
from sinks.table.target import TOKEN


def reshaping(pipe: Pipe, topic: str, table: DeliveredTable, found: Mapping[str, str]) -> list[str]:
    """Statements that give an empty table the column types of a later edition, whose rows come all anew."""
    unfit = [column for column in table.columns if column.name in found and not does_fit(column, found[column.name])]
    if edition_of(topic) == 1 or TOKEN not in found or not unfit:
        return []
    if pipe.rows(f"SELECT EXISTS (SELECT FROM {table.path})") != [(False,)]:
        return []
    kinds = [(quote(column.name), sql_type(column.kind)) for column in unfit]
    return [f"ALTER TABLE {table.path} ALTER COLUMN {name} TYPE {kind} USING NULL::{kind}" for name, kind in kinds]


class PostgresEndMarks:
    """`name_of` gives the table of a topic's rows."""

    def __init__(self, pipe: Pipe, subscriber: str, schema: str, name_of: Callable[[str], str]) -> None:
        self._pipe = pipe
        self._subscriber = subscriber
        self._schema = schema
        self._name_of = name_of
        self._offsets = f"{quote(schema)}._mesh_offsets"

    def mark(self, topic: str, *, is_removed: bool) -> None:
        """See EndMarks."""
        params: dict[str, Any] = {"topic": topic, "subscriber": self._subscriber}
        statements: list[tuple[str, dict[str, Any]]] = [
            (
                f"INSERT INTO {self._offsets} (topic, partition, subscriber, epoch) "
                f"VALUES (%(topic)s, {ENDED}, %(subscriber)s, 0) ON CONFLICT DO NOTHING",
                params,
            ),
            (f"UPDATE {self._offsets} SET epoch = epoch + 1 WHERE topic = %(topic)s AND partition <> {ENDED}", params),
        ]
        if is_removed:
            statements += self._removal(self._name_of(topic), params)
        self._pipe.change_tables(statements)

    def _removal(self, name: str, params: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        path = f"{quote(self._schema)}.{quote(name)}"
        is_due = f"topic = %(topic)s AND partition = {ENDED} AND next_offset IS NULL"
        found = self._pipe.rows(
            "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attname = %s)", (path, TOKEN)
        )
        gone = f"DELETE FROM {path} WHERE EXISTS (SELECT FROM {self._offsets} WHERE {is_due}) RETURNING 1"
        with_gone = f"WITH gone AS ({gone}) " if found == [(True,)] else ""
        count = "(SELECT count(*) FROM gone)" if with_gone else "0"
        memory = f"DELETE FROM {quote(self._schema)}._mesh_removed WHERE topic = %(topic)s"
        return [
            (f"{with_gone}UPDATE {self._offsets} SET next_offset = {count} WHERE {is_due}", params),
            (memory, params),
        ]

    def of(self, topics: Collection[str]) -> dict[str, int | None]:
        """See EndMarks."""
        sql = f"SELECT topic, next_offset FROM {self._offsets} WHERE topic = ANY(%s) AND partition = {ENDED}"
        return dict(self._pipe.rows(sql, (list(topics),)))
