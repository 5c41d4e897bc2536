"""Families of types: what a value of a column is, whether it comes out of the log or out of a SELECT.

Both ways lead to one plain form, so that a copied row and a streamed one have the same bytes (RULES.md, MY-14):

| family      | types                                  | plain form                                    |
|-------------|----------------------------------------|-----------------------------------------------|
| int         | tinyint to bigint, year                | int                                           |
| bits        | bit                                    | 0 and 1 as text                               |
| decimal     | decimal                                | int, without its decimal point                |
| float, double | float; double                        | the four or eight bytes, little-endian        |
| date        | date                                   | year, month, day                              |
| datetime    | datetime                               | those, and microseconds of the day            |
| timestamp   | timestamp                              | microseconds since 1970 UTC; 0 is the zero date |
| time        | time                                   | microseconds, with a sign                     |
| text        | char, varchar, text, json, enum, set, uuid, inet4, inet6 | UTF-8                       |
| bytes       | binary, varbinary, blob, geometries    | bytes                                         |
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from producers.mysql.binlog.table_map import (
    BIT,
    BLOB,
    BLOB_COMPRESSED,
    DATE,
    DATETIME2,
    DOUBLE,
    ENUM,
    FLOAT,
    GEOMETRY,
    INT24,
    LONG,
    LONGLONG,
    NEWDATE,
    NEWDECIMAL,
    SET,
    SHORT,
    STRING,
    TIME2,
    TIMESTAMP2,
    TINY,
    VAR_STRING,
    VARCHAR,
    VARCHAR_COMPRESSED,
    YEAR,
    LogColumn,
)
from producers.mysql.link.catalog import MysqlColumn
from producers.mysql.value import moment
from producers.mysql.value.charset import charset_decoder
from producers.mysql.value.number import decimal_of, unscaled
from producers.mysql.value.plain import inet4, inet6, uuid_text

Read = Callable[[bytes], Any]
_INTS = {"tinyint": TINY, "smallint": SHORT, "mediumint": INT24, "int": LONG, "bigint": LONGLONG}
_TEXTS = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "json"})
_BYTES = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"})
_GEOMETRIES = frozenset(
    {
        "geometry",
        "point",
        "linestring",
        "polygon",
        "multipoint",
        "multilinestring",
        "multipolygon",
        "geometrycollection",
    }
)
_STORED = frozenset({VARCHAR, VAR_STRING, STRING, 249, 250, 251, BLOB, BLOB_COMPRESSED, VARCHAR_COMPRESSED})


class Unread(Exception):
    """A column that cannot be read; the text says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How a declared column is read. `kinds` are the log's types that it may have there; `select` is what a SELECT asks for it by.

    `digits` are those of the fraction of a second, of a whole number how many are printed at least; `scale` is a decimal's.
    """

    name: str
    kinds: frozenset[int]
    from_log: Callable[[LogColumn], Read]
    from_text: Read
    select: str = "{}"
    digits: int = 0
    scale: int = 0


def family_of(column: MysqlColumn) -> Family:  # noqa: C901, PLR0911 -- a line per family
    """The family of a column. Raises Unread."""
    kind, declared = column.type, column.declared
    if "mariadb-5.3" in declared:
        raise Unread(f"column {column.name} has the time format of old servers; ALTER TABLE … FORCE renews it")
    if kind in _INTS:
        signed = not column.is_unsigned
        width = column.width if "zerofill" in declared else 0
        return _family(
            "int", {_INTS[kind]}, lambda raw: int.from_bytes(raw, "little", signed=signed), int, digits=width
        )
    if kind == "year":
        return _family("int", {YEAR}, lambda raw: raw[0] and raw[0] + 1900, int, digits=4)
    if kind == "bit":
        bits = _bits(column.precision)
        return _family("bits", {BIT}, bits, bits)
    if kind == "decimal":
        precision, scale = column.precision, column.scale
        return _family(
            "decimal",
            {NEWDECIMAL},
            lambda raw: decimal_of(raw, precision, scale),
            lambda raw: unscaled(raw, scale),
            scale=scale,
        )
    if kind == "float":
        return _family("float", {FLOAT}, bytes, lambda raw: struct.pack("<f", float(raw)), select="{}+0e0")
    if kind == "double":
        return _family("double", {DOUBLE}, bytes, lambda raw: struct.pack("<d", float(raw)), select="{}+0e0")
    if kind == "date":
        return _family("date", {DATE, NEWDATE}, moment.date_of, moment.date_in)
    if kind == "datetime":
        return _family("datetime", {DATETIME2}, moment.datetime_of, moment.datetime_in, digits=moment.digits(declared))
    if kind == "timestamp":
        return _family(
            "timestamp", {TIMESTAMP2}, moment.timestamp_of, moment.timestamp_in, digits=moment.digits(declared)
        )
    if kind == "time":
        return _family("time", {TIME2}, moment.time_of, moment.time_in, digits=moment.digits(declared))
    return _of_text(column)


def _of_text(column: MysqlColumn) -> Family:  # noqa: PLR0911 -- a line per family
    kind = column.type
    if kind in _BYTES or kind in _GEOMETRIES:
        width = column.width if kind == "binary" else 0
        kinds = _STORED | {GEOMETRY}
        return Family(
            name="bytes",
            kinds=frozenset(kinds),
            from_log=lambda log: _padded(_unpacked(log), width),
            from_text=bytes,
        )
    if kind == "uuid":
        return _family("text", {STRING}, lambda raw: uuid_text(raw.ljust(16, b"\0")), bytes)
    if kind == "inet6":
        return _family("text", {STRING}, lambda raw: inet6(raw.ljust(16, b"\0")), bytes)
    if kind == "inet4":
        return _family("text", {STRING}, lambda raw: inet4(raw.ljust(4, b"\0")), bytes)
    if kind not in _TEXTS and kind not in ("enum", "set"):
        raise Unread(f"column {column.name}: type {column.declared} is not read; leave it out of the contract")
    decode = charset_decoder(column.charset)
    if decode is None:
        fix = f"ALTER TABLE … MODIFY `{column.name}` … CHARACTER SET utf8mb4"
        raise Unread(f"column {column.name}: character set {column.charset} is not read exactly; {fix}")
    if kind == "enum":
        return Family(name="text", kinds=frozenset({ENUM}), from_log=lambda log: _one_of(log, decode), from_text=decode)
    if kind == "set":
        return Family(name="text", kinds=frozenset({SET}), from_log=lambda log: _some_of(log, decode), from_text=decode)
    return Family(name="text", kinds=_STORED, from_log=lambda log: _then(_unpacked(log), decode), from_text=decode)


def _family(name: str, kinds: set[int], from_log: Read, from_text: Read, **more: Any) -> Family:
    return Family(name=name, kinds=frozenset(kinds), from_log=lambda _: from_log, from_text=from_text, **more)


def _bits(width: int) -> Read:
    return lambda raw: b"%b" % format(int.from_bytes(raw, "big"), f"0{width}b").encode()


def _one_of(log: LogColumn, decode: Read) -> Read:
    words = [b"", *(decode(word) for word in log.words)]
    return lambda raw: words[int.from_bytes(raw, "little")]


def _some_of(log: LogColumn, decode: Read) -> Read:
    words = [decode(word) for word in log.words]

    def read(raw: bytes) -> bytes:
        chosen = int.from_bytes(raw, "little")
        return b",".join(word for place, word in enumerate(words) if chosen >> place & 1)

    return read


def _unpacked(log: LogColumn) -> Read:
    return _inflated if log.kind in (BLOB_COMPRESSED, VARCHAR_COMPRESSED) else bytes


def _inflated(raw: bytes) -> bytes:
    """A value of a COMPRESSED column: a byte that says how, the length, then zlib's format with or without its frame."""
    if not raw:
        return raw
    if raw[0] >> 4 == 0:
        return raw[1:]
    if raw[0] >> 4 != 8:
        raise ValueError(raw[0])
    return zlib.decompress(raw[1 + (raw[0] & 7) :], -zlib.MAX_WBITS if raw[0] & 8 else zlib.MAX_WBITS)


def _padded(read: Read, width: int) -> Read:
    return (lambda raw: read(raw).ljust(width, b"\0")) if width else read


def _then(first: Read, second: Read) -> Read:
    return second if first is bytes else lambda raw: second(first(raw))
