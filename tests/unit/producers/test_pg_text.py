"""PostgreSQL's text, for values whose output is known from its manual; the broker test asks the database itself."""

from __future__ import annotations

import struct

import pytest

from producers.postgresql.value import floats as pg_floats
from producers.postgresql.value import nested as pg_nested
from producers.postgresql.value import text as pg_text


def interval(months: int, days: int, micros: int) -> bytes:
    return struct.pack(">qii", micros, days, months)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (interval(14, 3, 14_706_000_000), "1 year 2 mons 3 days 04:05:06"),
        (interval(-1, 2, -500_000), "-1 mons +2 days -00:00:00.5"),
        (interval(0, 0, 0), "00:00:00"),
        (interval(2**31 - 1, 2**31 - 1, 2**63 - 1), "infinity"),
    ],
)
def test_intervals_keep_their_three_parts(raw: bytes, text: str) -> None:
    assert pg_text.interval(raw).decode() == text


@pytest.mark.parametrize(
    ("days", "text"),
    [
        (0, "2000-01-01"),
        (-730_119, "0001-01-01"),
        (-730_120, "0001-12-31 BC"),
        (2**31 - 1, "infinity"),
        (2_921_940, "10000-01-01"),
    ],
)
def test_dates_of_all_eras(days: int, text: str) -> None:
    assert pg_text.day(struct.pack(">i", days)).decode() == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e15, "1e+15"),
        (1e14, "100000000000000"),
        (0.0001, "0.0001"),
        (1e-5, "1e-05"),
        (-0.0, "-0"),
        (1.5, "1.5"),
        (2.0**-24, "5.960464477539063e-08"),
        (float("nan"), "NaN"),
    ],
)
def test_floats_print_as_the_server_prints_them(value: float, text: str) -> None:
    assert pg_floats.float8(struct.pack(">d", value)).decode() == text


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (struct.pack(">hhHH2h", 2, 0, 0, 3, 1, 5000), "1.500"),
        (struct.pack(">hhHHh", 1, -2, 0x4000, 8, 1200), "-0.00001200"),
        (struct.pack(">hhHHh", 1, 1, 0, 0, 10), "100000"),
        (struct.pack(">hhHH", 0, 0, 0, 2), "0.00"),
        (struct.pack(">hhHH", 0, 0, 0xC000, 0), "NaN"),
    ],
)
def test_numerics_keep_their_trailing_zeros(raw: bytes, text: str) -> None:
    assert pg_text.numeric(raw).decode() == text


def test_array_literals_quote_what_would_be_read_otherwise() -> None:
    items = [b"", b"null", b'a"b\\', b"plain", None]
    parts = b"".join(b"\xff\xff\xff\xff" if i is None else struct.pack(">i", len(i)) + i for i in items)
    raw = struct.pack(">iiiii", 1, 1, 25, len(items), 1) + parts
    assert pg_nested.array_of(pg_text.verbatim)(raw) == b'{"","null","a\\"b\\\\",plain,NULL}'
