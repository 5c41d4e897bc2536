"""A truncate that comes before any row of its topic: right after a start, or as the first record of all.

It has no key, so the table is not known as its rows will show it. What there is of it is emptied; where there is none, nothing is.
"""

from __future__ import annotations

from schemas.wire.envelope import frame
from schemas.wire.schema import SchemaOf
from sinks.postgresql.table.row import KeyReader, row_reader
from sinks.postgresql.table.table import TOKEN, DeliveredTable
from sinks.postgresql.table.tables import Tables
from sinks.postgresql.table.target import TargetTable


def emptying(name: str, schema: str, value_id: int, schema_of: SchemaOf, tables: Tables) -> TargetTable:
    """A target that takes truncates alone: no record with a key has its `key_head`."""
    reader = row_reader(schema_of(value_id))
    table = DeliveredTable(schema=schema, name=name, columns=reader.columns, key=())
    found = tables.columns(table)
    keys = KeyReader(columns=(), read=lambda _: ())
    return TargetTable(frame(value_id), b"", table, keys, reader.read, found if TOKEN in found else {}, frozenset())
