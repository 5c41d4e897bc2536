# ruff: noqa: S608  -- identifiers are quoted, values are parameters
"""Columns that were delivered to a MariaDB or MySQL, by `_mesh_tables`, and how those go that a grant no longer names."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from schemas.errors import MeshError, Transient
from sinks.mysql.pipe import MysqlPipe
from sinks.mysql.table.catalog import NO_MARK, table_in
from sinks.mysql.table.memory import RememberedTable, TableMemory
from sinks.mysql.table.table import quote


class MysqlColumns:
    """See DeliveredColumns."""

    def __init__(self, pipe: MysqlPipe) -> None:
        self._pipe = pipe
        self._memory = TableMemory(pipe)

    def delivered(self, topic: str) -> Iterator[tuple[str, Collection[str]]]:
        """See DeliveredColumns."""
        if self._pipe.rows(
            "SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = '_mesh_tables'"
        ):
            yield from ((known.name, known.columns) for known in self._memory.of([topic]).values())

    def remove(self, topic: str, name: str, gone: Sequence[str]) -> None:
        """See DeliveredColumns.

        They go before they are forgotten. Ended in between, we would take them for lost, and fill a table anew that has no place
        for them.
        """
        found = table_in(self._pipe.rows, name)
        there = [column for column in gone if found and column in found.columns]
        if found and there:
            drops = ", ".join(f"DROP COLUMN {quote(column)}" for column in there)
            try:
                if found.mark == NO_MARK:
                    self._empty(topic, name, there)
                else:
                    self._pipe.change_tables([f"ALTER TABLE {quote(name)} {drops}"], topic)
            except Transient:
                raise
            except MeshError:  # a constraint of the department's, or no right to alter: its own things stay as they are
                self._empty(topic, name, there)
        known = self._memory.of([topic])[topic]
        left = RememberedTable(
            name=known.name,
            mark=known.mark,
            columns=known.columns - set(gone),
            filling=known.filling - set(gone),
            until=known.until,
        )
        self._memory.remember(topic, left)

    def _empty(self, topic: str, name: str, columns: Sequence[str]) -> None:
        for column in map(quote, columns):
            self._pipe.rows(f"UPDATE {quote(name)} SET {column} = NULL WHERE {column} IS NOT NULL", topic=topic)
