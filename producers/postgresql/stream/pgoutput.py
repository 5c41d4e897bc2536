"""pgoutput, protocol version 1: the messages between row changes (PostgreSQL, "Logical Replication Message Formats").

Row changes themselves are read in place by the hot loop (producers/postgresql/stream/stream.py) and the generated transcoder.
Offsets are those of a CopyData payload: one byte `w`, three 8-byte numbers, then the message.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from producers.postgresql.value.encoding import name_in

HEADER = 25  # the XLogData header before every message
FIRST_COLUMN = 33  # tag, relation id, tuple kind, column count: where the first tuple of a change starts

BEGIN, COMMIT, ORIGIN, RELATION, TYPE, INSERT, UPDATE, DELETE, TRUNCATE, MESSAGE = b"BCORYIUDTM"
WAL_DATA, KEEPALIVE = b"wk"
KEY_TUPLE, OLD_TUPLE, NEW_TUPLE = b"KON"

EPOCH_MILLIS = 946_684_800_000  # 2000-01-01, PostgreSQL's zero, in milliseconds since 1970

_BEGIN = struct.Struct(">QqI").unpack_from
_COMMIT = struct.Struct(">BQQq").unpack_from
_KEEPALIVE = struct.Struct(">QqB").unpack_from
_TRUNCATE = struct.Struct(">iB").unpack_from
_RELATION_COLUMN = struct.Struct(">Ii").unpack_from


class Begin(NamedTuple):
    """A transaction starts: its commit LSN, commit time in ms since 1970, and xid."""

    commit_lsn: int
    committed_at_ms: int
    xid: int


class RelationColumn(NamedTuple):
    """A column of a Relation message."""

    name: str
    type_oid: int
    typmod: int
    is_identity: bool


class Relation(NamedTuple):
    """A Relation message: what the following tuples of this oid look like."""

    oid: int
    schema: str
    table: str
    identity: str  # d default, n nothing, f full, i index
    columns: tuple[RelationColumn, ...]


def begin(message: bytes) -> Begin:
    """Read `B`."""
    commit_lsn, micros, xid = _BEGIN(message, HEADER + 1)
    return Begin(commit_lsn, micros // 1000 + EPOCH_MILLIS, xid)


def commit_end(message: bytes) -> int:
    """The end LSN in `C`: the only position that may ever be confirmed (PG-01, PG-02)."""
    return _COMMIT(message, HEADER + 1)[2]


def keepalive(message: bytes) -> tuple[int, bool]:
    """The end of the server's log so far, and whether it wants an answer at once."""
    wal_end, _, wants_reply = _KEEPALIVE(message, 1)
    return wal_end, bool(wants_reply)


def relation(message: bytes, codec: str = "") -> Relation:
    """Read `R`, whose names are in the encoding of all text (producers/postgresql/value/encoding.py)."""
    at = HEADER + 1
    (oid,) = struct.unpack_from(">I", message, at)
    schema, at = _text(message, at + 4, codec)
    table, at = _text(message, at, codec)
    identity = chr(message[at])
    (count,) = struct.unpack_from(">h", message, at + 1)
    at += 3
    columns: list[RelationColumn] = []
    for _ in range(count):
        is_identity = bool(message[at] & 1)
        name, at = _text(message, at + 1, codec)
        type_oid, typmod = _RELATION_COLUMN(message, at)
        at += 8
        columns.append(RelationColumn(name, type_oid, typmod, is_identity))
    return Relation(oid, schema or "pg_catalog", table, identity, tuple(columns))


def truncated(message: bytes) -> tuple[int, ...]:
    """The oids of the relations that `T` empties, in its order."""
    count, _ = _TRUNCATE(message, HEADER + 1)
    return struct.unpack_from(f">{count}I", message, HEADER + 6)


def status(confirmed: int, now_micros: int, *, wants_reply: bool = False) -> bytes:
    """A standby status update. The server frees its log up to `flush`, so all three positions are the confirmed one."""
    return struct.pack(">cQQQqB", b"r", confirmed, confirmed, confirmed, now_micros, wants_reply)


def lsn_text(lsn: int) -> str:
    """PostgreSQL's own way to write a log position."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def lsn_number(text: str) -> int:
    """The number behind PostgreSQL's way to write a log position."""
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


def _text(message: bytes, at: int, codec: str) -> tuple[str, int]:
    end = message.index(0, at)
    return name_in(message[at:end], codec), end + 1
