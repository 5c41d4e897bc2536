# ruff: noqa: S608  -- identifiers are quoted, values are always parameters
"""Columns that a grant no longer names leave the subscriber's table, and records written before bring them in no more.

Only columns that we delivered are touched (`_mesh_tables`). Where the table is ours the column is dropped; where it is not, or
something of the department's depends on the column, its values are set to null.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from schemas.errors import ContractBroken
from schemas.wire.name import column_name
from sinks.postgresql.pipe import Pipe
from sinks.postgresql.table.row import Taken
from sinks.postgresql.table.table import quote
from sinks.row import WireColumn, columns_of, row_record

_logger = logging.getLogger(__name__)


def wire_names(envelope: Mapping[str, Any]) -> frozenset[str]:
    """The columns that an envelope's row has, as they are called on the wire."""
    return frozenset(column.wire for column in columns_of(row_record(envelope)))


class Narrowed:
    """What the present grants let the tables of one sink have, by topic.

    A grant that names more is heard of here after the first records that have it: streams hears of grants by itself. So before
    anything is cut from a record `present_columns` asks what the grant names now; None where there is none.
    """

    def __init__(
        self, pipe: Pipe, subscriber: str, schema: str, present_columns: Callable[[str], frozenset[str] | None]
    ) -> None:
        self._pipe = pipe
        self._subscriber = subscriber
        self._schema = schema
        self._memory = f"{quote(schema)}._mesh_tables"
        self._present_columns = present_columns
        self._permitted: dict[str, frozenset[str]] = {}
        self._cut: set[str] = set()

    def permit(self, topic: str, envelope: Mapping[str, Any]) -> bool:
        """No columns but this schema's from now on; whether that is news, or any had to go."""
        permitted = wire_names(envelope)
        named = permitted | set(map(column_name, permitted))
        is_news = self._permitted.get(topic) != permitted
        self._permitted[topic] = permitted
        if self._pipe.rows("SELECT to_regclass(%s)", (self._memory,)) == [(None,)]:
            return is_news
        gone: list[str] = []
        for name, known in self._pipe.rows(f"SELECT name, columns FROM {self._memory} WHERE topic = %s", (topic,)):
            gone = sorted(set(known) - named)
            if gone:
                self._remove(topic, f"{quote(self._schema)}.{quote(name)}", gone)
                _logger.info("%s: table %s no longer has %s", self._subscriber, name, ", ".join(gone))
        return is_news or bool(gone)

    def _remove(self, topic: str, path: str, gone: Sequence[str]) -> None:
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

    def cut_since(self) -> set[str]:
        """Topics with records that were cut since last asked: whether they still are to be is asked again for each batch."""
        cut, self._cut = self._cut, set()
        return cut

    def permitted(
        self, topic: str, columns: tuple[WireColumn, ...], read: Callable[[bytes], Taken]
    ) -> tuple[tuple[WireColumn, ...], Callable[[bytes], Taken]]:
        """Those of a record's columns that may still be taken, and how they are read."""
        permitted = self._permitted.get(topic)
        wanted = {column.wire for column in columns}
        if permitted is not None and not wanted <= permitted and (present := self._present_columns(topic)) is not None:
            permitted = self._permitted[topic] = present
        if permitted is None or wanted <= permitted:
            return columns, read
        self._cut.add(topic)
        places = [place for place, column in enumerate(columns) if column.wire in permitted]

        def take(message: bytes) -> Taken:
            taken = read(message)
            if taken.cells is None:
                return taken
            return taken._replace(cells=tuple(taken.cells[place] for place in places))

        return tuple(columns[place] for place in places), take
