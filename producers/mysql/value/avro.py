"""Plain values as Avro bytes: which type a contract's field may take, and how one value is written.

What does not pair is refused before the first change, with the reason; what pairs but cannot hold one value exactly (a zero date,
a time beyond a day) raises NoBranch for that value, which a lossless field's `string` branch then carries as the server
prints it, or which rejects its row. Nothing is rounded, clipped or nulled (RULES.md, MY-14).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from producers.mysql.value import moment
from producers.mysql.value.family import Family
from producers.mysql.value.misfit import NoBranch, Unpaired
from producers.mysql.value.number import decimal_text
from schemas.contract import AvroType, Field
from schemas.wire.varint import long_bytes, text_bytes

Write = Callable[[Any], bytes]


def _int(value: int) -> bytes:
    if not -(1 << 31) <= value < 1 << 31:
        raise NoBranch("int_range")
    return long_bytes(value)


def _long(value: int) -> bytes:
    if not -(1 << 63) <= value < 1 << 63:
        raise NoBranch("long_range")
    return long_bytes(value)


def _boolean(value: int) -> bytes:
    if value not in (0, 1):
        raise NoBranch("boolean_range")
    return b"\x01" if value else b"\0"


def _date(day: moment.Day) -> bytes:
    return long_bytes(moment.days_of(day))


def _datetime(value: tuple[moment.Day, int]) -> bytes:
    return long_bytes(moment.days_of(value[0]) * moment.DAY_MICROS + value[1])


def _timestamp(micros: int) -> bytes:
    if micros == 0:
        raise NoBranch("date_zero")
    return long_bytes(micros)


def _time_of_day(micros: int) -> bytes:
    if not 0 <= micros < moment.DAY_MICROS:
        raise NoBranch("time_outside_day")
    return long_bytes(micros)


_PAIRS: dict[tuple[str, str, str | None], Write] = {
    ("int", "int", None): _int,
    ("int", "long", None): _long,
    ("int", "boolean", None): _boolean,
    ("bits", "boolean", None): lambda bits: _boolean(int(bits, 2)),
    ("float", "float", None): bytes,
    ("double", "double", None): bytes,
    ("date", "int", "date"): _date,
    ("datetime", "long", "local-timestamp-micros"): _datetime,
    ("timestamp", "long", "timestamp-micros"): _timestamp,
    ("time", "long", None): long_bytes,
    ("time", "long", "time-micros"): _time_of_day,
    ("text", "string", "uuid"): text_bytes,
    ("bytes", "bytes", None): text_bytes,
}


def _decimal(precision: int, more_digits: int) -> Write:
    limit, factor = 10**precision, 10**more_digits

    def write(number: int) -> bytes:
        number *= factor
        if not -limit < number < limit:
            raise NoBranch("decimal_precision")
        size = (number if number >= 0 else ~number).bit_length() // 8 + 1
        return text_bytes(number.to_bytes(size, "big", signed=True))

    return write


def printed(family: Family) -> Callable[[Any], bytes] | None:
    """How the server prints a plain value; None for bytes, and for floats, of which it prints fewer digits than they have."""
    places = family.digits
    return {
        "int": lambda value: b"%0*d" % (places, value),
        "bits": bytes,
        "decimal": lambda value: decimal_text(value, family.scale),
        "date": moment.date_text,
        "datetime": lambda value: moment.datetime_text(value, places),
        "timestamp": lambda value: moment.timestamp_text(value, places),
        "time": lambda value: moment.clock_text(value, places),
        "text": bytes,
    }.get(family.name)


def _typed(family: Family, branch: AvroType) -> Write:
    name = branch["type"] if isinstance(branch, dict) else branch
    logical = branch.get("logicalType") if isinstance(branch, dict) else None
    if (known := _PAIRS.get((family.name, name, logical))) is not None:
        return known
    if (name, logical) == ("string", None) and (text := printed(family)) is not None:
        return lambda value: text_bytes(text(value))
    if (name, logical) == ("bytes", "decimal") and family.name in ("int", "decimal"):
        more = branch.get("scale", 0) - family.scale
        if more < 0:
            raise Unpaired(f"it has {family.scale} digits behind its point, the contract {branch.get('scale', 0)}")
        return _decimal(branch["precision"], more)
    shown = f"{name} ({logical})" if logical else name
    raise Unpaired(f"a value of the family {family.name} does not go into {shown}; use {_fitting(family)}")


def _fitting(family: Family) -> str:
    pairs = [f"{avro} ({logical})" if logical else avro for name, avro, logical in _PAIRS if name == family.name]
    if family.name in ("int", "decimal"):
        pairs.append("bytes (decimal)")
    if printed(family) is not None:
        pairs.append("string")
    return " or ".join(pairs)


def writer(family: Family, field: Field) -> tuple[Write, bytes | None]:
    """How a plain value of this field is written, branch index included, and what NULL is; None where it may not be.

    The writer raises NoBranch for a value that no branch of the field holds. Raises Unpaired when column and field do not pair.
    """
    typed = _typed(family, field.branches[0])
    in_union = field.wire_type() if isinstance(field.wire_type(), list) else None
    if in_union is None:
        return typed, None
    null = long_bytes(in_union.index("null")) if "null" in in_union else None
    tag = long_bytes(in_union.index(field.branches[0]))
    if not field.is_lossless:
        return (lambda value: tag + typed(value)), null
    text = printed(family)
    if text is None:
        raise Unpaired("it has no exact text for the string branch; remove that branch")
    verbatim = long_bytes(in_union.index("string"))

    def either(value: Any) -> bytes:
        try:
            return tag + typed(value)
        except NoBranch:
            return verbatim + text_bytes(text(value))

    return either, null
