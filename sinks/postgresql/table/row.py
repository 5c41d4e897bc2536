"""PostgreSQL rows: from an envelope's Avro bytes straight to PostgreSQL's binary field format, without a dictionary between.

A cell is what a binary array of the staging type holds per element: four bytes of length, then the value; a NULL is length -1.
Text goes over as the bytes it is. Uuid, arrays and columns with a verbatim branch are staged as text, and PostgreSQL itself reads
that text into the column's type.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from schemas.wire.walk import AvroType, decode
from sinks.row import WireColumn, decimal_text, json_of, python_of
from sinks.table.reading import KeyReader, RowReader, RowWalk, read_keys, read_rows

NULL = b"\xff\xff\xff\xff"
_INT = struct.Struct(">ii").pack
_LONG = struct.Struct(">iq").pack
_LENGTHS = tuple(length.to_bytes(4, "big") for length in range(128))
DAYS_TO_2000 = 10_957
MICROS_TO_2000 = 946_684_800_000_000
NEGATIVE = 0x4000
"""The sign of a numeric below zero."""
TEXT = "text"
OIDS = {
    "boolean": 16,
    "bytea": 17,
    "bigint": 20,
    "integer": 23,
    "text": 25,
    "real": 700,
    "double precision": 701,
    "date": 1082,
    "time": 1083,
    "timestamp": 1114,
    "timestamptz": 1184,
    "numeric": 1700,
}
_SIMPLE = {
    "boolean": "boolean",
    "int": "integer",
    "long": "bigint",
    "float": "real",
    "double": "double precision",
    "string": "text",
    "enum": "text",
    "bytes": "bytea",
    "fixed": "bytea",
}
_LOGICAL = {
    "date": "date",
    "time-millis": "time",
    "time-micros": "time",
    "timestamp-millis": "timestamptz",
    "timestamp-micros": "timestamptz",
    "local-timestamp-millis": "timestamp",
    "local-timestamp-micros": "timestamp",
    "uuid": "uuid",
}
_INTERVAL = {"months", "days", "micros"}


def sql_type(kind: AvroType) -> str:
    """The PostgreSQL type of a column whose typed branch is `kind`."""
    if isinstance(kind, Mapping):
        logical = kind.get("logicalType")
        if logical == "decimal":
            return f"numeric({int(kind['precision'])},{int(kind.get('scale', 0))})"
        if logical in _LOGICAL:
            return _LOGICAL[logical]
        if kind["type"] == "array":
            items = kind["items"]
            branches = [items] if not isinstance(items, list) else [item for item in items if item != "null"]
            inner = sql_type(branches[0]) if len(branches) == 1 else "jsonb"
            return "jsonb" if inner == "jsonb" or inner.endswith("[]") else f"{inner}[]"
        if kind["type"] == "record" and {field["name"] for field in kind["fields"]} == _INTERVAL:
            return "interval"
        return _SIMPLE.get(kind["type"], "jsonb") if isinstance(kind["type"], str) else sql_type(kind["type"])
    return _SIMPLE.get(kind, "jsonb")


def staging_type(column: WireColumn) -> str:
    """The type in which the column's values are sent."""
    target = sql_type(column.kind)
    target = "numeric" if column.logical_type == "decimal" else target
    return target if target in OIDS and not column.is_lossless and column.type_name != "enum" else TEXT


def text_of(kind: AvroType) -> Callable[[Any], str]:  # noqa: PLR0911 -- one arm per type
    """How a raw value is written for PostgreSQL to read."""
    target = sql_type(kind)
    typed = python_of(kind)
    if target.startswith("numeric") and not target.endswith("[]"):
        scale = kind.get("scale", 0)
        return lambda raw: decimal_text(int.from_bytes(raw, "big", signed=True), scale)
    if target.endswith("[]"):
        return _array_text(kind)
    if target == "interval":
        return lambda value: f"{value['months']} months {value['days']} days {value['micros']} microseconds"
    if target == "jsonb":
        as_json = json_of(kind)
        return lambda value: json.dumps(as_json(value), ensure_ascii=False)
    if target == "bytea":
        return lambda raw: "\\x" + raw.hex()
    if target == "boolean":
        return lambda value: "t" if value else "f"
    if target in {"date", "time", "timestamp", "timestamptz"}:
        return lambda value: typed(value).isoformat()
    if isinstance(kind, Mapping) and kind["type"] == "enum":
        symbols = kind["symbols"]
        return lambda value: symbols[value] if isinstance(value, int) else value
    return str


def _array_text(kind: AvroType) -> Callable[[Any], str]:
    items = kind["items"]
    branches = items if isinstance(items, list) else [items]
    item = text_of(next(branch for branch in branches if branch != "null"))

    def render(value: Any) -> str:
        if value is None:
            return "NULL"  # unquoted, hence not the text 'NULL'
        return '"' + item(value).replace("\\", "\\\\").replace('"', '\\"') + '"'

    return lambda values: "{" + ",".join(map(render, values)) + "}"


def cell(value: bytes) -> bytes:
    """A value with its length before it."""
    return len(value).to_bytes(4, "big") + value


def numeric(unscaled: int, scale: int) -> bytes:
    """A decimal as PostgreSQL's numeric_recv reads it: four digits a group, the point between two groups."""
    groups: list[int] = []
    rest = abs(unscaled) * 10 ** (-scale % 4)
    while rest:
        rest, group = divmod(rest, 10_000)
        groups.append(group)
    weight = len(groups) - 1 - -(-scale // 4)
    return struct.pack(
        f">hhHh{len(groups)}H", len(groups), weight, NEGATIVE if unscaled < 0 else 0, scale, *reversed(groups)
    )


def cells(values: Iterable[bytes]) -> list[bytes]:
    """Each with its length before it."""
    return [
        (_LENGTHS[size] if (size := len(value)) < len(_LENGTHS) else size.to_bytes(4, "big")) + value
        for value in values
    ]


class Rows(RowWalk):
    """Fills them with binary fields."""

    def __init__(self) -> None:
        super().__init__()
        self.scope |= {"NULL": NULL, "INT": _INT, "LONG": _LONG, "LENGTHS": _LENGTHS, "cell": cell}

    def take(self, name: str, kind: AvroType, column: WireColumn) -> None:
        """Lines that read one value of the branch `kind` into the variable `name`."""
        if kind == "null":
            self.add(f"{name} = NULL")
            return
        staged = staging_type(column)
        base = kind["type"] if isinstance(kind, Mapping) else kind
        logical = kind.get("logicalType") if isinstance(kind, Mapping) else None
        if base == "string" or (base == "bytes" and logical is None and staged == "bytea"):
            self._slice(name)
        elif base == "bytes" and logical == "decimal":
            self._decimal(name, int(kind.get("scale", 0)), staged)
        elif staged != TEXT and base in {"int", "long"}:
            self._integer(name, staged, logical)
        elif staged in {"real", "double precision"}:
            size = 4 if staged == "real" else 8
            self.add(f"{name} = LENGTHS[{size}] + m[p : p + {size}][::-1]", f"p += {size}")
        elif staged == "boolean":
            self.add(f"{name} = LENGTHS[1] + m[p : p + 1]", "p += 1")
        else:
            self._text(name, kind, staged)

    def _slice(self, name: str) -> None:
        length, end = self.fresh(), self.fresh()
        self.add(f"{length} = m[p]", "p += 1")

        def short() -> None:
            self.add(f"{length} >>= 1", f"{end} = p + {length}", f"{name} = LENGTHS[{length}] + m[p:{end}]")

        def long() -> None:
            self.add(f"{length}, p = varint(m, p - 1)", f"{end} = p + ({length} >> 1)", f"{name} = cell(m[p:{end}])")

        self.block(f"if {length} < 128:", short)
        self.block("else:", long)
        self.add(f"p = {end}")

    def _decimal(self, name: str, scale: int, staged: str) -> None:
        length, raw = self.length(), self.fresh()
        self.scope |= {"decimal_text": decimal_text, "numeric": numeric}
        written = f"decimal_text({raw}, {scale}).encode()" if staged == TEXT else f"numeric({raw}, {scale})"
        self.add(
            f"{raw} = int.from_bytes(m[p : p + {length}], 'big', signed=True)",
            f"{name} = cell({written})",
            f"p += {length}",
        )

    def _integer(self, name: str, staged: str, logical: str | None) -> None:
        value = self.fresh()
        self.add(f"{value} = m[p]", "p += 1")
        self.block(f"if {value} > 127:", lambda: self.add(f"{value}, p = varint(m, p - 1)"))
        number = f"(({value} >> 1) ^ -({value} & 1))"
        if logical in _LOGICAL and logical is not None:
            number += " * 1000" if logical.endswith("millis") else ""
        if staged == "date":
            self.add(f"{name} = INT(4, {number} - {DAYS_TO_2000})")
        elif staged in {"timestamp", "timestamptz"}:
            self.add(f"{name} = LONG(8, {number} - {MICROS_TO_2000})")
        elif staged == "integer":
            self.add(f"{name} = INT(4, {number})")
        else:
            self.add(f"{name} = LONG(8, {number})")

    def _text(self, name: str, kind: AvroType, staged: str) -> None:
        read, render = f"read_{name}", f"render_{name}"
        self.scope[read] = decode(self, kind)
        text = text_of(kind)
        self.scope[render] = (lambda value: value) if staged == "bytea" else lambda value: text(value).encode()
        self.add(f"{name}, p = {read}(m, p)", f"{name} = cell({render}({name}))")


def row_reader(envelope: Mapping[str, Any]) -> RowReader:
    """The reader of an envelope schema's rows."""
    return read_rows(envelope, Rows())


def key_reader(record: Mapping[str, Any]) -> KeyReader:
    """The reader of a key schema."""
    return read_keys(record, Rows())
