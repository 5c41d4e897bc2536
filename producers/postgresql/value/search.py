"""PostgreSQL's text of its text-search types: tsvector and tsquery."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_NOT, _AND, _OR, _PHRASE = 1, 2, 3, 4
_BINDS = {_NOT: 4, _AND: 2, _OR: 1, _PHRASE: 3}
_BINDS_MOST = 5
_WEIGHTS = (b"", b"C", b"B", b"A")
_FLAGS = ((8, b"A"), (4, b"B"), (2, b"C"), (1, b"D"))
_VALUE = 1


def _quoted(word: bytes) -> bytes:
    return b"'%b'" % word.replace(b"\\", b"\\\\").replace(b"'", b"''")


def tsvector(raw: bytes) -> bytes:
    """Words, each with its places; a place is 14 bits of position and 2 of weight."""
    (count,) = struct.unpack_from(">i", raw)
    at = 4
    words: list[bytes] = []
    for _ in range(count):
        end = raw.index(b"\0", at)
        (places,) = struct.unpack_from(">H", raw, end + 1)
        found = struct.unpack_from(f">{places}H", raw, end + 3)
        shown = b",".join(b"%d%b" % (place & 0x3FFF, _WEIGHTS[place >> 14]) for place in found)
        words.append(_quoted(raw[at:end]) + (b":" + shown if found else b""))
        at = end + 3 + 2 * places
    return b" ".join(words)


def tsquery(raw: bytes) -> bytes:
    """The query in infix form, with the parentheses that the server writes.

    An operator is sent before its right side, and that before its left: read from the end, both sides are there when their
    operator comes, however deep the query is.
    """
    (count,) = struct.unpack_from(">i", raw)
    sides: list[_Side] = []
    for item in reversed(_items(raw, count)):
        if isinstance(item, bytes):
            sides.append(_Side(item, _BINDS_MOST, is_phrase=False))
            continue
        operator, distance = item
        binds, is_phrase = _BINDS[operator], operator == _PHRASE
        right = sides.pop()
        text = right.within(binds, is_right_of_phrase=is_phrase)
        if operator == _NOT:
            text = b"!" + text
        else:
            between = {_AND: b"&", _OR: b"|", _PHRASE: b"<->" if distance == 1 else b"<%d>" % distance}[operator]
            text = b"%b %b %b" % (sides.pop().within(binds, is_right_of_phrase=False), between, text)
        sides.append(_Side(text, binds, is_phrase=is_phrase))
    (whole,) = sides or [_Side(b"", _BINDS_MOST, is_phrase=False)]
    return whole.text


@dataclass(frozen=True, slots=True)
class _Side:
    """A printed part of a query, and how strongly it holds together."""

    text: bytes
    binds: int
    is_phrase: bool

    def within(self, binds: int, *, is_right_of_phrase: bool) -> bytes:
        """The part as a side of an operator that binds so."""
        is_enclosed = self.binds < binds or (self.is_phrase and is_right_of_phrase)
        return b"( %b )" % self.text if is_enclosed else self.text


def _items(raw: bytes, count: int) -> list[bytes | tuple[int, int]]:
    """Printed words, and operators with their distance, as sent."""
    items: list[bytes | tuple[int, int]] = []
    at = 4
    for _ in range(count):
        if raw[at] == _VALUE:
            weights, is_prefix = raw[at + 1], raw[at + 2]
            end = raw.index(b"\0", at + 3)
            marks = (b"*" if is_prefix else b"") + b"".join(mark for flag, mark in _FLAGS if weights & flag)
            items.append(_quoted(raw[at + 3 : end]) + (b":" + marks if marks else b""))
            at = end + 1
        else:
            operator, distance = raw[at + 1], 0
            at += 2
            if operator == _PHRASE:
                (distance,) = struct.unpack_from(">H", raw, at)
                at += 2
            items.append((operator, distance))
    return items
