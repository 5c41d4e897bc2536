"""Obstacles: which column, constraint or trigger of a table refused a row, and the statement that takes it away.

The server's text has the name, between values of the row: only names that the table really has are taken from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from schemas.errors import ContractBroken
from sinks.mysql.fault import CONFLICT
from sinks.mysql.pipe import MysqlPipe, Obstacle
from sinks.mysql.table.catalog import table_in
from sinks.mysql.table.drift import refuse_drift
from sinks.mysql.table.table import MysqlTable, quote

_QUOTED = re.compile(r"[`'\"]([^`'\"]{1,200})[`'\"]")
_UNIQUE = frozenset({1062, 1169, 1586, CONFLICT})
_FOREIGN = frozenset({1451, 1452, 1216, 1217, 1557, 1761, 1762})
_CHECK = frozenset({4025, 3819})
_SIGNAL = frozenset({1643, 1644, 1645})
_NO_DEFAULT = 1364
_NO_NULL = 1048


class _Named(NamedTuple):
    """A thing of the table that refuses rows. `of` is the table that has it, ours unless said."""

    what: str
    name: str
    repair: str
    of: str = ""


def obstacle_of(pipe: MysqlPipe, table: MysqlTable, number: int, text: str) -> Obstacle:
    """See `Explain`."""
    found = table_in(pipe.look, table.name)
    if found is not None and pipe.known_flavour is not None:
        try:
            refuse_drift(table, found, pipe.known_flavour)
        except ContractBroken as drift:
            return Obstacle(drift=drift)
    things = list(_things(pipe, table, number))
    named = {name for quoted in _QUOTED.findall(text) for name in (quoted, quoted.rpartition(".")[2])}
    refusing = [thing for thing in things if thing.name in named] or (things if number in _SIGNAL | {CONFLICT} else [])
    names = ", ".join(f"{thing.what} {thing.name}" for thing in refusing)
    return Obstacle(f"table {table.name} {names}".strip(), "; ".join(thing.repair for thing in refusing))


def _things(pipe: MysqlPipe, table: MysqlTable, number: int) -> Iterator[_Named]:  # noqa: C901 -- one arm per kind of thing
    path = table.path
    if number in _UNIQUE:
        for (name,) in pipe.look(
            "SELECT DISTINCT index_name FROM information_schema.statistics WHERE table_schema = DATABASE() "
            "AND table_name = %s AND non_unique = 0 AND index_name <> 'PRIMARY'",
            (table.name,),
        ):
            yield _Named("unique index", name, f"ALTER TABLE {path} DROP INDEX {quote(name)}")
    elif number in _FOREIGN:
        for name, of in pipe.look(
            "SELECT constraint_name, table_name FROM information_schema.referential_constraints "
            "WHERE constraint_schema = DATABASE() AND %s IN (table_name, referenced_table_name)",
            (table.name,),
        ):
            yield _Named("foreign key", name, f"ALTER TABLE {quote(of)} DROP FOREIGN KEY {quote(name)}")
    elif number in _CHECK:
        for (name,) in pipe.look(
            "SELECT constraint_name FROM information_schema.table_constraints WHERE table_schema = DATABASE() "
            "AND table_name = %s AND constraint_type = 'CHECK'",
            (table.name,),
        ):
            yield _Named("check", name, f"ALTER TABLE {path} DROP CONSTRAINT {quote(name)}")
    elif number in _SIGNAL:
        for (name,) in pipe.look(
            "SELECT trigger_name FROM information_schema.triggers WHERE event_object_schema = DATABASE() "
            "AND event_object_table = %s",
            (table.name,),
        ):
            yield _Named("trigger", name, f"DROP TRIGGER {quote(name)}")
    elif number in {_NO_DEFAULT, _NO_NULL}:
        for name, kind in pipe.look(
            "SELECT column_name, column_type FROM information_schema.columns WHERE table_schema = DATABASE() "
            "AND table_name = %s AND is_nullable = 'NO'",
            (table.name,),
        ):
            yield _Named("column", name, f"ALTER TABLE {path} MODIFY COLUMN {quote(name)} {kind.upper()} NULL")
    else:
        for (name,) in pipe.look(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = %s",
            (table.name,),
        ):
            yield _Named("column", name, "")
