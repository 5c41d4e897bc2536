"""The generated transcoder against the Avro library: hand-built tuples in both dialects, read back value by value."""

from __future__ import annotations

import io
import struct
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.postgresql.value.transcode import Transcoder, Unsent
from producers.postgresql.value.tuple import PADDING, TupleColumn
from producers.postgresql.value.type import PgType
from schemas.contract import Contract, wire_fields
from schemas.errors import ContractBroken, Rejected
from schemas.wire.codec import parse_raw
from schemas.wire.varint import long_bytes, varint_in_union

DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}
TYPES = {"id": "int8", "name": "text", "grade": "int4", "amount": "numeric", "is_open": "bool"}
AVRO = {"id": "long", "name": "string", "grade": "int", "amount": DECIMAL, "is_open": "boolean"}


def agreed(avro: dict[str, Any] = AVRO, key: tuple[str, ...] = ("id",)) -> Contract:
    fields = [
        {"name": name, "type": kind if name in key or isinstance(kind, list) else ["null", kind]}
        for name, kind in avro.items()
    ]
    return Contract.parse({"type": "record", "name": "R", "gov": {"key": list(key)}, "fields": fields}, "a.r")


def columns(types: dict[str, str] = TYPES) -> list[TupleColumn]:
    return [TupleColumn(name, PgType(name=kind)) for name, kind in types.items()]


def logged(*values: bytes | str | None) -> bytes:
    """A tuple of the log, behind its column count; a text stands for itself in text form, "u" for a value not sent."""
    out = [struct.pack(">h", len(values))]
    for value in values:
        if value is None:
            out.append(b"n")
        elif value == "u":
            out.append(b"u")
        else:
            raw = value.encode() if isinstance(value, str) else value
            out.append((b"t" if isinstance(value, str) else b"b") + struct.pack(">i", len(raw)) + raw)
    return b"".join((*out, PADDING))


def copied(*values: bytes | None) -> bytes:
    parts = (struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value for value in values)
    return b"".join((struct.pack(">h", len(values)), *parts, PADDING))


def read(row: bytes, contract: Contract) -> dict[str, Any]:
    schema = parse_raw({"type": "record", "name": "V", "fields": wire_fields(contract)})
    body = io.BytesIO(row)
    value: Any = fastavro.schemaless_reader(body, schema, None)
    assert body.tell() == len(row)
    return value


def int8(value: int) -> bytes:
    return struct.pack(">q", value)


def int4(value: int) -> bytes:
    return struct.pack(">i", value)


def numeric(*groups: int, weight: int = 0, sign: int = 0, scale: int = 2) -> bytes:
    return struct.pack(f">hhHH{len(groups)}h", len(groups), weight, sign, scale, *groups)


ROW = (int8(7), "名".encode(), int4(-3), numeric(12, 5000), b"\x01")


def test_both_dialects_give_the_same_row_and_key() -> None:
    transcoder = Transcoder(agreed(), columns(), 9)
    row, key, _ = transcoder.row(logged(*ROW), 2)
    assert (row, key) == transcoder.copied_row(copied(*ROW), 2)[:2]
    assert key == b"\0\0\0\0\x09\x0e"
    assert read(row, agreed()) == {
        "id": 7,
        "name": "名",
        "grade": -3,
        "amount": b"\x04\xe2",
        "is_open": True,
    }


@given(
    st.integers(-(2**63), 2**63 - 1),
    st.none() | st.text(max_size=200),
    st.none() | st.integers(-(2**31), 2**31 - 1),
    st.none() | st.booleans(),
)
def test_any_mixture_of_values_and_nulls_reads_back(
    number: int, name: str | None, grade: int | None, is_open: bool | None
) -> None:
    transcoder = Transcoder(agreed(), columns(), 9)
    values = (
        int8(number),
        None if name is None else name.encode(),
        None if grade is None else int4(grade),
        None,
        None if is_open is None else bytes([is_open]),
    )
    row, key, _ = transcoder.row(logged(*values), 2)
    assert (row, key) == transcoder.copied_row(copied(*values), 2)[:2]
    assert read(row, agreed()) == {"id": number, "name": name, "grade": grade, "amount": None, "is_open": is_open}
    assert key[5:] == long_bytes(number)


@given(st.integers(0, 2**64 - 1))
def test_varints_are_those_of_the_avro_library(z: int) -> None:
    number = z // 2 if z % 2 == 0 else -(z // 2) - 1
    out = io.BytesIO()
    fastavro.schemaless_writer(
        out, parse_raw({"type": "record", "name": "N", "fields": [{"name": "n", "type": "long"}]}), {"n": number}
    )
    assert long_bytes(number) == out.getvalue()
    assert varint_in_union(z) == b"\x02" + out.getvalue()


def test_a_text_longer_than_the_tables_keeps_its_length() -> None:
    transcoder = Transcoder(agreed(), columns(), 9)
    long = b"x" * 100_000
    row, _, _ = transcoder.row(logged(ROW[0], long, *ROW[2:]), 2)
    assert read(row, agreed())["name"] == long.decode()


def test_columns_go_by_name_and_those_without_a_field_are_skipped() -> None:
    types = {"extra": "geometry", **dict(reversed(TYPES.items())), "more": "int4"}
    transcoder = Transcoder(agreed(), columns(types), 9)
    row, _, end = transcoder.row(message := logged(b"?", *reversed(ROW), None), 2)
    assert read(row, agreed())["name"] == "名"
    assert end == len(message) - len(PADDING)


def test_a_value_that_was_not_sent_comes_from_the_old_row_or_is_named() -> None:
    transcoder = Transcoder(agreed(), columns(), 9)
    old, new = logged(*ROW), logged(int8(7), "u", int4(5), "u", b"\x00")
    message = old[: -len(PADDING)] + new
    start = len(old) - len(PADDING) + 2
    with pytest.raises(Unsent):
        transcoder.row(message, start)
    mended, unchanged = transcoder.tuples.mend(message, start, transcoder.tuples.former(message, 2, is_whole=True))
    assert unchanged == []
    assert read(transcoder.row(mended, 2)[0], agreed())["name"] == "名"
    mended, unchanged = transcoder.tuples.mend(message, start)
    assert unchanged == ["name", "amount"]
    assert read(transcoder.row(mended, 2)[0], agreed())["grade"] == 5
    assert transcoder.tuples.end(message, 2) == start - 2


def test_a_text_sent_as_text_is_taken_as_it_is() -> None:
    transcoder = Transcoder(agreed(), columns(), 9)
    mended, _ = transcoder.tuples.mend(logged(ROW[0], "as text", *ROW[2:]), 2)
    assert read(transcoder.row(mended, 2)[0], agreed())["name"] == "as text"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (numeric(weight=0, sign=0xC000), "numeric_nan"),
        (numeric(weight=0, sign=0xD000), "numeric_infinity"),
        (numeric(1, 5, weight=0, scale=4), "numeric_scale"),
        (numeric(1, weight=5), "numeric_precision"),
    ],
)
def test_a_numeric_that_does_not_fit_rejects_its_row(value: bytes, reason: str) -> None:
    transcoder = Transcoder(agreed(), columns(), 9)
    with pytest.raises(Rejected) as caught:
        transcoder.row(logged(*ROW[:3], value, ROW[4]), 2)
    assert caught.value.reason == reason
    assert "column amount" in str(caught.value)


def test_only_the_key_is_left_of_an_old_row_that_does_not_fit() -> None:
    transcoder = Transcoder(agreed(), columns(), 9)
    message = logged(*ROW[:3], numeric(sign=0xC000), ROW[4])
    row, key, _ = transcoder.row(transcoder.tuples.keyed(message, 2), 2)
    assert read(row, agreed()) == {"id": 7, "name": None, "grade": None, "amount": None, "is_open": None}
    assert key == transcoder.row(logged(*ROW), 2)[1]


def test_a_null_key_rejects_its_row() -> None:
    with pytest.raises(Rejected, match="column id"):
        Transcoder(agreed(), columns(), 9).row(logged(None, *ROW[1:]), 2)


def test_text_of_an_unchecked_encoding_is_checked() -> None:
    transcoder = Transcoder(agreed(), columns(), 9, codec="utf-8")
    with pytest.raises(Rejected) as caught:
        transcoder.row(logged(ROW[0], b"\xff", *ROW[2:]), 2)
    assert caught.value.reason == "not_utf8"


def test_text_within_another_value_is_checked_too() -> None:
    of_text = PgType(name="_text", element=PgType(name="text"))
    avro = {"id": "long", "notes": ["null", {"type": "array", "items": ["null", "string"]}, "string"]}
    array = struct.pack(">iiiiii", 1, 0, 25, 1, 1, 1)
    two = [TupleColumn("id", PgType(name="int8")), TupleColumn("notes", of_text)]
    transcoder = Transcoder(agreed(avro), two, 9, codec="utf-8")
    assert read(transcoder.row(logged(int8(1), array + b"a"), 2)[0], agreed(avro))["notes"] == ["a"]
    with pytest.raises(Rejected) as caught:
        transcoder.row(logged(int8(1), array + b"\xff"), 2)
    assert caught.value.reason == "not_utf8"


@pytest.mark.parametrize(
    ("types", "avro", "says"),
    [
        ({"id": "int8"}, {"id": "long", "gone": "string"}, "no longer publishes gone"),
        ({"id": "int8"}, {"id": "int"}, "type int8 does not go into int; use long or string"),
        (
            {"id": "int8", "p": "geometry"},
            {"id": "long", "p": "string"},
            "no exact text; use bytes (as the server sends it)",
        ),
        ({"id": "int8", "p": "point"}, {"id": "long", "p": "bytes"}, "point does not go into bytes; use string"),
        ({"id": "int8", "p": "regclass"}, {"id": "long", "p": "string"}, "no exact text; use long"),
        ({"id": "int8", "d": "date"}, {"id": "long", "d": "int"}, "use int (date) or string"),
    ],
)
def test_what_cannot_be_paired_is_refused_with_advice(types: dict[str, str], avro: dict[str, Any], says: str) -> None:
    with pytest.raises(ContractBroken) as caught:
        Transcoder(agreed(avro), columns(types), 9)
    assert says in str(caught.value)
