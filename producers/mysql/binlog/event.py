"""Events of the log: their frame with its checksum, and the small ones among them (MariaDB's protocol, "Replication Protocol").

An event of a kind that is not known here may be a change: it stops the source (RULES.md, MY-03).
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

from isal.isal_zlib import crc32

HEADER_BYTES = 19
CHECKSUM_BYTES = 4

QUERY, STOP, ROTATE, FORMAT, XID, TABLE_MAP = 2, 3, 4, 15, 16, 19
WRITE, UPDATE, DELETE = 23, 24, 25
INCIDENT, HEARTBEAT, XA_PREPARE = 26, 27, 38
ANNOTATE, CHECKPOINT, GTID, GTID_LIST, START_ENCRYPTION, QUERY_COMPRESSED = 160, 161, 162, 163, 164, 165
WRITE_COMPRESSED, UPDATE_COMPRESSED, DELETE_COMPRESSED = 166, 167, 168
ROWS = {
    WRITE: (WRITE, False),
    UPDATE: (UPDATE, False),
    DELETE: (DELETE, False),
    WRITE_COMPRESSED: (WRITE, True),
    UPDATE_COMPRESSED: (UPDATE, True),
    DELETE_COMPRESSED: (DELETE, True),
}
"""What a rows event does, and whether its rows are compressed."""
PASSED_OVER = frozenset({STOP, ANNOTATE, CHECKPOINT, GTID_LIST, START_ENCRYPTION})
"""Kinds that are known and have no change in them. START_ENCRYPTION: the server sends what follows in plain form."""
STATEMENT_PARTS = frozenset({5, 13, 14})
"""Numbers, seeds and variables that go before a change that was logged as a statement."""

_HEADER = struct.Struct("<IBIIIH").unpack_from
_GTID = struct.Struct("<QIB").unpack_from
_QUERY = struct.Struct("<IIBHH").unpack_from

STANDALONE, GROUP_COMMIT, PREPARED_XA, COMPLETED_XA = 1, 2, 64, 128


class Header(NamedTuple):
    """The head of an event. `log_pos` is where it ends in its file, 0 where the server does not say."""

    timestamp: int
    kind: int
    server_id: int
    size: int
    log_pos: int
    flags: int


class Started(NamedTuple):
    """A transaction's beginning. `gtid` is `<domain>-<server>-<number>`; `xid` is XA's name of it, empty without one."""

    gtid: str
    domain: int
    is_standalone: bool
    is_prepared: bool
    is_completed: bool
    xid: bytes


class Query(NamedTuple):
    """A statement in the log; `database` is the session's default one."""

    database: str
    statement: str

    def folded(self) -> Query:
        """In small letters, where the server's names of tables are."""
        return Query(self.database.lower(), self.statement.lower())


class Damaged(Exception):
    """An event whose bytes are not those that were written."""


def header(event: bytes) -> Header:
    """The head of an event."""
    return Header(*_HEADER(event))


def body(event: bytes, *, has_checksum: bool) -> bytes:
    """An event without its checksum, once that is verified. Raises Damaged."""
    if not has_checksum:
        return event
    told = int.from_bytes(event[-CHECKSUM_BYTES:], "little")
    if crc32(memoryview(event)[:-CHECKSUM_BYTES]) != told:
        raise Damaged
    return event[:-CHECKSUM_BYTES]


def sums_events(event: bytes) -> bool:
    """Whether the events behind this FORMAT event have a checksum; its own is there in any case."""
    return event[-CHECKSUM_BYTES - 1] == 1


def rotated(event: bytes) -> str:
    """The name of the file that the log goes on in."""
    return event[HEADER_BYTES + 8 :].decode()


def beating(event: bytes) -> str:
    """The file that a heartbeat speaks of."""
    return event[HEADER_BYTES:].decode()


def started(event: bytes, server_id: int) -> Started:
    """A GTID event."""
    number, domain, flags = _GTID(event, HEADER_BYTES)
    return Started(
        f"{domain}-{server_id}-{number}",
        domain,
        bool(flags & STANDALONE),
        bool(flags & PREPARED_XA),
        bool(flags & COMPLETED_XA),
        event[HEADER_BYTES + (21 if flags & GROUP_COMMIT else 13) :] if flags & (PREPARED_XA | COMPLETED_XA) else b"",
    )


def query(event: bytes, *, is_compressed: bool) -> Query:
    """A QUERY event. What is no UTF-8 in it is shown as such: names are compared, and values never taken, from it."""
    _, _, database_size, _, status_size = _QUERY(event, HEADER_BYTES)
    at = HEADER_BYTES + 13 + status_size
    database = event[at : at + database_size].decode("utf-8", "replace")
    text = event[at + database_size + 1 :]
    if is_compressed:
        text = inflated(text)
    return Query(database, text.decode("utf-8", "replace"))


def inflated(packed: bytes) -> bytes:
    """What `log_bin_compress` has packed: a byte that says how, the length, then zlib's own format. Raises Damaged."""
    if packed[0] & 0xF0 != 0x80:
        raise Damaged
    try:
        return zlib.decompress(packed[1 + (packed[0] & 7) :])
    except zlib.error as error:
        raise Damaged from error


def packed_number(b: bytes, at: int) -> tuple[int, int]:
    """The length-encoded number at `at`, and the place behind it."""
    first = b[at]
    if first < 251:
        return first, at + 1
    size = {252: 2, 253: 3, 254: 8}[first]
    return int.from_bytes(b[at + 1 : at + 1 + size], "little"), at + 1 + size
