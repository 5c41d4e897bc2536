# ruff: noqa: S608  -- identifiers are quoted, values are always parameters
"""Columns that were delivered to a PostgreSQL, by `_mesh_tables`, and how those go that a grant no longer names."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from schemas.errors import ContractBroken
from sinks.postgresql.pipe import Pipe
from sinks.postgresql.table.table import quote


class PostgresColumns:
    """See DeliveredColumns."""

    def __init__(self, pipe: Pipe, schema: str) -> None:
        self._pipe = pipe
        self._schema = schema
        self._memory = f"{quote(schema)}._mesh_tables"

    def delivered(self, topic: str) -> Iterator[tuple[str, Collection[str]]]:
        """See DeliveredColumns."""
        if self._pipe.rows("SELECT to_regclass(%s)", (self._memory,)) != [(None,)]:
            yield from self._pipe.rows(f"SELECT name, columns FROM {self._memory} WHERE topic = %s", (topic,))

    def remove(self, topic: str, name: str, gone: Sequence[str]) -> None:
        """See DeliveredColumns."""
        path = f"{quote(self._schema)}.{quote(name)}"
        sql = (
            "SELECT a.attname, pg_has_role(c.relowner, 'USAGE') FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
            "WHERE c.oid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped AND a.attname = ANY(%s)"
        )
        there = dict(self._pipe.rows(sql, (path, list(gone))))
        forget: tuple[str, dict[str, Any]] = (
            f"UPDATE {self._memory} SET columns = ARRAY(SELECT unnest(columns) EXCEPT SELECT unnest(%(gone)s::text[])), "
            "filling = (SELECT array_agg(f) FROM unnest(filling) f WHERE f <> ALL (%(gone)s::text[])) WHERE topic = %(topic)s",
            {"topic": topic, "gone": list(gone)},
        )
        emptied = [f"UPDATE {path} SET {quote(name)} = NULL WHERE {quote(name)} IS NOT NULL" for name in there]
        if there and all(there.values()):
            try:
                self._pipe.change_tables([*(f"ALTER TABLE {path} DROP COLUMN {quote(name)}" for name in there), forget])
            except ContractBroken:  # a view, say: the department's own things stay as they are
                self._pipe.change_tables([*emptied, forget])
        else:
            self._pipe.change_tables([*emptied, forget])
