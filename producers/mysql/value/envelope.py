"""The parts of an envelope around its rows (schemas/wire/envelope.py has the layout), by feed and by transaction."""

from __future__ import annotations

from importlib.metadata import version

from schemas.agreement.directory import FeedEntry
from schemas.position import Position
from schemas.wire.envelope import frame
from schemas.wire.varint import long_bytes, text_bytes

NULL, SOME = b"\0", b"\x02"
_END = b"\0\0"  # no `unchanged`, no `dq`
_CONNECTOR = text_bytes(b"mysql")  # as Debezium calls it, MariaDB's too
_VERSION = text_bytes(version("pearlmesh").encode())
_IN_SNAPSHOT = SOME + text_bytes(b"true")


class LogMoment:
    """A transaction, or a snapshot where it has no `gtid`: what all of its changes say. `place` is (epoch, place in the log)."""

    __slots__ = ("_sequence", "committed_at_ms", "file", "gtid", "place", "time", "total", "transaction")

    def __init__(self, epoch: int, place: int, file: str, committed_at_ms: int, gtid: str = "") -> None:
        self.place = (epoch, place)
        self.gtid = gtid.encode()
        self.committed_at_ms = committed_at_ms
        self.time = long_bytes(committed_at_ms)
        self.file = SOME + text_bytes(file.encode()) + SOME + long_bytes(place & 0xFFFF_FFFF)
        self.total = 0
        self.transaction = SOME + text_bytes(self.gtid) if gtid else NULL
        # A position has a fixed length, so only its last eight digits differ within a transaction.
        self._sequence = SOME + text_bytes(str(Position(*self.place, 0)).encode())[:-10]

    def sequence(self, ordinal: int) -> bytes:
        """The same as the envelope has it."""
        return b'%b%08X"]' % (self._sequence, ordinal)

    def position(self, ordinal: int) -> str:
        """The position of a change of it, as text."""
        return str(Position(*self.place, ordinal))


class TableEnvelope:
    """What all envelopes of one feed share; `source` is `<agency>.<source>`, `table` `<database>.<table>`."""

    __slots__ = ("_database", "_head", "_table", "framed")

    def __init__(self, entry: FeedEntry, source: str, table: str) -> None:
        database, _, name = table.partition(".")
        self.framed = frame(entry.value_schema_id)
        self._head = _VERSION + _CONNECTOR + text_bytes(source.encode())
        self._database = text_bytes(database.encode())
        self._table = NULL + text_bytes(name.encode()) + NULL + NULL

    def value(
        self, op: bytes, before: bytes | None, after: bytes | None, moment: LogMoment, ordinal: int, order: int
    ) -> bytes:
        """An envelope. `ordinal` is the change's in the transaction's changes of this table; `order` that in all of them."""
        is_snapshot = not moment.gtid
        end = NULL
        if not is_snapshot:
            end = moment.transaction + long_bytes(order) + long_bytes(ordinal)
        return b"".join(
            (
                self.framed,
                NULL if before is None else SOME + before,
                NULL if after is None else SOME + after,
                self._head,
                moment.time,
                _IN_SNAPSHOT if is_snapshot else NULL,
                self._database,
                moment.sequence(ordinal),
                self._table,
                moment.file,
                moment.transaction,
                text_bytes(op),
                SOME,
                moment.time,
                end,
                _END,
            )
        )
