"""Avro's zig-zag variable-length integers (Avro specification, "Binary Encoding"), read and written in hot loops.

Small numbers are looked up, larger ones are put together from 14-bit pieces: LAST[z] is a whole encoded number, MORE[x]
two bytes with the continuation bit set. `z` is always the zig-zagged number: 2n for n >= 0, -2n-1 below.
"""

from __future__ import annotations


def _plain(z: int) -> bytes:
    out = bytearray()
    while z > 0x7F:
        out.append(z & 0x7F | 0x80)
        z >>= 7
    out.append(z)
    return bytes(out)


TABLE_SIZE = 1 << 16

LAST: list[bytes] = [_plain(z) for z in range(TABLE_SIZE)]
"""The encoding of every z below TABLE_SIZE."""

MORE: list[bytes] = [bytes((x & 0x7F | 0x80, x >> 7 | 0x80)) for x in range(1 << 14)]
"""14 bits, to be continued."""

LAST_IN_UNION: list[bytes] = [b"\x02" + last for last in LAST]
"""LAST behind the branch index of the second branch of a union."""

MORE_IN_UNION: list[bytes] = [b"\x02" + more for more in MORE]
"""MORE behind the branch index of the second branch of a union."""


def varint(z: int) -> bytes:
    """The encoding of a zig-zagged number of up to 64 bits."""
    if z < TABLE_SIZE:
        return LAST[z]
    if z < 1 << 28:
        return MORE[z & 16383] + LAST[z >> 14]
    if z < 1 << 44:  # milliseconds since 1970
        return MORE[z & 16383] + MORE[z >> 14 & 16383] + LAST[z >> 28]
    if z < 1 << 58:  # microseconds
        return MORE[z & 16383] + MORE[z >> 14 & 16383] + MORE[z >> 28 & 16383] + LAST[z >> 42]
    return _plain(z)


def varint_in_union(z: int) -> bytes:
    """`varint` behind the branch index of the second branch of a union."""
    return b"\x02" + varint(z)


def long_bytes(number: int) -> bytes:
    """The encoding of an Avro int or long."""
    return varint(number + number if number >= 0 else -number - number - 1)


def text_bytes(text: bytes) -> bytes:
    """The encoding of an Avro string or bytes."""
    return varint(len(text) << 1) + text


def read_varint(b: bytes, p: int) -> tuple[int, int]:
    """The number at `p`, still in zig-zag form, and the place behind it. Raises IndexError where the bytes end before it does."""
    byte = b[p]
    p += 1
    z = byte & 127
    shift = 7
    while byte > 127:
        byte = b[p]
        p += 1
        z |= (byte & 127) << shift
        shift += 7
    return z, p


def read_long(b: bytes, p: int) -> tuple[int, int]:
    """The Avro int or long at `p`, and the place behind it."""
    z, p = read_varint(b, p)
    return (z >> 1) ^ -(z & 1), p
