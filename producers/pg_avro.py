"""PostgreSQL's binary values as Avro bytes: which type a contract's field may take, and how one value is written.

`encoder` pairs a column's type with a field of the contract. What does not pair is refused before the first change, with
the reason; what pairs but cannot hold one value exactly (NaN, infinity, a year BC) raises Misfit for that value, which is
then carried verbatim by a lossless field's `string` branch or rejects its row (FIELD-NOTES §1.4). Nothing is rounded,
clipped or nulled.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from producers.pg_text import (
    DAY_MICROS,
    INT32_MAX,
    INT32_MIN,
    INT64_MAX,
    INT64_MIN,
    TEXT,
    Text,
    array_of,
    array_parts,
    uuid,
    versioned,
)
from producers.varint import long_bytes, text_bytes
from schemas.contract import AvroType, Field

Encode = Callable[[bytes], bytes]

EPOCH_DAYS = 10_957  # 2000-01-01, PostgreSQL's zero, counted from 1970-01-01
EPOCH_MICROS = EPOCH_DAYS * DAY_MICROS
FIRST_DAY = -719_162  # 0001-01-01; PG-38: readers fail outside the years 1 to 9999
LAST_DAY = 2_932_896  # 9999-12-31


class Misfit(Exception):
    """A value that its typed branch cannot hold exactly. `reason` is a short safe code."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unmapped(Exception):
    """A column and a field that cannot be paired; the text says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PgType:
    """A column's type with domains resolved. `name` is pg_type.typname; an enum's values are text."""

    name: str
    is_enum: bool = False
    element: PgType | None = None
    delimiter: str = ","

    @property
    def text(self) -> Text | None:
        """How a value prints; None for a type that has no mapping."""
        if self.is_enum:
            return TEXT["text"]
        if self.element is not None:
            inner = self.element.text
            return array_of(inner, self.delimiter) if inner else None
        return TEXT.get(self.name)

    def __str__(self) -> str:
        return f"{self.element}[]" if self.element else self.name


def _int(raw: bytes) -> bytes:
    return long_bytes(int.from_bytes(raw, "big", signed=True))


def _unsigned(raw: bytes) -> bytes:
    return long_bytes(int.from_bytes(raw, "big"))


def _reversed(raw: bytes) -> bytes:
    return raw[::-1]  # Avro's floats are PostgreSQL's in the other byte order, NaN and -0.0 included


def _date(raw: bytes) -> bytes:
    days = int.from_bytes(raw, "big", signed=True)
    if days in (INT32_MAX, INT32_MIN):
        raise Misfit("date_infinity")
    if not FIRST_DAY <= days + EPOCH_DAYS <= LAST_DAY:
        raise Misfit("date_outside_years_1_to_9999")
    return long_bytes(days + EPOCH_DAYS)


def _moment(raw: bytes) -> bytes:
    micros = int.from_bytes(raw, "big", signed=True)
    if micros in (INT64_MAX, INT64_MIN):
        raise Misfit("timestamp_infinity")
    micros += EPOCH_MICROS
    if not FIRST_DAY * DAY_MICROS <= micros < (LAST_DAY + 1) * DAY_MICROS:
        raise Misfit("timestamp_outside_years_1_to_9999")
    return long_bytes(micros)


def _time(raw: bytes) -> bytes:
    micros = int.from_bytes(raw, "big")
    if micros >= DAY_MICROS:
        raise Misfit("time_24_00")
    return long_bytes(micros)


def _interval(raw: bytes) -> bytes:
    micros, days, months = struct.unpack(">qii", raw)
    if (micros, days, months) in ((INT64_MAX, INT32_MAX, INT32_MAX), (INT64_MIN, INT32_MIN, INT32_MIN)):
        raise Misfit("interval_infinity")
    return long_bytes(months) + long_bytes(days) + long_bytes(micros)


def _decimal(precision: int, scale: int) -> Encode:
    limit = 10**precision

    def encode(raw: bytes) -> bytes:
        count, weight, sign, _ = struct.unpack_from(">hhHH", raw)
        if sign >= 0xC000:
            raise Misfit("numeric_nan" if sign == 0xC000 else "numeric_infinity")
        unscaled = 0
        for group in struct.unpack_from(f">{count}h", raw, 8):
            unscaled = unscaled * 10_000 + group
        places = 4 * (weight - count + 1) + scale
        if places >= 0:
            unscaled *= 10**places
        else:
            unscaled, lost = divmod(unscaled, 10**-places)
            if lost:
                raise Misfit("numeric_scale")
        if unscaled >= limit:
            raise Misfit("numeric_precision")
        if sign:
            unscaled = -unscaled
        size = (unscaled if unscaled >= 0 else ~unscaled).bit_length() // 8 + 1
        return text_bytes(unscaled.to_bytes(size, "big", signed=True))

    return encode


def _array(item: Encode, null: bytes | None, tag: bytes) -> Encode:
    def encode(raw: bytes) -> bytes:
        shape, elements = array_parts(raw)
        if not shape:
            return b"\0"
        if len(shape) > 1 or shape[0][1] != 1:
            raise Misfit("array_shape")
        out = [long_bytes(len(elements))]
        for element in elements:
            if element is not None:
                out.append(tag + item(element))
            elif null is not None:
                out.append(null)
            else:
                raise Misfit("array_null_element")
        return b"".join((*out, b"\0"))

    return encode


_INTERVAL_FIELDS = [("months", "int"), ("days", "int"), ("micros", "long")]

_PAIRS: dict[tuple[str, str, str | None], Encode] = {
    ("bool", "boolean", None): bytes,
    **{(name, avro, None): _int for name in ("int2", "int4") for avro in ("int", "long")},
    ("int8", "long", None): _int,
    ("oid", "long", None): _unsigned,
    ("float4", "float", None): _reversed,
    ("float8", "double", None): _reversed,
    ("date", "int", "date"): _date,
    ("timestamp", "long", "local-timestamp-micros"): _moment,
    ("timestamptz", "long", "timestamp-micros"): _moment,
    ("time", "long", "time-micros"): _time,
    ("bytea", "bytes", None): text_bytes,
    ("uuid", "string", "uuid"): lambda raw: text_bytes(uuid(raw)),
    ("jsonb", "string", None): lambda raw: text_bytes(versioned(raw)),
}


def typed(pg: PgType, branch: AvroType) -> Encode:
    """The encoder for one Avro branch, without its branch index. Raises Unmapped with the reason and what to do."""
    name = branch["type"] if isinstance(branch, dict) else branch
    logical = branch.get("logicalType") if isinstance(branch, dict) else None
    if (known := _PAIRS.get((pg.name, name, logical))) and not pg.is_enum and pg.element is None:
        return known
    if name == "string" and logical is None:
        if (text := pg.text) is None:
            raise Unmapped(
                f"type {pg} has no exact mapping; leave the column out of the contract, or let the department publish it "
                "as text in a column of its own"
            )
        return lambda raw: text_bytes(text(raw))
    if isinstance(branch, dict):
        if pg.name == "numeric" and name == "bytes" and logical == "decimal":
            return _decimal(branch["precision"], branch.get("scale", 0))
        if pg.element is not None and name == "array":
            return _array_of(pg.element, branch["items"])
        if pg.name == "interval" and name == "record":
            if [(field["name"], field["type"]) for field in branch["fields"]] == _INTERVAL_FIELDS:
                return _interval
            raise Unmapped("an interval is a record of months int, days int, micros long, in this order")
    shown = f"{name} ({logical})" if logical else name
    raise Unmapped(f"type {pg} does not go into {shown}; {_advice(pg)}")


def _array_of(element: PgType, items: AvroType) -> Encode:
    branches = items if isinstance(items, list) else [items]
    rest = [branch for branch in branches if branch != "null"]
    if len(rest) != 1:
        raise Unmapped("an array's items are one type, or null and one type")
    if len(branches) == 1:
        return _array(typed(element, rest[0]), None, b"")
    return _array(typed(element, rest[0]), long_bytes(branches.index("null")), long_bytes(branches.index(rest[0])))


def _advice(pg: PgType) -> str:
    fitting = sorted({f"{avro} ({logical})" if logical else avro for name, avro, logical in _PAIRS if name == pg.name})
    if pg.name == "numeric":
        fitting.append("bytes (decimal)")
    if pg.text is not None and "string" not in fitting:
        fitting.append("string")
    return f"use {' or '.join(fitting)}" if fitting else "leave the column out of the contract"


def encoder(pg: PgType, field: Field) -> tuple[Encode, bytes]:
    """How a value of this field is written, branch index included, and the branch index alone of its typed branch.

    The encoder raises Misfit for a value that no branch of the field holds. Raises Unmapped when type and field do not
    pair at all.
    """
    encode = typed(pg, field.branches[0])
    in_union = field.wire_type() if isinstance(field.wire_type(), list) else None
    if in_union is None:
        return encode, b""
    tag = long_bytes(in_union.index(field.branches[0]))
    if not field.is_lossless:
        return (lambda raw: tag + encode(raw)), tag
    if (text := pg.text) is None:
        raise Unmapped(f"type {pg} has no exact text for the string branch; remove that branch")
    verbatim = long_bytes(in_union.index("string"))

    def either(raw: bytes) -> bytes:
        try:
            return tag + encode(raw)
        except Misfit:
            return verbatim + text_bytes(text(raw))

    return either, tag
