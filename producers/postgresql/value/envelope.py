"""The constant parts of an envelope, cut so that a change costs one join (schemas/wire/envelope.py has the layout).

Fixed per relation: framing, connector, names. Fixed per transaction and relation: commit time, position but for the
ordinal, transaction id. Per change remain the rows, the ordinal, and the order within the relation.
"""

from __future__ import annotations

from importlib.metadata import version

from schemas.position import Position
from schemas.wire.envelope import frame
from schemas.wire.varint import LAST, long_bytes, text_bytes, varint

ORDINALS: list[bytes] = [b"%08X" % ordinal for ordinal in range(len(LAST) // 2)]
"""The ordinal as it stands in a position."""

END = b"\0\0"  # no `unchanged`, no `dq`
NULL = b"\0"
SOME = b"\x02"
_NO_FILE_POS_GTID = b"\0\0\0"
_VERSION = version("pearlmesh").encode()
_SEQUENCE = SOME + text_bytes(str(Position(0, 0, 0)).encode())[:1] + b'["%04X","%016X","'


class Transaction:
    """A transaction's constants. `serial` tells one transaction from the next within a stream."""

    __slots__ = ("after_names", "committed_at_ms", "end", "is_snapshot", "place", "sequence", "serial", "time", "xid")

    def __init__(self, serial: int, epoch: int, commit_lsn: int, committed_at_ms: int, xid: int | None) -> None:
        self.serial = serial
        self.place = (epoch, commit_lsn)
        self.xid = xid
        self.is_snapshot = xid is None
        self.committed_at_ms = committed_at_ms
        self.time = long_bytes(committed_at_ms)
        self.sequence = _SEQUENCE % (epoch, commit_lsn)
        lsn = SOME + long_bytes(commit_lsn) + _NO_FILE_POS_GTID
        if xid is None:  # a snapshot is nobody's transaction
            self.after_names = NULL + lsn
            self.end = SOME + self.time + NULL + END
        else:
            self.after_names = SOME + long_bytes(xid) + lsn
            self.end = SOME + self.time + SOME + text_bytes(b"%d:%d" % (xid, commit_lsn))


class FeedEnvelope:
    """What all envelopes of one feed share; `source` is `<agency>.<source>`."""

    __slots__ = ("_before_time", "_database", "_names", "framed", "new", "old")

    def __init__(self, *, value_schema_id: int, source: str, database: str, schema: str, table: str) -> None:
        self.framed = framed = frame(value_schema_id)
        self.new = framed + NULL + SOME  # no before, an after follows
        self.old = framed + SOME  # a before follows
        self._before_time = text_bytes(_VERSION) + text_bytes(b"postgresql") + text_bytes(source.encode())
        self._database = text_bytes(database.encode())
        self._names = b'"]' + SOME + text_bytes(schema.encode()) + text_bytes(table.encode())

    def head(self, transaction: Transaction, snapshot: bytes = NULL) -> bytes:
        """From the source block's start up to the ordinal's eight digits."""
        return self._before_time + transaction.time + snapshot + self._database + transaction.sequence

    def tail(self, transaction: Transaction, op: bytes) -> bytes:
        """From behind the ordinal up to `total_order`; to the end if there is no transaction. `op` is encoded."""
        return self._names + transaction.after_names + op + transaction.end


CREATED, UPDATED, DELETED, READ, TRUNCATED = (text_bytes(op) for op in (b"c", b"u", b"d", b"r", b"t"))
IN_SNAPSHOT = SOME + text_bytes(b"true")


def unchanged_end(names: list[str]) -> bytes:
    """The envelope's end with a list of columns that were not sent."""
    if not names:
        return END
    return SOME + long_bytes(len(names)) + b"".join(text_bytes(name.encode()) for name in names) + NULL + NULL


def truncate_value(envelope: FeedEnvelope, transaction: Transaction, ordinal: int, order: int) -> bytes:
    """The envelope of a truncate: neither before nor after."""
    place = b"%08X" % ordinal, envelope.tail(transaction, TRUNCATED)
    head = envelope.framed + NULL + NULL + envelope.head(transaction)
    if transaction.is_snapshot:
        return b"".join((head, *place))
    return b"".join((head, *place, varint(ordinal << 1), varint(order << 1), END))
