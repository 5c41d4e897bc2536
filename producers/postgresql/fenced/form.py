"""Form: how one column is written into the text that both the database and a feed's reader can make of a row.

| form  | the database writes                                    | NULL |
|-------|--------------------------------------------------------|------|
| plain | the value as its output function prints it, then `|`   | `|`  |
| text  | its length in bytes, `:`, the value, `|`               | `:|` |

Plain are types whose print is never empty and has no `|`, so that the text is read in one way only. What a type's print depends on
is set for our sessions (link.py). Floats and intervals are written as the bytes that the server sends of them; an array item by item,
since quoting depends on the server's locale. A pair of type and field without a form common to both sides has none: such tables are
compared row by row, encoded here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from producers.postgresql.value.type import OIDS, PgType
from schemas.contract import AvroType, Field

PLAIN, TEXT, HEX, ARRAY, STORE = "plain", "text", "hex", "array", "store"
_PLAIN = {
    ("bool", "boolean"),
    *((name, kind) for name in ("int2", "int4") for kind in ("int", "long")),
    ("int8", "long"),
    ("oid", "long"),
    ("date", "date"),
    ("timestamp", "local-timestamp-micros"),
    ("timestamptz", "timestamp-micros"),
    ("time", "time-micros"),
    ("bytea", "bytes"),
}
_SENT = {("float4", "float"): "float4send", ("float8", "double"): "float8send", ("interval", "record"): "interval_send"}
_MEASURED = frozenset({"text", "varchar", "bpchar"})
_FIT_ALWAYS = frozenset({"string", "int", "long", "boolean", "float", "double"})
"""Kinds whose items hold every value of a type that pairs with them."""


@dataclass(frozen=True, slots=True)
class Form:
    """`words` are what `concat` is given in SQL; `kind` says how the feed's side writes the same, `item` that of an array's items."""

    kind: str
    words: tuple[sql.Composable, ...]
    item: Form | None = None


def form_of(pg: PgType, typmod: int, field: Field, column: sql.Composable) -> Form | None:
    """The form of a column; None where the database and the feed have none in common."""
    typed = field.branches[0]
    items = typed.get("items") if isinstance(typed, Mapping) else None
    if items is not None and field.is_lossless and not _holds_all(items):
        return None  # a literal then says what the items would
    return _form(pg, typmod, typed, column)


def name_of(kind: AvroType) -> str:
    """The logical type, or the type, of a branch."""
    return str(kind.get("logicalType") or kind["type"]) if isinstance(kind, Mapping) else str(kind)


def without_null(kind: AvroType) -> list[AvroType]:
    """The branches of a type, those that are values."""
    return [branch for branch in (kind if isinstance(kind, list) else [kind]) if branch != "null"]


def concat(words: tuple[sql.Composable, ...]) -> sql.Composable:
    """One text of many words; a function takes a hundred arguments."""
    parts = [words[start : start + 90] for start in range(0, len(words), 90)]
    calls = [sql.SQL("concat({})").format(sql.SQL(", ").join(part)) for part in parts]
    return calls[0] if len(calls) == 1 else sql.SQL("concat({})").format(sql.SQL(", ").join(calls))


def _form(pg: PgType, typmod: int, typed: AvroType, column: sql.Composable) -> Form | None:  # noqa: PLR0911 - a return a form
    name = name_of(typed)
    if name in ("string", "uuid"):
        return Form(TEXT, _measured(pg, column))
    if name == "decimal" and _is_scaled(pg, typmod, typed):
        return Form(PLAIN, (column, _BAR))
    if pg.name in OIDS and name == "long":
        return Form(PLAIN, (sql.SQL("{}::oid").format(column), _BAR))
    if (pg.name, name) in _PLAIN:
        return Form(PLAIN, (column, _BAR))
    if (send := _SENT.get((pg.name, name))) is not None:
        return Form(HEX, (sql.SQL("pg_catalog.{}({})").format(sql.SQL(send), column), _BAR))  # pyright: ignore[reportArgumentType]
    if pg.name == "hstore" and name == "map":
        return Form(STORE, _measured(pg, column))
    if pg.element is not None and name == "array":
        return _array(pg.element, typmod, typed, column)
    return None


def _array(element: PgType, typmod: int, typed: Mapping[str, Any], column: sql.Composable) -> Form | None:
    branches = without_null(typed["items"])
    item = _form(element, typmod, branches[0], sql.SQL("e")) if len(branches) == 1 else None
    if item is None:
        return None
    listed = sql.SQL(
        "CASE WHEN num_nulls({c}) = 1 THEN NULL WHEN coalesce(array_ndims({c}), 1) = 1 AND coalesce(array_lower({c}, 1), 1) = 1"
        " THEN concat('[', (SELECT string_agg({item}, '' ORDER BY o)"
        " FROM (SELECT unnest({c}) AS e, generate_subscripts({c}, 1) AS o) u), ']')"
        " ELSE concat({literal}) END"
    ).format(c=column, item=concat(item.words), literal=sql.SQL(", ").join((_EQUALS, *_measured(None, column))))
    return Form(ARRAY, (listed, _BAR), item)


_BAR, _COLON, _EQUALS = sql.SQL("'|'"), sql.SQL("':'"), sql.SQL("'='")


def _measured(pg: PgType | None, column: sql.Composable) -> tuple[sql.Composable, ...]:
    # `concat` prints by the output function, which a cast to text may not (PG-21); a row of nulls is not NULL.
    is_text = pg is not None and pg.is_base and pg.name in _MEASURED
    size = "octet_length({c})" if is_text else "CASE WHEN num_nulls({c}) = 0 THEN octet_length(concat({c})) END"
    return sql.SQL(size).format(c=column), _COLON, column, _BAR


def _holds_all(items: AvroType) -> bool:
    return isinstance(items, list) and "null" in items and all(branch in _FIT_ALWAYS for branch in without_null(items))


def _is_scaled(pg: PgType, typmod: int, typed: Mapping[str, Any]) -> bool:
    """Whether the column prints as many digits behind the point as the field has."""
    scale = ((typmod - 4 & 0x7FF) ^ 1024) - 1024
    return pg.name == "numeric" and typmod >= 4 and scale == typed.get("scale", 0)
