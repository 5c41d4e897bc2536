"""From a live table's columns to a contract's fields: names and types (producers/RULES.md, Values)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from producers.postgresql.link.catalog import TableColumn
from producers.postgresql.value.avro import Unmapped, encoder, is_opaque
from producers.postgresql.value.decimal import digits_of
from producers.postgresql.value.type import OIDS, PgType
from schemas.contract import Field
from schemas.wire.name import avro_name
from schemas.wire.schema import AvroSchema

_PLAIN: Mapping[str, AvroSchema] = {
    "bool": "boolean",
    "int2": "int",
    "int4": "int",
    "int8": "long",
    "oid": "long",
    **dict.fromkeys(OIDS, "long"),
    "float4": "float",
    "float8": "double",
    "bytea": "bytes",
    "uuid": {"type": "string", "logicalType": "uuid"},
    "date": {"type": "int", "logicalType": "date"},
    "time": {"type": "long", "logicalType": "time-micros"},
    "timestamp": {"type": "long", "logicalType": "local-timestamp-micros"},
    "timestamptz": {"type": "long", "logicalType": "timestamp-micros"},
    "vector": {"type": "array", "items": "float"},
    "halfvec": {"type": "array", "items": "float"},
}
_NARROWER = frozenset({"date", "time", "timestamp", "timestamptz", "interval"})
"""Types with values that their typed branch cannot hold: infinity, years BC, 24:00."""


def field_of(column: TableColumn, *, typmod: int, is_key: bool, is_lossless: bool) -> dict[str, Any]:
    """The contract's field for a column. Raises Unmapped, with the reason and what to do, when no type carries it."""
    name = avro_name(column.name)
    typed = _typed(column.type, typmod, name)
    branches = [typed]
    if is_lossless and not is_key and _is_narrower(column.type, typed):
        branches.append("string")
    if not (is_key or column.is_not_null):
        branches.insert(0, "null")
    entry: dict[str, Any] = {"name": name, "type": branches[0] if len(branches) == 1 else branches}
    if branches[0] == "null":
        entry["default"] = None
    if note := (column.note or "").strip():
        entry["doc"] = note
    if name != column.name:
        entry["column"] = column.name
    entry |= {"pg.type": column.shown, "pg.typmod": typmod, "pg.notnull": column.is_not_null}
    field = _as_field(entry, is_key=is_key)
    encoder(column.type, field)
    return entry


def _as_field(entry: Mapping[str, Any], *, is_key: bool) -> Field:
    kind = entry["type"]
    branches = kind if isinstance(kind, list) else [kind]
    return Field(
        name=entry["name"],
        branches=tuple(branch for branch in branches if branch != "null"),
        is_nullable="null" in branches,
        is_key=is_key,
        doc=entry.get("doc", ""),
        tags=frozenset(),
        gov={},
        properties=entry,
    )


def _typed(pg: PgType, typmod: int, name: str) -> AvroSchema:
    if pg.element is not None:
        item = _typed(pg.element, typmod, name)
        is_nested = isinstance(item, dict) and item["type"] in ("array", "record")
        # Another delimiter than the comma would not survive where the literal of such an array is read as one of text.
        is_printed = is_nested or pg.delimiter != ","
        return _printed(pg) if is_printed else {"type": "array", "items": ["null", item]}
    if not pg.is_base or pg.has_output_only:
        return _printed(pg)
    if pg.name == "numeric" and (digits := _digits(typmod)) is not None:
        return {"type": "bytes", "logicalType": "decimal", "precision": digits[0], "scale": digits[1]}
    if pg.name == "interval":
        parts = [{"name": "months", "type": "int"}, {"name": "days", "type": "int"}, {"name": "micros", "type": "long"}]
        return {"type": "record", "name": f"Interval_{name}", "fields": parts}
    return _PLAIN.get(pg.name) or _printed(pg)


def _printed(pg: PgType) -> AvroSchema:
    """`string` for what we can print as the server does; the rest goes as the server sends it."""
    return "bytes" if is_opaque(pg) else "string"


def _digits(typmod: int) -> tuple[int, int] | None:
    """Precision and scale of a numeric; None where Avro has no such decimal (no limit, or a scale outside 0..precision)."""
    digits = digits_of(typmod)
    return digits if digits is not None and 0 <= digits[1] <= digits[0] else None


def _is_narrower(pg: PgType, typed: AvroSchema) -> bool:
    is_limited = pg.name == "numeric" or (pg.element is not None and pg.text is not None)
    return pg.name in _NARROWER or (typed not in ("string", "bytes") and is_limited)


__all__ = ["Unmapped", "field_of"]
