"""The row writer: for every schema and row, the bytes that fastavro writes; what fastavro would refuse is refused."""

from __future__ import annotations

import io
import struct
import traceback
from typing import Any

import fastavro
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.errors import Rejected
from schemas.wire.codec import RowCodec

PRIMITIVES: dict[str, st.SearchStrategy[Any]] = {
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "string": st.text(max_size=80) | st.sampled_from(["名" * 10_923, "a" * 32_767, "a" * 32_768]),
    "bytes": st.binary(max_size=80) | st.just(b"\x80" * 40_000),
    "boolean": st.booleans(),
    "double": st.floats(),
    "float": st.floats(width=32),
}
NESTED = {
    "type": "array",
    "items": {"type": "record", "name": "Item", "fields": [{"name": "id", "type": ["null", "string"]}]},
}
KINDS = st.sampled_from(sorted(PRIMITIVES))


@st.composite
def columns(draw: st.DrawFn) -> tuple[Any, Any]:
    """A column's type, and a value of it."""
    kind = draw(KINDS)
    value = draw(PRIMITIVES[kind])
    inner = {"type": kind, "logicalType": "of-no-matter"} if draw(st.booleans()) else kind
    match draw(st.integers(0, 5)):
        case 0:
            return inner, value
        case 1:
            return [inner, "null"], draw(st.sampled_from([value, None]))
        case 2:
            items = draw(st.lists(st.fixed_dictionaries({"id": st.none() | st.text(max_size=5)}), max_size=3))
            return ["null", "Item" if draw(st.booleans()) else NESTED], items
        case 3:
            items = draw(st.lists(PRIMITIVES[kind], max_size=3))
            listed = {"type": "array", "items": ["null", inner] if draw(st.booleans()) else inner}
            if draw(st.booleans()):
                return ["null", listed], draw(st.sampled_from([items, None]))
            return listed, items
        case _:
            return ["null", inner], draw(st.sampled_from([value, None]))


@given(st.lists(columns(), min_size=1, max_size=14))
@example([("int", 0), (["null", "long"], -(2**63)), (["null", "string"], ""), (["null", "long"], 2**63 - 1)])
def test_a_row_has_the_bytes_that_fastavro_writes(drawn: list[tuple[Any, Any]]) -> None:
    fields, row, is_defined = list[dict[str, Any]](), dict[str, Any](), False
    for number, (kind, value) in enumerate(drawn):
        if kind == ["null", NESTED] or kind == ["null", "Item"]:
            kind = ["null", "Item"] if is_defined else ["null", NESTED]  # noqa: PLW2901 - a type is defined where it is met first
            value = (value[0] if value else None) if is_defined else value  # noqa: PLW2901
            is_defined = True
        fields.append({"name": f"column_{number}", "type": kind})
        row[f"column_{number}"] = value
    schema = {"type": "record", "name": "Row", "fields": fields}
    codec = RowCodec(schema)
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema, named_schemas={}), row)
    assert codec.write(row) == out.getvalue()
    read = codec.read(out.getvalue())
    assert codec.write(read) == out.getvalue()


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("int", 2**31),
        ("int", -(2**31) - 1),
        ("long", 2**63),
        ("long", True),
        ("long", "1"),
        ("long", 1.0),
        ("string", b"text"),
        ("string", 1),
        ("string", "\ud800"),
        ("string", None),
        ("bytes", "text"),
        ("boolean", 1),
        ("double", "1"),
        ("double", False),
        ("float", None),
        ("float", 1e300),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, "B"),
        ({"type": "array", "items": "string"}, [1]),
        (NESTED, [7]),
        ({"type": "array", "items": "string"}, 7),
        (
            {"type": "array", "items": {"type": "record", "name": "I", "fields": [{"name": "x", "type": "int"}]}},
            [{"x": "secret"}],
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("is_union", [False, True])
def test_a_value_that_does_not_fit_is_refused_without_being_told(kind: Any, value: Any, is_union: bool) -> None:
    if is_union and value is None:
        kind, is_union = "string", False
    codec = RowCodec(
        {"type": "record", "name": "Row", "fields": [{"name": "a", "type": ["null", kind] if is_union else kind}]}
    )
    with pytest.raises(Rejected) as refused:
        codec.write({"a": value})
    assert refused.value.reason == "not_encodable"
    assert str(value) not in str(refused.value) or value is None


def test_an_absent_column_has_its_default() -> None:
    fields = [
        {"name": "a", "type": "string", "default": "x"},
        {"name": "b", "type": ["null", "long"], "default": None},
        {"name": "c", "type": "double", "default": 0.5},
    ]
    assert RowCodec({"fields": fields}).write({}) == b"\x02x\x00" + struct.pack("<d", 0.5)


def test_a_traceback_shows_the_generated_line() -> None:
    codec = RowCodec({"fields": [{"name": "a", "type": "string"}]})
    with pytest.raises(Rejected) as refused:
        codec.write({"a": 1})
    shown = "".join(traceback.format_exception(refused.value))
    assert "<generated write_row" in shown
    assert "c0 = k" in shown
