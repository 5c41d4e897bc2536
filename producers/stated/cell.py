"""Cells: from a value as a file or a driver gives it to the raw Avro value of a contract's field.

Nothing is rounded, clipped, nulled or guessed: what a field does not hold exactly raises Misread with a short safe code, and the row
is a dead letter, unless the field has a text branch, which takes the value's own text (FD-07).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Context, Decimal, InvalidOperation
from functools import lru_cache
from typing import Any
from uuid import UUID

from schemas.contract import AvroType, Field

Read = Callable[[Any], Any]
"""From a value, never None, to the raw Avro value. Raises Misread."""

_EPOCH = date(1970, 1, 1)
_EPOCH_MOMENT = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_LOCAL = datetime(1970, 1, 1)  # noqa: DTZ001 - a local time has no zone
_MICRO = timedelta(microseconds=1)
_WHOLE = re.compile(r"[+-]?\d+")
_DATE = re.compile(r"(\d{4})(?:-(\d{1,2})-(\d{1,2})|/(\d{1,2})/(\d{1,2})|年(\d{1,2})月(\d{1,2})日|(\d{2})(\d{2}))")
_SCIENTIFIC = re.compile(r"[+-]?\d(?:\.\d+)?[Ee]\+?\d{1,2}")
_TRUE = frozenset({"true", "t", "1", "yes", "y", "是"})
_FALSE = frozenset({"false", "f", "0", "no", "n", "否"})
_EXACT = Context(prec=1000)
_FLOAT_EXACT = 1 << 53


class Misread(Exception):
    """A value that its field does not hold exactly. `reason` is a short safe code."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def cell_reader(field: Field, zone: tzinfo, *, is_sheet: bool) -> Read:
    """How a field's values are read. `zone` is that of moments without one.

    `is_sheet`: the values may have been through a spreadsheet, so that a text in scientific notation is a number that lost its
    digits (an identity number of 18 digits as 4.40106E+17): it is no value.
    """
    read = _typed(field.branches[0], zone, is_sheet=is_sheet)
    if not field.is_lossless:
        return read

    def either(value: Any) -> Any:
        try:
            return read(value)
        except Misread:
            return _text(value)

    return either


def _typed(branch: AvroType, zone: tzinfo, *, is_sheet: bool) -> Read:
    name = branch["type"] if isinstance(branch, Mapping) else branch
    logical = branch.get("logicalType") if isinstance(branch, Mapping) else None
    if (name, logical) == ("string", None):
        return _sheet_text if is_sheet else _text
    if logical == "timestamp-micros":
        return lambda value: _moment(value, zone)
    if logical == "decimal":
        return _decimal(branch["precision"], branch.get("scale", 0))
    return _READERS.get((name, logical), _nested)


def _text(value: Any) -> str:
    """The value's text, as its source would print it."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case Decimal():
            return format(value, "f")
        case datetime():
            return value.isoformat(sep=" ")
        case dict() | list():
            return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        case bytes() | bytearray() | memoryview():
            raise Misread("bytes_in_text")
        case _:
            return str(value)


def _sheet_text(value: Any) -> str:
    if type(value) is str:
        if ("E" in value or "e" in value) and len(value) < 30 and _SCIENTIFIC.fullmatch(value):
            raise Misread("scientific_notation")
        return value
    if type(value) is float:
        if not value.is_integer() or abs(value) >= _FLOAT_EXACT:
            raise Misread("number_in_text")
        return str(int(value))
    if type(value) is int and abs(value) >= _FLOAT_EXACT:
        raise Misread("number_in_text")  # a sheet keeps fifteen digits: the last ones are not what was typed
    return _text(value)


def _whole(bits: int) -> Read:
    least, most = -1 << bits, (1 << bits) - 1

    def read(value: Any) -> int:
        if (
            (type(value) is str and _WHOLE.fullmatch(value))
            or isinstance(value, int)
            or (isinstance(value, float | Decimal) and value == value // 1)
        ):
            number = int(value)
        else:
            raise Misread("not_a_whole_number")
        if not least <= number <= most:
            raise Misread("number_out_of_range")
        return number

    return read


def _decimal(precision: int, scale: int) -> Read:
    limit = 10**precision

    def read(value: Any) -> bytes:
        try:
            number = value if isinstance(value, Decimal) else Decimal(str(value).strip())
            scaled = number.scaleb(scale, _EXACT)
            unscaled = int(scaled)
        except (InvalidOperation, ValueError, OverflowError):
            raise Misread("not_a_number") from None
        if unscaled != scaled:
            raise Misread("numeric_scale")
        if abs(unscaled) >= limit:
            raise Misread("numeric_precision")
        size = (unscaled if unscaled >= 0 else ~unscaled).bit_length() // 8 + 1
        return unscaled.to_bytes(size, "big", signed=True)

    return read


def _float(value: Any) -> float:
    try:
        return float(value)
    except (ValueError, TypeError, OverflowError):
        raise Misread("not_a_number") from None


def _truth(value: Any) -> bool:
    text = str(value).strip().lower()
    if text not in _TRUE and text not in _FALSE:
        raise Misread("not_true_or_false")
    return text in _TRUE


def _bytes(value: Any) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    text = str(value)
    if not text.startswith(("\\x", "0x")):
        raise Misread("not_hexadecimal")
    try:
        return bytes.fromhex(text[2:])
    except ValueError:
        raise Misread("not_hexadecimal") from None


def _uuid(value: Any) -> str:
    try:
        return str(value if isinstance(value, UUID) else UUID(str(value)))
    except ValueError:
        raise Misread("not_a_uuid") from None


def _day(value: Any) -> date:
    if isinstance(value, datetime):
        if value.time() != time.min:
            raise Misread("date_with_time")
        return value.date()
    if isinstance(value, date):
        return value
    if isinstance(value, str) and (match := _DATE.fullmatch(value.strip())):
        year, *rest = (int(part) for part in match.groups() if part is not None)
        try:
            return date(year, *rest)
        except ValueError:
            pass
    raise Misread("not_a_date")


def _days(value: Any) -> int:
    return _days_of_text(value) if type(value) is str else (_day(value) - _EPOCH).days


@lru_cache(maxsize=20_000)
def _days_of_text(text: str) -> int:
    return (_day(text) - _EPOCH).days


def _clock(value: Any) -> int:
    if isinstance(value, timedelta):
        micros = value // _MICRO
        if not 0 <= micros < 86_400_000_000:
            raise Misread("time_outside_a_day")
        return micros
    try:
        at = value if isinstance(value, time) else time.fromisoformat(str(value).strip())
    except ValueError:
        raise Misread("not_a_time") from None
    if at.tzinfo is not None:
        raise Misread("time_with_zone")
    return ((at.hour * 60 + at.minute) * 60 + at.second) * 1_000_000 + at.microsecond


def _datetime(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)  # noqa: DTZ001 - its reader knows the zone
    try:
        return datetime.fromisoformat(str(value).strip().replace("/", "-"))
    except ValueError:
        raise Misread("not_a_timestamp") from None


def _moment(value: Any, zone: tzinfo) -> int:
    moment = _datetime(value)
    try:
        return ((moment if moment.tzinfo else moment.replace(tzinfo=zone)) - _EPOCH_MOMENT) // _MICRO
    except OverflowError:
        raise Misread("not_a_timestamp") from None


def _local(value: Any) -> int:
    moment = _datetime(value)
    if moment.tzinfo is not None:
        raise Misread("local_time_with_zone")
    return (moment - _EPOCH_LOCAL) // _MICRO


def _nested(value: Any) -> Any:
    if isinstance(value, dict | list | tuple):
        return value
    try:
        return json.loads(value)
    except (ValueError, TypeError):
        raise Misread("not_nested") from None


_READERS: Mapping[tuple[str, str | None], Read] = {
    ("string", "uuid"): _uuid,
    ("int", "date"): _days,
    ("int", None): _whole(31),
    ("long", None): _whole(63),
    ("long", "time-micros"): _clock,
    ("long", "local-timestamp-micros"): _local,
    ("bytes", None): _bytes,
    ("boolean", None): _truth,
    ("float", None): _float,
    ("double", None): _float,
}
