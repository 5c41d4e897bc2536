"""PostgreSQL's text of values that hold values: arrays, ranges, multiranges, composites, hstore.

Each has its own rule of when a part is quoted and how; the parts print as their own types do.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from itertools import starmap

from producers.postgresql.value.text import Text, verbatim

_EMPTY, _LOWER_INCLUSIVE, _UPPER_INCLUSIVE, _LOWER_INFINITE, _UPPER_INFINITE = 1, 2, 4, 8, 16
_SPACE = b" \t\n\r\v\f"
_IN_RANGE = frozenset(b'"\\()[],' + _SPACE)
_IN_ROW = frozenset(b'"\\(),' + _SPACE)


def array_of(element: Text, delimiter: str = ",") -> Text:
    """The literal of an array whose elements print as `element` does."""
    special = frozenset(f'{{}}"\\ \t\n\r\v\f{delimiter}'.encode())

    def quoted(raw: bytes) -> bytes:
        text = element(raw)
        if text and text.upper() != b"NULL" and not special.intersection(text):
            return text
        return b'"%b"' % text.replace(b"\\", b"\\\\").replace(b'"', b'\\"')

    def literal(raw: bytes) -> bytes:
        shape, elements = array_parts(raw)
        if not shape:
            return b"{}"
        items = [b"NULL" if item is None else quoted(item) for item in elements]
        for size, _ in reversed(shape):
            items = [
                b"{%b}" % delimiter.encode().join(items[start : start + size]) for start in range(0, len(items), size)
            ]
        bounds = "".join(f"[{lower}:{lower + size - 1}]" for size, lower in shape)
        is_plain = all(lower == 1 for _, lower in shape)
        return items[0] if is_plain else bounds.encode() + b"=" + items[0]

    return literal


def array_parts(raw: bytes) -> tuple[list[tuple[int, int]], list[bytes | None]]:
    """Dimensions as (size, lower bound), and the elements in storage order."""
    (dimensions,) = struct.unpack_from(">i", raw)
    at = 12
    shape: list[tuple[int, int]] = []
    for _ in range(dimensions):
        shape.append(struct.unpack_from(">ii", raw, at))
        at += 8
    elements: list[bytes | None] = []
    while at < len(raw):
        (size,) = struct.unpack_from(">i", raw, at)
        at += 4
        if size < 0:
            elements.append(None)
        else:
            elements.append(raw[at : at + size])
            at += size
    return shape, elements


def _parts(raw: bytes, at: int, count: int) -> Iterator[bytes | None]:
    """`count` values, each behind its length; a length below 0 is a NULL."""
    for _ in range(count):
        (size,) = struct.unpack_from(">i", raw, at)
        at += 4
        if size < 0:
            yield None
        else:
            if at + size > len(raw):
                raise ValueError("a part ends behind its value")
            yield raw[at : at + size]
            at += size


def _doubled(text: bytes, special: frozenset[int]) -> bytes:
    """The text, in quotes if it is empty or has a special byte: quotes and backslashes within are written twice."""
    if text and not special.intersection(text):
        return text
    return b'"%b"' % text.replace(b"\\", b"\\\\").replace(b'"', b'""')


def range_of(bound: Text) -> Text:
    """A range whose bounds print as `bound` does."""

    def literal(raw: bytes) -> bytes:
        flags = raw[0]
        if flags & _EMPTY:
            return b"empty"
        has_lower, has_upper = not flags & _LOWER_INFINITE, not flags & _UPPER_INFINITE
        bounds = _parts(raw, 1, has_lower + has_upper)
        lower = _doubled(bound(next(bounds) or b""), _IN_RANGE) if has_lower else b""
        upper = _doubled(bound(next(bounds) or b""), _IN_RANGE) if has_upper else b""
        opening = b"[" if flags & _LOWER_INCLUSIVE else b"("
        return b"".join((opening, lower, b",", upper, b"]" if flags & _UPPER_INCLUSIVE else b")"))

    return literal


def multirange_of(span: Text) -> Text:
    """A multirange whose ranges print as `span` does."""

    def literal(raw: bytes) -> bytes:
        parts = _parts(raw, 4, int.from_bytes(raw[:4], "big"))
        return b"{%b}" % b",".join(span(part or b"") for part in parts)

    return literal


def composite(text_of: Callable[[int], Text | None]) -> Text:
    """A row of a composite type; `text_of` gives from a type's oid how its values print.

    A row carries the types of its fields, so one written before the type got another field prints as it was.
    """

    def member(oid: int, raw: bytes | None) -> bytes:
        if raw is None:
            return b""
        if (text := text_of(oid)) is None:
            raise ValueError("a field has a type without a mapping")
        return _doubled(text(raw), _IN_ROW)

    def literal(raw: bytes) -> bytes:
        return b"(%b)" % b",".join(starmap(member, _members(raw)))

    return literal


def _members(raw: bytes) -> Iterator[tuple[int, bytes | None]]:
    at = 4
    for _ in range(int.from_bytes(raw[:4], "big")):
        oid, size = struct.unpack_from(">Ii", raw, at)
        at += 8
        if size < 0:
            yield oid, None
        else:
            yield oid, raw[at : at + size]
            at += size


def plain_list(element: Text) -> Text:
    """int2vector and oidvector: sent as arrays, printed without any of their marks."""
    return lambda raw: b" ".join(element(part or b"") for part in array_parts(raw)[1])


def hstore(raw: bytes, convert: Text = verbatim) -> bytes:
    """The extension hstore: pairs of key and value; a value may be NULL."""
    parts = list(_parts(raw, 4, 2 * int.from_bytes(raw[:4], "big")))

    def quoted(text: bytes) -> bytes:
        return b'"%b"' % convert(text).replace(b"\\", b"\\\\").replace(b'"', b'\\"')

    pairs = zip(parts[::2], parts[1::2], strict=True)
    return b", ".join(
        b"%b=>%b" % (quoted(key or b""), b"NULL" if value is None else quoted(value)) for key, value in pairs
    )
