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


def plain(field: Field, mask: Mask, value: Any) -> Any:
    """A value of `field`, made comparable; what a mask made of it is compared as it is."""
    return value if mask in {Mask.HASH, Mask.MASK} else _plain(field.branches[0], value)


def _plain(kind: AvroType, value: Any) -> Any:
    if isinstance(kind, list):
        kind = next(branch for branch in kind if branch != "null")
    about: Mapping[str, Any] = kind if isinstance(kind, Mapping) else {"type": kind}
    if value is None:
        return None
    match about.get("logicalType") or about["type"]:
        case "array" if isinstance(items := _parsed(value), list | tuple):
            return tuple(_plain(about["items"], item) for item in items)
        case "map" if isinstance(entries := _parsed(value), Mapping):
            return {name: _plain(about["values"], item) for name, item in entries.items()}
        case "record" if isinstance(parts := _span(value) or _parsed(value), Mapping):
            names = {entry["name"]: entry["type"] for entry in about["fields"]}
            return {name: _plain(names.get(name, "string"), part) for name, part in parts.items()}
        case name:
            return _SCALARS.get(name, lambda scalar: scalar)(value)


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
