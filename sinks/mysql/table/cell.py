"""Cells: from an envelope's Avro bytes straight to literals of SQL, without a dictionary between.

A literal ends where it should whatever the session's settings say of backslashes. What a column's type may not be able to hold is
marked by VERBATIM before it (infinity in a date): a text column takes it, others refuse it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from schemas.wire.walk import AvroType, decode
from sinks.row import WireColumn, decimal_text, json_of, python_of
from sinks.table.reading import KeyReader, RowReader, RowWalk, read_keys, read_rows

NULL = b"NULL"
VERBATIM = b"~"


def literal(raw: bytes) -> bytes:
    """UTF-8 text in quotes."""
    if b"\\" in raw:
        raw = raw.replace(b"\\", b"\\\\")
    return b"'" + raw.replace(b"'", b"''") + b"'"


def hexadecimal(raw: bytes) -> bytes:
    """Bytes."""
    return b"x'" + raw.hex().encode() + b"'"


def number_of(value: float) -> bytes:
    """A double, by the fewest digits that are this double and no other."""
    if math.isfinite(value):
        text = repr(value)
        return (text if "e" in text else f"{text}e0").encode()
    return VERBATIM + (b"'NaN'" if math.isnan(value) else b"'Infinity'" if value > 0 else b"'-Infinity'")


@lru_cache(1 << 15)
def day_of(days: int) -> bytes:
    """A date. Raises Rejected for one that Python, and the databases, do not have."""
    return f"'{python_of({'type': 'int', 'logicalType': 'date'})(days)}'".encode()


@lru_cache(1 << 15)
def _second(seconds: int) -> bytes:
    """Since midnight, or some midnight."""
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return b"%02d:%02d:%02d" % (hours, minutes, seconds)


def moment_of(micros: int) -> bytes:
    """A date with a time of day. Raises Rejected as `day_of`."""
    seconds, micros = divmod(micros, 1_000_000)
    days, seconds = divmod(seconds, 86_400)
    return b"%b %b.%06d'" % (day_of(days)[:-1], _second(seconds), micros)


def time_of(micros: int) -> bytes:
    """A time of day, or a longer time."""
    seconds, rest = divmod(abs(micros), 1_000_000)
    return b"'%b%b.%06d'" % (b"-" if micros < 0 else b"", _second(seconds), rest)


_OF_NUMBER: Mapping[str, tuple[str, int]] = {
    "date": ("day_of", 1),
    "time-millis": ("time_of", 1000),
    "time-micros": ("time_of", 1),
    "timestamp-millis": ("moment_of", 1000),
    "timestamp-micros": ("moment_of", 1),
    "local-timestamp-millis": ("moment_of", 1000),
    "local-timestamp-micros": ("moment_of", 1),
}


class _Literals(RowWalk):
    """Fills them with literals."""

    def __init__(self) -> None:
        super().__init__()
        self.scope |= {
            "NULL": NULL,
            "VERBATIM": VERBATIM,
            "QUOTE": b"'",
            "BACKSLASH": b"\\",
            "literal": literal,
            "hexadecimal": hexadecimal,
            "number_of": number_of,
            "day_of": day_of,
            "time_of": time_of,
            "moment_of": moment_of,
            "decimal_text": decimal_text,
        }

    def take(self, name: str, kind: AvroType, column: WireColumn) -> None:
        """See RowWalk."""
        if kind == "null":
            self.add(f"{name} = NULL")
            return
        base = kind["type"] if isinstance(kind, Mapping) else kind
        logical = kind.get("logicalType") if isinstance(kind, Mapping) else None
        match base:
            case "string":
                is_verbatim = column.is_lossless and kind == "string" and column.kind != "string"
                self._text(name, is_verbatim=is_verbatim)
            case "bytes" if logical == "decimal":
                scale = int(kind.get("scale", 0))
                digits = f"decimal_text(int.from_bytes({{}}, 'big', signed=True), {scale})"
                self._slice(name, f'b"\'" + {digits}.encode() + b"\'"')
            case "bytes":
                self._slice(name, "hexadecimal({})")
            case "fixed":
                end = self.fresh()
                self.add(f"{end} = p + {int(kind['size'])}", f"{name} = hexadecimal(m[p:{end}])", f"p = {end}")
            case "int" | "long":
                self._integer(name, logical)
            case "boolean":
                self.add(f"{name} = b'1' if m[p] else b'0'", "p += 1")
            case "float":
                self.add(f"{name} = number_of(FLOAT(m, p)[0])", "p += 4")
            case "double":
                self.add(f"{name} = number_of(DOUBLE(m, p)[0])", "p += 8")
            case _:
                self._rendered(name, kind)

    def _text(self, name: str, *, is_verbatim: bool) -> None:
        """Nearly no text has anything in it that has to be escaped: a call for each would take as long as all the rest."""
        self._slice(name, "{}")
        self.block(f"if QUOTE in {name} or BACKSLASH in {name}:", lambda: self.add(f"{name} = literal({name})"))
        self.block("else:", lambda: self.add(f"{name} = QUOTE + {name} + QUOTE"))
        if is_verbatim:
            self.add(f"{name} = VERBATIM + {name}")

    def _slice(self, name: str, form: str) -> None:
        length, end = self.length(), self.fresh()
        # A message that ends within the value is found out at its end: what follows then cannot be read.
        self.add(f"{end} = p + {length}", f"{name} = {form.format(f'm[p:{end}]')}", f"p = {end}")

    def _integer(self, name: str, logical: str | None) -> None:
        value = self.fresh()
        self.add(f"{value} = m[p]", "p += 1")
        self.block(f"if {value} > 127:", lambda: self.add(f"{value}, p = varint(m, p - 1)"))
        number = f"({value} >> 1) ^ -({value} & 1)"
        if logical is not None and logical in _OF_NUMBER:
            form, unit = _OF_NUMBER[logical]
            self.add(f"{name} = {form}(({number}) * {unit})" if unit > 1 else f"{name} = {form}({number})")
        else:
            self.add(f"{name} = b'%d' % ({number})")

    def _rendered(self, name: str, kind: AvroType) -> None:
        read, render = f"read_{name}", f"render_{name}"
        self.scope[read], self.scope[render] = decode(self, kind), _text_of(kind)
        self.add(f"{name}, p = {read}(m, p)", f"{name} = literal({render}({name}).encode())")


def _text_of(kind: AvroType) -> Callable[[Any], str]:
    """How a raw value of a rare type becomes text: a symbol, or JSON."""
    if isinstance(kind, Mapping) and kind["type"] == "enum":
        symbols = kind["symbols"]
        return lambda value: symbols[value] if isinstance(value, int) else value
    as_json = json_of(kind)
    return lambda value: json.dumps(as_json(value), ensure_ascii=False)


def row_reader(envelope: Mapping[str, Any]) -> RowReader:
    """The reader of an envelope schema's rows."""
    return read_rows(envelope, _Literals())


def key_reader(record: Mapping[str, Any]) -> KeyReader:
    """The reader of a key schema."""
    return read_keys(record, _Literals())
