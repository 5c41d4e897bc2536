"""PostgreSQL's text of floating-point numbers, and of the types made of them: geometric ones, and pgvector's."""

from __future__ import annotations

import math
import struct
from fractions import Fraction


def float4(raw: bytes) -> bytes:
    """Type float4, shortest digits that read back to the same value."""
    return _float(raw, ">f", ">I", 6)


def float8(raw: bytes) -> bytes:
    """Type float8, shortest digits that read back to the same value."""
    return _float(raw, ">d", ">Q", 15)


def _shortest(raw: bytes, code: str, bits: str) -> str:
    """The fewest digits strictly within half a step of the value.

    Unlike Python, the server never prints a number that lies exactly half way to a neighbour.
    """
    (value,), (pattern,) = struct.unpack(code, raw), struct.unpack(bits, raw)
    magnitude = pattern & ~(1 << (8 * len(raw) - 1))
    if magnitude == 0:
        return f"{value:e}"
    exact, below = (Fraction(struct.unpack(code, struct.pack(bits, n))[0]) for n in (magnitude, magnitude - 1))
    above = struct.unpack(code, struct.pack(bits, magnitude + 1))[0]
    upper = Fraction(above) if math.isfinite(above) else 2 * exact - below
    # A power of two reaches half as far down as up: what is nearest may be outside, and its neighbour above within.
    rounded = _rounded_both_ways if math.frexp(value)[0] in (0.5, -0.5) else _rounded
    candidates = (text for places in range(17) for text in rounded(abs(value), places))
    text = next(text for text in candidates if exact + below < 2 * Fraction(text) < exact + upper)
    return f"-{text}" if value < 0 else text


def _rounded(value: float, places: int) -> tuple[str, ...]:
    return (f"{value:.{places}e}",)


def _rounded_both_ways(value: float, places: int) -> tuple[str, ...]:
    (nearest,) = _rounded(value, places)
    mantissa, _, exponent = nearest.partition("e")
    return nearest, f"{int(mantissa.replace('.', '')) + 1}e{int(exponent) - places}"


def _float(raw: bytes, code: str, bits: str, fixed_below: int) -> bytes:
    (value,) = struct.unpack(code, raw)
    if math.isnan(value):
        return b"NaN"
    if math.isinf(value):
        return b"Infinity" if value > 0 else b"-Infinity"
    return _digits(_shortest(raw, code, bits), fixed_below).encode()


def _digits(shortest: str, fixed_below: int) -> str:
    sign = "-" if shortest.startswith("-") else ""
    mantissa, _, exponent_text = shortest.lstrip("-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent_text or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    if not digits:
        return f"{sign}0"
    if not -4 <= point - 1 < fixed_below:
        tail = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{tail}e{'-' if point <= 0 else '+'}{abs(point - 1):02d}"
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    if point >= len(digits):
        return f"{sign}{digits}{'0' * (point - len(digits))}"
    return f"{sign}{digits[:point]}.{digits[point:]}"


def _numbers(raw: bytes, at: int, count: int) -> list[bytes]:
    return [float8(raw[at + 8 * i : at + 8 * i + 8]) for i in range(count)]


def _points(raw: bytes, at: int, count: int) -> bytes:
    numbers = _numbers(raw, at, 2 * count)
    return b",".join(b"(%b,%b)" % (numbers[i], numbers[i + 1]) for i in range(0, len(numbers), 2))


def point(raw: bytes) -> bytes:
    """Type point."""
    return _points(raw, 0, 1)


def box(raw: bytes) -> bytes:
    """Type box: the upper right corner first."""
    return _points(raw, 0, 2)


def segment(raw: bytes) -> bytes:
    """Type lseg."""
    return b"[%b]" % _points(raw, 0, 2)


def line(raw: bytes) -> bytes:
    """Type line: the three factors of its equation."""
    return b"{%b}" % b",".join(_numbers(raw, 0, 3))


def path(raw: bytes) -> bytes:
    """Type path, in brackets when it is open."""
    points = _points(raw, 5, int.from_bytes(raw[1:5], "big"))
    return b"(%b)" % points if raw[0] else b"[%b]" % points


def polygon(raw: bytes) -> bytes:
    """Type polygon."""
    return b"(%b)" % _points(raw, 4, int.from_bytes(raw[:4], "big"))


def circle(raw: bytes) -> bytes:
    """Type circle."""
    return b"<%b,%b>" % (_points(raw, 0, 1), float8(raw[16:24]))


def vector(raw: bytes) -> bytes:
    """Type vector of pgvector: a count, two unused bytes, float4."""
    return b"[%b]" % b",".join(float4(raw[at : at + 4]) for at in range(4, len(raw), 4))


def half_vector(raw: bytes) -> bytes:
    """Type halfvec of pgvector: as vector, of half-precision numbers; they print as float4 does."""
    return b"[%b]" % b",".join(float4(struct.pack(">f", number)) for number in halves(raw))


def halves(raw: bytes) -> tuple[float, ...]:
    """The numbers of a halfvec."""
    return struct.unpack_from(f">{int.from_bytes(raw[:2], 'big')}e", raw, 4)


def sparse_vector(raw: bytes) -> bytes:
    """Type sparsevec of pgvector: dimensions, a count, four unused bytes, indices from 0, float4; printed from 1."""
    size, count = struct.unpack_from(">ii", raw)
    indices = struct.unpack_from(f">{count}i", raw, 12)
    at = 12 + 4 * count
    values = (float4(raw[at + 4 * i : at + 4 * i + 4]) for i in range(count))
    pairs = (b"%d:%b" % (index + 1, value) for index, value in zip(indices, values, strict=True))
    return b"{%b}/%d" % (b",".join(pairs), size)
