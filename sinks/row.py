"""Row: what a subscriber sees of a row. Avro's raw values (dates as days, decimals as bytes) become typed ones.

| Avro                          | Python (CSV, Parquet)                | JSON (webhook, JSON Lines)                     |
|-------------------------------|--------------------------------------|------------------------------------------------|
| decimal                       | Decimal                              | text, exactly as many decimals as the scale    |
| date                          | date                                 | "2026-01-31"                                   |
| time-millis, time-micros      | time                                 | "23:59:59.000001"                              |
| timestamp-millis, -micros     | datetime in UTC                      | "2026-01-31T15:59:59.000001Z"                  |
| local-timestamp-millis, -micros | datetime without zone              | "2026-01-31T23:59:59.000001"                   |
| bytes, fixed                  | bytes                                | base64                                         |
| float, double                 | float                                | number; "NaN", "Infinity", "-Infinity" as text |
| boolean, int, long, string    | as they are                          | as they are                                    |
| array, map, record            | list, dict                           | array, object                                  |

Columns are called as in their source, whatever their names on the wire. A lossless column (typed branch and `string`) carries what
the type cannot hold as its verbatim text in either view.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from schemas.errors import Rejected
from schemas.wire.name import column_name

AvroType = Any
Convert = Callable[[Any], Any]

RESERVED = "_mesh_"
"""How the mesh's own columns begin, in every kind of sink, and nobody else's: `mesh check` refuses such a contract."""

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 -- the origin of timestamps without zone
EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_DAY = date(1970, 1, 1).toordinal()
_MICROS = {"timestamp-millis": 1000, "local-timestamp-millis": 1000, "time-millis": 1000}


@dataclass(frozen=True, slots=True, kw_only=True)
class WireColumn:
    """One column of the wire row: `wire` is its name there, `name` what it is called at a subscriber's: as in its source.

    `kind` is its typed branch; `is_lossless` says that a `string` branch stands beside it.
    """

    name: str
    wire: str
    kind: AvroType
    is_nullable: bool
    is_lossless: bool
    doc: str

    @property
    def logical_type(self) -> str | None:
        """Such as `decimal` or `date`."""
        return self.kind.get("logicalType") if isinstance(self.kind, Mapping) else None

    @property
    def type_name(self) -> str:
        """Avro's own name of the type, such as `long` or `array`."""
        return self.kind["type"] if isinstance(self.kind, Mapping) else self.kind


def columns_of(record: Mapping[str, Any]) -> tuple[WireColumn, ...]:
    """The columns of a record schema: a key, or the row inside an envelope."""
    columns: list[WireColumn] = []
    for field in record["fields"]:
        branches = field["type"] if isinstance(field["type"], list) else [field["type"]]
        typed = [branch for branch in branches if branch != "null"]
        columns.append(
            WireColumn(
                name=column_name(field["name"]),
                wire=field["name"],
                kind=typed[0],
                is_nullable=len(typed) < len(branches),
                is_lossless=len(typed) == 2 and typed[1] == "string",
                doc=field.get("doc", ""),
            )
        )
    return tuple(columns)


def row_record(envelope: Mapping[str, Any]) -> Mapping[str, Any]:
    """The row's record schema inside an envelope's. Raises Rejected for a schema that is no envelope."""
    for field in envelope.get("fields", ()):
        if field["name"] == "before":
            for branch in field["type"]:
                if isinstance(branch, Mapping):
                    return branch
    raise Rejected("not_an_envelope", "the record's schema has no field `before` with a row in it")


def decimal_text(unscaled: int, scale: int) -> str:
    """A decimal with exactly `scale` decimals; built from digits, since Decimal's own arithmetic rounds to 28 of them."""
    digits = str(abs(unscaled)).rjust(scale + 1, "0")
    sign = "-" if unscaled < 0 else ""
    return f"{sign}{digits[:-scale]}.{digits[-scale:]}" if scale else sign + digits


def _unscaled(raw: bytes) -> int:
    return int.from_bytes(raw, "big", signed=True)


def _micros(name: str) -> int:
    return _MICROS.get(name, 1)


def _time(micros: int) -> time:
    return (EPOCH + timedelta(microseconds=micros)).time() if micros < 86_400_000_000 else _no_such("time")


def _no_such(name: str) -> Any:
    raise Rejected(f"{name}_out_of_range", f"a {name} value is outside what this sink's target can hold")


def _guard(name: str, convert: Convert) -> Convert:
    def guarded(value: Any) -> Any:
        try:
            return convert(value)
        except (OverflowError, ValueError):
            return _no_such(name)

    return guarded


def python_of(kind: AvroType) -> Convert:
    """How a raw value of a type becomes a Python value. Text in a typed column is verbatim and stays as it is."""
    logical = kind.get("logicalType") if isinstance(kind, Mapping) else None
    match logical:
        case "decimal":
            scale = kind.get("scale", 0)
            return lambda raw: raw if isinstance(raw, str) else Decimal(decimal_text(_unscaled(raw), scale))
        case "date":
            convert: Convert = lambda days: date.fromordinal(days + EPOCH_DAY)  # noqa: E731 -- one row of a table
        case "time-millis" | "time-micros":
            unit = _micros(logical)
            convert = lambda value: _time(value * unit)  # noqa: E731
        case "timestamp-millis" | "timestamp-micros":
            unit = _micros(logical)
            convert = lambda value: EPOCH_UTC + timedelta(microseconds=value * unit)  # noqa: E731
        case "local-timestamp-millis" | "local-timestamp-micros":
            unit = _micros(logical)
            convert = lambda value: EPOCH + timedelta(microseconds=value * unit)  # noqa: E731
        case _:
            return _same
    guarded = _guard(logical, convert)
    return lambda value: value if isinstance(value, str) else guarded(value)


def _same(value: Any) -> Any:
    return value


def json_of(kind: AvroType) -> Convert:  # noqa: PLR0911 -- one arm per type
    """How a raw value of a type becomes a JSON value."""
    if isinstance(kind, list):
        branches = [branch for branch in kind if branch != "null"]
        return _nullable(json_of(branches[0])) if branches else _same
    logical = kind.get("logicalType") if isinstance(kind, Mapping) else None
    name = kind["type"] if isinstance(kind, Mapping) else kind
    typed = python_of(kind)
    match logical or name:
        case "decimal":
            scale = dict(kind).get("scale", 0)
            return lambda raw: raw if isinstance(raw, str) else decimal_text(_unscaled(raw), scale)
        case "date" | "time-millis" | "time-micros" | "local-timestamp-millis" | "local-timestamp-micros":
            return lambda value: value if isinstance(value, str) else typed(value).isoformat()
        case "timestamp-millis" | "timestamp-micros":
            return lambda value: (
                value if isinstance(value, str) else typed(value).replace(tzinfo=None).isoformat() + "Z"
            )
        case "bytes" | "fixed":
            return lambda raw: raw if isinstance(raw, str) else base64.b64encode(raw).decode()
        case "float" | "double":
            return _json_float
        case "array":
            item = json_of(kind["items"])
            return lambda values: values if isinstance(values, str) else [item(value) for value in values]
        case "map":
            value_of = json_of(kind["values"])
            return lambda values: {name: value_of(value) for name, value in values.items()}
        case "record":
            fields = {field["name"]: json_of(field["type"]) for field in kind["fields"]}
            return lambda values: {name: fields[name](value) for name, value in values.items()}
        case _:
            return _same


def _nullable(convert: Convert) -> Convert:
    return lambda value: None if value is None else convert(value)


def _json_float(value: Any) -> Any:
    if isinstance(value, str) or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


class RowView:
    """Turns raw rows of one record schema, by wire names, into typed ones. A row without value (None) stays None."""

    def __init__(self, record: Mapping[str, Any]) -> None:
        self.columns = columns_of(record)
        self.names = {column.wire: column.name for column in self.columns}
        self._json = {column.wire: _nullable(json_of(column.kind)) for column in self.columns}
        self._python = {column.wire: _nullable(python_of(column.kind)) for column in self.columns}

    def json(self, row: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """The row as JSON values."""
        return None if row is None else {self.names[wire]: self._json[wire](value) for wire, value in row.items()}

    def python(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The row as Python values."""
        return {self.names[wire]: self._python[wire](value) for wire, value in row.items()}
