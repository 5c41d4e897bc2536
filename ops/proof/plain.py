"""Plain: a value as all formats agree on it, however a database, JSON, Parquet or a driver gave it.

A value that has no form of its own in Python (an infinite date, a year before 1) stays the text that PostgreSQL prints.
"""

from __future__ import annotations

import base64
import json
import math
import re
import struct
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import partial
from typing import Any

from schemas.agreement.grant import Mask
from schemas.contract import AvroType, Field

_SPAN = re.compile(
    r"(?:([+-]?\d+) years?)? ?(?:([+-]?\d+) mons?)? ?(?:([+-]?\d+) days?)? ?"
    r"(?:([+-]?)(\d+):(\d\d):(\d\d)(?:\.(\d{1,6}))?)?",
    re.ASCII,
)


Read = Callable[[Any], Any]


def plain(field: Field, mask: Mask) -> Read:
    """What makes a value of `field` comparable; what a mask made of it is compared as it is."""
    return _as_it_is if mask in {Mask.HASH, Mask.MASK} else _nullable(field.branches[0])


def _as_it_is(value: Any) -> Any:
    return value


def _nullable(kind: AvroType) -> Read:
    read = _reader(kind)
    return lambda value: None if value is None else read(value)


def _reader(kind: AvroType) -> Read:
    """For values that are not null."""
    if isinstance(kind, list):
        kind = next(branch for branch in kind if branch != "null")
    about: Mapping[str, Any] = kind if isinstance(kind, Mapping) else {"type": kind}
    match about.get("logicalType") or about["type"]:
        case "array":
            return _array(_nullable(about["items"]))
        case "map":
            return _map(_nullable(about["values"]))
        case "record":
            return _record({entry["name"]: _nullable(entry["type"]) for entry in about["fields"]})
        case name:
            return _SCALARS.get(name, _as_it_is)


def _array(item: Read) -> Read:
    def read(value: Any) -> Any:
        items = _parsed(value)
        return tuple(map(item, items)) if isinstance(items, list | tuple) else value

    return read


def _map(item: Read) -> Read:
    def read(value: Any) -> Any:
        entries = _parsed(value)
        return {name: item(part) for name, part in entries.items()} if isinstance(entries, Mapping) else value

    return read


def _record(reads: Mapping[str, Read]) -> Read:
    def read(value: Any) -> Any:
        parts = _span(value) or _parsed(value)
        if not isinstance(parts, Mapping):
            return value
        return {name: reads.get(name, _unknown)(part) for name, part in parts.items()}

    return read


def _unknown(value: Any) -> Any:
    """A part of a record that its schema does not name: by its text."""
    return None if value is None else _text(value)


def _decimal(value: Any) -> Any:
    number = Decimal(str(value))
    return number if number.is_finite() else str(number)  # no NaN equals itself


def _double(value: Any) -> Any:
    number = float(value)
    return "NaN" if math.isnan(number) else number


def _float(value: Any) -> Any:
    """Rounded to what four bytes hold: JSON has it with the digits of eight."""
    return _double(struct.unpack("f", struct.pack("f", float(value)))[0])


def _moment(kind: type[date] | type[time], value: Any) -> Any:
    try:
        moment = kind.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        return value
    return moment.astimezone(UTC) if isinstance(moment, datetime) and moment.tzinfo else moment


def _bytes(value: Any) -> bytes:
    return base64.b64decode(value) if isinstance(value, str) else bytes(value)


def _text(value: Any) -> str:
    return format(value, "f") if isinstance(value, Decimal) else str(value)


_SCALARS: Mapping[str, Callable[[Any], Any]] = {
    "bytes": _bytes,
    "date": partial(_moment, date),
    "decimal": _decimal,
    "double": _double,
    "float": _float,
    "local-timestamp-micros": partial(_moment, datetime),
    "string": _text,
    "time-micros": partial(_moment, time),
    "timestamp-micros": partial(_moment, datetime),
    "uuid": _text,
}


def _parsed(value: Any) -> Any:
    """What CSV and Parquet write as JSON text; anything else as it is."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _span(value: Any) -> dict[str, int] | None:
    """An interval as PostgreSQL prints it, as its record."""
    span = _SPAN.fullmatch(value) if isinstance(value, str) and value else None
    if span is None:
        return None
    years, months, days, hours, minutes, seconds = (int(part or 0) for part in span.group(1, 2, 3, 5, 6, 7))
    micros = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + int((span[8] or "").ljust(6, "0"))
    return {"months": years * 12 + months, "days": days, "micros": -micros if span[4] == "-" else micros}
