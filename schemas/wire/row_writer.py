"""Row writer: one generated function for one record schema, from a row of raw Avro values to its bytes.

A general writer asks of every value which branch of its union it fits: half of the time. Here a column that is `null` and one
primitive, or one primitive alone, is a few straight lines; a list of records or of primitives has a function of its own, made the
same way; any other kind of column is left to the writer that is handed in.
The bytes are those that fastavro writes (tests/unit/schemas/wire/test_row_writer.py).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from schemas.contract import AvroType
from schemas.errors import Rejected
from schemas.wire.code import Code
from schemas.wire.varint import LAST, LAST_IN_UNION, MORE, MORE_IN_UNION, long_bytes

RowWriter = Callable[[Mapping[str, Any]], bytes]
"""From a row to its bytes. Raises Rejected for a value that does not fit its column; a column that is absent has its default."""
Slow = Callable[[AvroType], Callable[[Any], bytes]]
"""Makes the writer of a column that has no straight lines."""

_INTEGER = (
    "if type({c}) is not int:",
    "    {c} = {refuse}({c})",
    "elif 0 <= {c} < 134217728:",
    "    z = {c} + {c}",
    "    {c} = {t}[z] if z < 65536 else {m}[z & 16383] + LAST[z >> 14]",
    "else:",
    "    {c} = {far}({c})",
)
_TEXT = (
    "if type({c}) is not {python}:",
    "    {c} = {refuse}({c})",
    "else:",
    "    {c} = {c}{encoded}",
    "    {c} = ({t}[len({c}) << 1] if len({c}) < 32768 else {far}(len({c}))) + {c}",
)
_LINES: Mapping[str, tuple[str, ...]] = {
    "int": _INTEGER,
    "long": _INTEGER,
    "string": _TEXT,
    "bytes": _TEXT,
    "boolean": ("{c} = {yes} if {c} is True else {no} if {c} is False else {refuse}({c})",),
    "double": ("{c} = {far}({c})",),
    "float": ("{c} = {far}({c})",),
}
"""By primitive. {c} is the column's variable, {t} and {m} are LAST and MORE, or those behind the second branch of a union."""
_RANGES = {"int": 31, "long": 63}
_FLOATS = {"float": struct.Struct("<f"), "double": struct.Struct("<d")}


def row_writer(record: Mapping[str, Any], slow: Slow) -> RowWriter:
    """The function for a record schema, with logical types or without."""
    code = Code(LAST=LAST, LAST_IN_UNION=LAST_IN_UNION, MORE=MORE, MORE_IN_UNION=MORE_IN_UNION, join=b"".join)
    lines, columns = ["def write_row(row):", "    get = row.get"], list[str]()
    for number, field in enumerate(record["fields"]):
        column = f"c{number}"
        columns.append(column)
        default = "" if field.get("default") is None else f", {code.keep(field['default'])}"
        lines.append(f"    {column} = get({code.keep(field['name'])}{default})")
        lines += (f"    {line}" for line in _column(code, column, field, slow))
    return code.build([*lines, f"    return join(({', '.join(columns)},))"], "write_row")


def _column(code: Code, column: str, field: Mapping[str, Any], slow: Slow) -> list[str]:
    """The lines from a column's value to its bytes."""
    refuse = _refusing(field["name"])
    kind, is_union = _primitive(field["type"])
    if kind is None:
        whole = slow(field["type"])  # also where it is not needed: later columns may name the types of this one
        return [f"{column} = {code.keep(_list_writer(field, slow, whole) or whole)}({column})"]
    prefix = b"\2" if is_union else b""
    names = {
        "c": column,
        "t": "LAST_IN_UNION" if is_union else "LAST",
        "m": "MORE_IN_UNION" if is_union else "MORE",
        "python": "str" if kind == "string" else "bytes",
        "encoded": ".encode()" if kind == "string" else "",
        "refuse": code.keep(refuse),
        "far": code.keep(_far(kind, prefix, refuse)),
        "yes": code.keep(prefix + b"\1"),
        "no": code.keep(prefix + b"\0"),
    }
    lines = [line.format(**names) for line in _LINES[kind]]
    if not is_union:
        return lines
    return [f"if {column} is None:", f"    {column} = LAST[0]", "else:", *(f"    {line}" for line in lines)]


def _primitive(avro_type: AvroType) -> tuple[str | None, bool]:
    """The primitive that is written by straight lines, if it is one, and whether it may be null."""
    if isinstance(avro_type, Sequence) and not isinstance(avro_type, str):
        if len(avro_type) != 2 or avro_type[0] != "null":
            return None, False
        kind, is_inner_union = _primitive(avro_type[1])
        return (None, False) if is_inner_union else (kind, True)
    if isinstance(avro_type, Mapping):
        return _primitive(avro_type["type"]) if avro_type["type"] in _LINES else (None, False)
    return (avro_type, False) if avro_type in _LINES else (None, False)


def _list_writer(field: Mapping[str, Any], slow: Slow, whole: Callable[[Any], bytes]) -> Callable[[Any], bytes] | None:
    """The writer of a list, which may be null; None for a column of another kind. What is no list is left to `whole`."""
    avro_type, prefix = field["type"], b""
    if isinstance(avro_type, Sequence) and len(avro_type) == 2 and avro_type[0] == "null":
        avro_type, prefix = avro_type[1], b"\2"
    if not isinstance(avro_type, Mapping) or avro_type["type"] != "array":
        return None
    write = _item_writer(field["name"], avro_type["items"], slow)
    if write is None:
        return None

    def write_list(value: Any) -> bytes:
        if type(value) is not list and type(value) is not tuple:
            return whole(value)
        if not value:
            return prefix + b"\0"
        return b"".join((prefix, long_bytes(len(value)), *map(write, value), b"\0"))

    return write_list


def _item_writer(column: str, items: AvroType, slow: Slow) -> Callable[[Any], bytes] | None:
    """The writer of one item: a record of primitives, or a primitive; None for any other."""
    if isinstance(items, Mapping) and items["type"] == "record":
        is_plain = all(_primitive(field["type"])[0] is not None for field in items["fields"])
        return row_writer(items, slow) if is_plain else None
    if _primitive(items)[0] is None:
        return None
    write = row_writer({"fields": [{"name": column, "type": items}]}, slow)
    return lambda item: write({column: item})


def _far(kind: str, prefix: bytes, refuse: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    """Writes what has no place in a table: large numbers, lengths of long texts, floats."""
    if kind in _FLOATS:
        pack = _FLOATS[kind].pack

        def far_float(value: Any) -> bytes:
            if type(value) is not float and type(value) is not int:
                return refuse(value)
            try:
                return prefix + pack(value)
            except (OverflowError, struct.error):
                return refuse(value)

        return far_float
    bits = _RANGES.get(kind, 63)
    least, most = -1 << bits, (1 << bits) - 1

    def far(value: int) -> bytes:
        return prefix + long_bytes(value) if least <= value <= most else refuse(value)

    return far


def _refusing(column: str) -> Callable[[Any], bytes]:
    """Refuses a value; names its column and type, never the value (invariant 6)."""

    def refuse(value: Any) -> bytes:
        raise Rejected("not_encodable", f"a row: column {column} does not take this {type(value).__name__}")

    return refuse
