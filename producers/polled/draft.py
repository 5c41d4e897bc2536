"""Draft of a polled database: a contract for each of its tables that has a key, by what SQLAlchemy says of the columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

from sqlalchemy import Column, inspect, types
from sqlalchemy.engine import Connection

from producers.draft import Drafted, DraftedTable, LeftOut, stems
from producers.polled.link import PollLink
from producers.polled.options import PolledOptions
from producers.polled.table import keys_of, schema_of, table_of
from schemas.contract import AvroType
from schemas.errors import Misconfigured
from schemas.wire.name import avro_name

_UNNAMED = "main"


def draft(address: str, names: Sequence[str], *, is_lossless: bool) -> Drafted:
    """See `producers.draft.Drafting`."""
    drafted = Drafted()
    with closing(PollLink(address, "mesh draft")) as link, link.reading("mesh draft") as connection:
        schema = inspect(connection).default_schema_name or _UNNAMED
        present = [f"{schema}.{table}" for table in sorted(inspect(connection).get_table_names())]
        wanted = [name if "." in name else f"{schema}.{name}" for name in names]
        for name, stem in stems(wanted or present):
            _table(drafted, connection, name, stem, is_lossless=is_lossless)
        is_plain = link.dialect == "sqlite"
    return replace(drafted, options=_options_of(drafted.tables), address=address if is_plain else "")


def _table(drafted: Drafted, connection: Connection, name: str, stem: str, *, is_lossless: bool) -> None:
    schema, _, plain = name.partition(".")
    if not inspect(connection).has_table(plain, schema=schema_of(connection, schema)):
        raise Misconfigured("mesh draft", f"there is no table {name}", fix="name a table that is there")
    table = table_of(connection, schema, plain)
    keys = keys_of(connection, table)
    key = [column.name for column in table.columns if keys and column.name in keys[0]]
    if not key:
        fix = f"let the department run: ALTER TABLE {plain} ADD PRIMARY KEY (<the columns that make a row unique>)"
        drafted.left_out.append(LeftOut(table=name, column="", reason="it has no primary key", fix=fix))
        return
    fields = [_field(column, is_key=column.name in key, is_lossless=is_lossless) for column in table.columns]
    drafted.tables.append(
        DraftedTable(table=name, stem=stem, doc="", key=[avro_name(one) for one in key], fields=fields)
    )


def _field(column: Column[Any], *, is_key: bool, is_lossless: bool) -> dict[str, Any]:
    name, kind = avro_name(column.name), _typed(column.type)
    branches: list[AvroType] = [kind, "string"] if is_lossless and kind != "string" and not is_key else [kind]
    entry: dict[str, Any] = {"name": name, "type": branches[0] if len(branches) == 1 else branches}
    if column.nullable and not is_key:
        entry |= {"type": ["null", *branches], "default": None}
    if column.comment:
        entry["doc"] = column.comment
    return entry if name == column.name else {**entry, "column": column.name}


def _typed(kind: types.TypeEngine[Any]) -> AvroType:
    if isinstance(kind, types.Numeric) and not isinstance(kind, types.Float):
        if not kind.precision:
            return "string"  # of any length: no decimal holds them all
        return {"type": "bytes", "logicalType": "decimal", "precision": kind.precision, "scale": kind.scale or 0}
    if isinstance(kind, types.DateTime) and kind.timezone:
        return {"type": "long", "logicalType": "timestamp-micros"}
    return next((avro for of, avro in _TYPES if isinstance(kind, of)), "string")


_TYPES: Sequence[tuple[type[types.TypeEngine[Any]], AvroType]] = (
    (types.Boolean, "boolean"),
    (types.Integer, "long"),  # SQLite's INTEGER, and unsigned ones elsewhere, hold more than an int
    (types.Float, "double"),
    (types.DateTime, {"type": "long", "logicalType": "local-timestamp-micros"}),
    (types.Date, {"type": "int", "logicalType": "date"}),
    (types.Time, {"type": "long", "logicalType": "time-micros"}),
    (types.LargeBinary, "bytes"),
    (types.Uuid, {"type": "string", "logicalType": "uuid"}),
)


def _options_of(tables: Sequence[DraftedTable]) -> Mapping[str, str]:
    """What the source's options must say beside: tables without the usual column are read whole."""
    usual = PolledOptions().updated_column
    has_usual = all(any(field["name"] == usual for field in table.fields) for table in tables)
    return {} if has_usual else {"updated_column": '""'}
