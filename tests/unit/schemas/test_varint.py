"""Avro's variable-length integers at the ends of each way of writing them."""

from __future__ import annotations

import pytest

from schemas.wire.varint import long_bytes, read_long, varint

EDGES = sorted({(1 << bits) + step for bits in (7, 14, 16, 28, 42, 44, 56, 58, 63) for step in (-1, 0, 1)})


@pytest.mark.parametrize("number", EDGES)
def test_a_number_is_written_in_seven_bits_a_byte_the_lowest_first(number: int) -> None:
    written = varint(number)
    assert sum((byte & 127) << 7 * place for place, byte in enumerate(written)) == number
    assert [byte > 127 for byte in written] == [True] * (len(written) - 1) + [False]
    assert len(written) == max(1, -(-number.bit_length() // 7))


@pytest.mark.parametrize("number", [sign * edge for edge in EDGES if edge < 1 << 63 for sign in (1, -1)])
def test_a_long_comes_back(number: int) -> None:
    assert read_long(long_bytes(number) + b"\xff", 0) == (number, len(long_bytes(number)))
