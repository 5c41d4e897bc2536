"""The TABLE_MAP event: what the columns of the rows behind it are, with their names (binlog_row_metadata=FULL)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from producers.mysql.binlog.event import HEADER_BYTES, packed_number

TINY, SHORT, LONG, FLOAT, DOUBLE, TIMESTAMP, LONGLONG, INT24 = 1, 2, 3, 4, 5, 7, 8, 9
DATE, TIME, DATETIME, YEAR, NEWDATE, VARCHAR, BIT, TIMESTAMP2, DATETIME2, TIME2 = 10, 11, 12, 13, 14, 15, 16, 17, 18, 19
BLOB_COMPRESSED, VARCHAR_COMPRESSED = 140, 141
NEWDECIMAL, ENUM, SET, BLOB, VAR_STRING, STRING, GEOMETRY = 246, 247, 248, 252, 253, 254, 255
_BLOBS = frozenset({249, 250, 251, BLOB, GEOMETRY, BLOB_COMPRESSED})
_META_BYTES = {
    **dict.fromkeys((FLOAT, DOUBLE, TIMESTAMP2, DATETIME2, TIME2, *_BLOBS), 1),
    **dict.fromkeys((VARCHAR, BIT, NEWDECIMAL, VAR_STRING, STRING, ENUM, SET, VARCHAR_COMPRESSED), 2),
}
_FIXED = {TINY: 1, SHORT: 2, INT24: 3, LONG: 4, LONGLONG: 8, FLOAT: 4, DOUBLE: 8, YEAR: 1}
_FIXED |= {DATE: 3, NEWDATE: 3, TIMESTAMP: 4, DATETIME: 8, TIME: 3}
DIGITS_BYTES = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
"""How many bytes so many digits of a decimal take."""
_NAMES, _SETS, _ENUMS = 4, 5, 6


class UnknownColumn(Exception):
    """A column of a kind that is not known here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogColumn:
    """A column as the log has it. `size` is that of its bytes, 0 where `prefix` bytes before them say it.

    `meta` is the type's own (two bytes, the first one high), `words` are those of an ENUM or SET in the column's character set.
    """

    name: str
    kind: int
    meta: int
    size: int
    prefix: int
    words: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TableMap:
    """What a table is called, and its columns; those have no names where the server does not log them."""

    table: str
    columns: tuple[LogColumn, ...]
    is_named: bool


def table_id(event: bytes) -> int:
    """Which map a TABLE_MAP or rows event is about; good until the map comes again."""
    return int.from_bytes(event[HEADER_BYTES : HEADER_BYTES + 6], "little")


def table_name(event: bytes) -> tuple[str, int]:
    """`<database>.<table>`, and the place behind it."""
    at = HEADER_BYTES + 8
    size = event[at]
    schema = event[at + 1 : at + 1 + size].decode()
    at += size + 2
    size = event[at]
    return f"{schema}.{event[at + 1 : at + 1 + size].decode()}", at + size + 2


def table_map(event: bytes) -> TableMap:
    """Read a TABLE_MAP event. Raises UnknownColumn."""
    table, at = table_name(event)
    count, at = packed_number(event, at)
    kinds = event[at : at + count]
    size, at = packed_number(event, at + count)
    metas = _metas(kinds, event[at : at + size])
    at += size + (count + 7) // 8
    more = _more(event, at)
    names = list(_texts(more.get(_NAMES, b"")))
    is_named = len(names) == count
    words = {ENUM: _word_lists(more.get(_ENUMS, b"")), SET: _word_lists(more.get(_SETS, b""))}
    columns: list[LogColumn] = []
    for place, (kind, meta) in enumerate(zip(kinds, metas, strict=True)):
        real, size, prefix = _layout(kind, meta)
        name = names[place].decode() if is_named else ""
        own = words[real].pop(0) if words.get(real) else ()
        columns.append(LogColumn(name=name, kind=real, meta=meta, size=size, prefix=prefix, words=own))
    return TableMap(table=table, columns=tuple(columns), is_named=is_named)


def _metas(kinds: bytes, block: bytes) -> list[int]:
    metas: list[int] = []
    at = 0
    for kind in kinds:
        size = _META_BYTES.get(kind, 0)
        order = "big" if kind in (STRING, ENUM, SET, NEWDECIMAL) else "little"
        metas.append(int.from_bytes(block[at : at + size], order))
        at += size
    return metas


def _layout(kind: int, meta: int) -> tuple[int, int, int]:  # noqa: PLR0911 -- a line per kind
    """The real kind, the size of its bytes, and how many bytes before them say it."""
    if kind in _FIXED:
        return kind, _FIXED[kind], 0
    if kind in (VARCHAR, VAR_STRING, VARCHAR_COMPRESSED):
        return kind, 0, 1 if meta < 256 else 2
    if kind in _BLOBS:
        return kind, 0, meta
    if kind == STRING:
        return _string(meta)
    if kind == NEWDECIMAL:
        return kind, decimal_bytes(meta >> 8, meta & 255), 0
    if kind == BIT:
        return kind, (meta >> 8) + (1 if meta & 255 else 0), 0
    if kind in (TIMESTAMP2, DATETIME2, TIME2):
        return kind, {TIMESTAMP2: 4, DATETIME2: 5, TIME2: 3}[kind] + (meta + 1) // 2, 0
    raise UnknownColumn(f"type {kind} of the log")


def _string(meta: int) -> tuple[int, int, int]:
    """CHAR, ENUM and SET share a type; two bits of a long CHAR's length stand in the type's byte."""
    high, low = meta >> 8, meta & 255
    if high & 0x30 != 0x30:
        low |= ((high & 0x30) ^ 0x30) << 4
        high |= 0x30
    if high in (ENUM, SET):
        return high, low, 0
    return STRING, 0, 1 if low < 256 else 2


def decimal_bytes(precision: int, scale: int) -> int:
    """How many bytes a decimal takes."""
    whole = precision - scale
    return whole // 9 * 4 + DIGITS_BYTES[whole % 9] + scale // 9 * 4 + DIGITS_BYTES[scale % 9]


def _more(event: bytes, at: int) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while at < len(event):
        kind = event[at]
        size, at = packed_number(event, at + 1)
        found[kind] = event[at : at + size]
        at += size
    return found


def _texts(block: bytes) -> list[bytes]:
    found: list[bytes] = []
    at = 0
    while at < len(block):
        size, at = packed_number(block, at)
        found.append(block[at : at + size])
        at += size
    return found


def _word_lists(block: bytes) -> list[tuple[bytes, ...]]:
    found: list[tuple[bytes, ...]] = []
    at = 0
    while at < len(block):
        count, at = packed_number(block, at)
        words: list[bytes] = []
        for _ in range(count):
            size, at = packed_number(block, at)
            words.append(block[at : at + size])
            at += size
        found.append(tuple(words))
    return found


_U16 = struct.Struct("<H").unpack_from


def split_rows(columns: tuple[LogColumn, ...], present: int, rows: bytes, at: int) -> tuple[list[bytes | None], int]:
    """The raw values of one row image at `at`, and the place behind it; a column that `present` has not is None too."""
    width = present.bit_count()
    nulls = int.from_bytes(rows[at : at + (width + 7) // 8], "little")
    at += (width + 7) // 8
    values: list[bytes | None] = []
    bit = 0
    for place, column in enumerate(columns):
        if not present >> place & 1:
            values.append(None)
            continue
        is_null = nulls >> bit & 1
        bit += 1
        if is_null:
            values.append(None)
            continue
        size = column.size
        if not size:
            prefix = column.prefix
            if prefix == 1:
                size = rows[at]
            elif prefix == 2:
                (size,) = _U16(rows, at)
            else:
                size = int.from_bytes(rows[at : at + prefix], "little")
            at += prefix
        values.append(rows[at : at + size])
        at += size
    return values, at
