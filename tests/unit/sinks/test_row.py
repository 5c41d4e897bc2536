"""Typed views: decimals and times as text in JSON, verbatim text untouched."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import Rejected
from sinks.row import RowView, decimal_text

DATE = {"type": "int", "logicalType": "date"}


def view(kind: object) -> RowView:
    return RowView({"type": "record", "name": "Value", "fields": [{"name": "c", "type": kind}]})


@given(st.integers(-(10**40), 10**40), st.integers(0, 38))
def test_a_decimal_keeps_every_digit(unscaled: int, scale: int) -> None:
    text = decimal_text(unscaled, scale)
    assert int(text.replace(".", "")) == unscaled
    assert len(text.partition(".")[2]) == scale


@pytest.mark.parametrize(
    ("kind", "raw", "json"),
    [
        (["null", DATE], None, None),
        (["null", DATE, "string"], "0044-03-15 BC", "0044-03-15 BC"),
        (DATE, -1, "1969-12-31"),
        ({"type": "long", "logicalType": "timestamp-millis"}, 1, "1970-01-01T00:00:00.001000Z"),
        ({"type": "long", "logicalType": "local-timestamp-micros"}, 0, "1970-01-01T00:00:00"),
        ({"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}, b"\xff", "-0.01"),
        ("double", float("nan"), "NaN"),
        ("double", float("-inf"), "-Infinity"),
        ("bytes", b"\x00\xff", "AP8="),
        ({"type": "array", "items": ["null", DATE]}, [0, None], ["1970-01-01", None]),
        ({"type": "map", "values": ["null", "string"]}, {"a": None}, {"a": None}),
    ],
)
def test_json_values(kind: object, raw: object, json: object) -> None:
    assert view(kind).json({"c": raw}) == {"c": json}


@pytest.mark.parametrize(
    ("kind", "raw"),
    [(DATE, 2932897), (DATE, -719163), ({"type": "long", "logicalType": "time-micros"}, 86_400_000_000)],
)
def test_a_value_that_cannot_be_shown_rejects_its_row(kind: object, raw: int) -> None:
    with pytest.raises(Rejected) as refused:
        view(kind).json({"c": raw})
    assert str(raw) not in str(refused.value)
