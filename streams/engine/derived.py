"""Derived: the records of a feed that a flow writes: envelope and key, and a tombstone behind a delete (KF-08)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from schemas.agreement.directory import FeedEntry
from schemas.wire.codec import RowCodec
from schemas.wire.envelope import frame, key_schema, value_schema
from schemas.wire.varint import long_bytes, text_bytes
from streams.engine.effects import RowChange
from streams.operators.flow import Row

CONNECTOR = b"pearlmesh"
SUBJECT, BASIS = "subject", "basis"
"""Headers of an item on a flow's queue: see RowChange."""
VERSION = b"1"

_NO_ROW, _A_ROW = b"\0", b"\2"
_REMEMBERED_ROWS = 4096
_NO_NUMBERS = b"\0" * 5  # txId, lsn, file, pos, gtid
_NO_MORE = b"\0" * 3  # transaction, unchanged, dq
_OPS = {op: text_bytes(op.encode()) + _A_ROW for op in "cud"}

Headers = Sequence[tuple[str, bytes]]
Written = tuple[str, bytes | None, bytes | None, int, Headers | None]
"""Topic, key, value, partition (-1 lets the key decide), headers."""


class DerivedFeed:
    """Writes the changes of one derived feed. The envelope is put together from its parts; only rows are encoded."""

    def __init__(self, entry: FeedEntry) -> None:
        contract = entry.contract
        self.entry = entry
        self._rows = RowCodec.of_envelope(value_schema(contract))
        self._frame = frame(entry.value_schema_id)
        self._keys = RowCodec(key_schema(contract))
        self._key_frame = frame(entry.key_schema_id)
        name = contract.source_name.encode()
        self._origin = text_bytes(VERSION) + text_bytes(CONNECTOR) + text_bytes(name)
        table = contract.feed.partition(".")[2].encode()
        self._written: dict[str, tuple[Row, bytes]] = {}
        """The newest rows and their bytes: most rows that change were written a moment ago."""
        place = _A_ROW + text_bytes(contract.agency.encode()) + text_bytes(table) + _NO_NUMBERS
        self._said = {op: place + text for op, text in _OPS.items()}
        self._flows: dict[str, bytes] = {}

    def records(self, change: RowChange) -> Iterator[Written]:
        """A change as records of its feed. Raises Rejected when the row does not fit the contract."""
        row = change.after if change.after is not None else change.before
        assert row is not None, "a change has a row before or after"
        now_ms = int(time.time() * 1000)
        key = self._key_frame + self._keys.write(row)
        value = b"".join(
            (
                self._frame,
                self._before(change),
                self._after(change),
                self._origin,
                long_bytes(change.committed_at_ms or now_ms),  # a row that no commit brought about, but time alone
                self._flows.get(change.flow) or self._named(change.flow),
                text_bytes(str(change.position).encode()),
                self._said[change.op],
                long_bytes(now_ms),
                _NO_MORE,
            )
        )
        headers = [("reason", change.reason.encode())] if change.reason else None
        if change.about is not None:  # for who decides about the item: the feed's rows do not say it
            headers = [(SUBJECT, change.about[0].encode()), (BASIS, change.about[1].encode())]
        yield self.entry.feed, key, value, -1, headers
        if change.after is None:
            yield self.entry.feed, key, None, -1, None

    def _named(self, flow: str) -> bytes:
        """The source block from `snapshot` to the branch of `sequence`."""
        self._flows[flow] = named = _NO_ROW + text_bytes(flow.encode()) + _A_ROW
        return named

    def _before(self, change: RowChange) -> bytes:
        if change.before is None:
            return _NO_ROW
        row, written = self._written.get(change.row_id, (None, b""))
        return written if row is change.before else _A_ROW + self._rows.write(change.before)

    def _after(self, change: RowChange) -> bytes:
        if change.after is None:
            self._written.pop(change.row_id, None)
            return _NO_ROW
        if len(self._written) >= _REMEMBERED_ROWS:
            self._written.clear()
        written = _A_ROW + self._rows.write(change.after)
        self._written[change.row_id] = change.after, written
        return written
