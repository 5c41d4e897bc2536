"""PostgreSQL's binary values as Avro bytes: which type a contract's field may take, and how one value is written.

`encoder` pairs a column's type with a field of the contract. What does not pair is refused before the first change, with
the reason; what pairs but cannot hold one value exactly (NaN, infinity, a year BC) raises Misfit for that value, which is
then carried verbatim by a lossless field's `string` branch or rejects its row (RULES.md, Values). Nothing is rounded,
clipped or nulled.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

from producers.postgresql.value.decimal import unheld
from producers.postgresql.value.floats import halves
from producers.postgresql.value.nested import array_parts
from producers.postgresql.value.text import DAY_MICROS, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, Text, uuid
from producers.postgresql.value.type import OIDS, PgType
from schemas.contract import AvroType, Field
from schemas.wire.varint import long_bytes, text_bytes

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


def _int(raw: bytes) -> bytes:
    return long_bytes(int.from_bytes(raw, "big", signed=True))


def _unsigned(raw: bytes) -> bytes:
    return long_bytes(int.from_bytes(raw, "big"))


def _reversed(raw: bytes) -> bytes:
    return raw[::-1]  # Avro's floats are PostgreSQL's in the other byte order, NaN and -0.0 included


def _floats(raw: bytes) -> bytes:
    count = (len(raw) - 4) // 4
    return _array_of_floats(struct.unpack_from(f">{count}f", raw, 4))


def _halves(raw: bytes) -> bytes:
    return _array_of_floats(halves(raw))


def _array_of_floats(numbers: tuple[float, ...]) -> bytes:
    count = len(numbers)
    return b"%b%b\0" % (long_bytes(count), struct.pack(f"<{count}f", *numbers)) if count else b"\0"


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
    **{(name, "long", None): _unsigned for name in ("oid", *OIDS)},
    ("float4", "float", None): _reversed,
    ("float8", "double", None): _reversed,
    ("date", "int", "date"): _date,
    ("timestamp", "long", "local-timestamp-micros"): _moment,
    ("timestamptz", "long", "timestamp-micros"): _moment,
    ("time", "long", "time-micros"): _time,
    ("bytea", "bytes", None): text_bytes,
    ("uuid", "string", "uuid"): lambda raw: text_bytes(uuid(raw)),
}


def typed(pg: PgType, branch: AvroType, *, codec: str = "") -> Encode:
    """The encoder for one Avro branch, without its branch index. Raises Unmapped with the reason and what to do."""
    name = branch["type"] if isinstance(branch, dict) else branch
    logical = branch.get("logicalType") if isinstance(branch, dict) else None
    if pg.is_base and not pg.has_output_only and (known := _PAIRS.get((pg.name, name, logical))):
        return known
    if name == "string" and logical is None:
        text = _text_of(pg, codec)
        return lambda raw: text_bytes(text(raw))
    if name == "bytes" and logical is None and is_opaque(pg):
        return text_bytes
    if isinstance(branch, dict) and (found := _built(pg, branch, codec=codec)):
        return found
    shown = f"{name} ({logical})" if logical else name
    raise Unmapped(f"type {pg} does not go into {shown}; {_advice(pg)}")


def _text_of(pg: PgType, codec: str) -> Text:
    if (text := pg.text_in(codec)) is None:
        raise Unmapped(f"type {pg} has no exact text; {_advice(pg)}")
    return text


def _built(pg: PgType, branch: Mapping[str, Any], *, codec: str) -> Encode | None:
    """The encoder for a branch with parameters or parts."""
    name = branch["type"]
    if pg.name == "numeric" and name == "bytes" and branch.get("logicalType") == "decimal":
        return _decimal(branch["precision"], branch.get("scale", 0))
    if name == "array" and pg.name in _VECTORS and branch["items"] == "float":
        return _VECTORS[pg.name]
    if name == "array" and pg.element is not None:
        return _array_of(pg.element, branch["items"], codec=codec)
    if name == "record" and pg.name == "interval":
        if [(field["name"], field["type"]) for field in branch["fields"]] == _INTERVAL_FIELDS:
            return _interval
        raise Unmapped("an interval is a record of months int, days int, micros long, in this order")
    return None


def is_opaque(pg: PgType) -> bool:
    """Whether nothing is known of how a value prints, so that only `bytes` hold it: as the server sends it."""
    return pg.text is None and pg.name not in OIDS and not pg.is_unsendable


_VECTORS: dict[str, Encode] = {"vector": _floats, "halfvec": _halves}


def _array_of(element: PgType, items: AvroType, *, codec: str) -> Encode:
    branches = items if isinstance(items, list) else [items]
    rest = [branch for branch in branches if branch != "null"]
    if len(rest) != 1:
        raise Unmapped("an array's items are one type, or null and one type")
    encode = typed(element, rest[0], codec=codec)
    if len(branches) == 1:
        return _array(encode, None, b"")
    return _array(encode, long_bytes(branches.index("null")), long_bytes(branches.index(rest[0])))


def _advice(pg: PgType) -> str:
    """What the contract may say instead."""
    if pg.is_unsendable:
        return "the server does not send it; ALTER the column's type to text"
    pairs = _PAIRS if pg.is_base else ()
    fitting = sorted({f"{avro} ({logical})" if logical else avro for name, avro, logical in pairs if name == pg.name})
    if pg.name == "numeric":
        fitting.append("bytes (decimal)")
    if pg.name in _VECTORS:
        fitting.append("array of float")
    if pg.element is not None:
        fitting.append("array")
    if is_opaque(pg):
        fitting.append("bytes (as the server sends it)")
    if pg.text is not None and "string" not in fitting:
        fitting.append("string")
    return f"use {' or '.join(fitting)}" if fitting else "leave the column out of the contract"


def encoder(pg: PgType, field: Field, *, typmod: int | None = None, codec: str = "") -> tuple[Encode, bytes]:
    """How a value of this field is written, branch index included, and the branch index alone of its typed branch.

    `codec` reads text that does not come as UTF-8; the encoder raises UnicodeDecodeError where it cannot, Misfit for a value that
    no branch of the field holds. Raises Unmapped when type and field do not pair at all, or when the column, of this `typmod`, holds
    decimals that the field does not.
    """
    if pg.is_unsendable:
        raise Unmapped(f"type {pg} holds a type without a binary form; {_advice(pg)}")
    if typmod is not None and (beyond := unheld(pg, typmod, field)) is not None:
        raise Unmapped(beyond)
    encode = typed(pg, field.branches[0], codec=codec)
    in_union = field.wire_type() if isinstance(field.wire_type(), list) else None
    if in_union is None:
        return encode, b""
    tag = long_bytes(in_union.index(field.branches[0]))
    if not field.is_lossless:
        return (lambda raw: tag + encode(raw)), tag
    if pg.text is None:
        raise Unmapped(f"type {pg} has no exact text for the string branch; remove that branch")
    text = _text_of(pg, codec)
    verbatim = long_bytes(in_union.index("string"))

    def either(raw: bytes) -> bytes:
        try:
            return tag + encode(raw)
        except Misfit:
            return verbatim + text_bytes(text(raw))

    return either, tag
