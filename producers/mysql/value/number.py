"""Decimals: the log's groups of nine digits, and the text of a SELECT, as one integer without its decimal point."""

from __future__ import annotations

from producers.mysql.binlog.table_map import DIGITS_BYTES


def decimal_of(raw: bytes, precision: int, scale: int) -> int:
    """The log's form: the sign in the first bit, turned round; below zero all bits are turned round."""
    is_positive = raw[0] & 0x80
    raw = bytes((raw[0] ^ 0x80,)) + raw[1:]
    if not is_positive:
        raw = bytes(byte ^ 0xFF for byte in raw)
    whole = precision - scale
    number = at = 0
    sizes = [*([whole % 9] if whole % 9 else []), *[9] * (whole // 9), *[9] * (scale // 9)]
    if scale % 9:
        sizes.append(scale % 9)
    for digits in sizes:
        size = 4 if digits == 9 else DIGITS_BYTES[digits]
        number = number * 10**digits + int.from_bytes(raw[at : at + size], "big")
        at += size
    return number if is_positive else -number


def unscaled(text: bytes, scale: int) -> int:
    """The text's: with exactly `scale` digits behind its point."""
    whole, _, fraction = text.partition(b".")
    return int(whole + fraction.ljust(scale, b"0"))


def decimal_text(number: int, scale: int) -> bytes:
    """As the server prints it."""
    if not scale:
        return b"%d" % number
    digits = b"%0*d" % (scale + 1, abs(number))
    return (b"-" if number < 0 else b"") + digits[:-scale] + b"." + digits[-scale:]
