"""Derived: the records of a feed that a flow writes: envelope and key, and a tombstone behind a delete (KF-08)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from schemas.codec import Codec, RowCodec
from schemas.directory import FeedEntry
from schemas.envelope import frame, value_schema
from streams.operators.effects import RowChange
from streams.operators.flow import Row
from streams.spans import write_long, write_text

CONNECTOR = b"pearlmesh"
VERSION = b"1"

_NO_ROW, _A_ROW = b"\0", b"\2"
_NO_NUMBERS = b"\0" * 5  # txId, lsn, file, pos, gtid
_NO_MORE = b"\0" * 3  # transaction, unchanged, dq

Headers = Sequence[tuple[str, bytes]]
Written = tuple[str, bytes | None, bytes | None, int, Headers | None]
"""Topic, key, value, partition (-1 lets the key decide), headers."""


class DerivedFeed:
    """Writes the changes of one derived feed. The envelope is put together from its parts; only rows are encoded."""

    def __init__(self, entry: FeedEntry, codec: Codec) -> None:
        contract = entry.contract
        self.entry = entry
        self._codec = codec
        self._rows = RowCodec(value_schema(contract))
        self._frame = frame(entry.value_schema_id)
        name = contract.source_name.encode()
        self._origin = write_text(VERSION) + write_text(CONNECTOR) + write_text(name)
        table = contract.feed.partition(".")[2].encode()
        self._place = _A_ROW + write_text(contract.agency.encode()) + write_text(table) + _NO_NUMBERS

    def records(self, change: RowChange) -> Iterator[Written]:
        """A change as records of its feed. Raises Rejected when the row does not fit the contract."""
        row = change.after if change.after is not None else change.before
        assert row is not None, "a change has a row before or after"
        now_ms = int(time.time() * 1000)
        key = self._codec.encode(self.entry.key_schema_id, {name: row[name] for name in self.entry.contract.key})
        value = b"".join(
            (
                self._frame,
                self._row(change.before),
                self._row(change.after),
                self._origin,
                write_long(change.committed_at_ms or now_ms),  # a row that no commit brought about, but time alone
                _NO_ROW,  # snapshot
                write_text(change.flow.encode()),
                _A_ROW,
                write_text(str(change.position).encode()),
                self._place,
                write_text(change.op.encode()),
                _A_ROW,
                write_long(now_ms),
                _NO_MORE,
            )
        )
        headers = [("reason", change.reason.encode())] if change.reason else None
        yield self.entry.feed, key, value, -1, headers
        if change.after is None:
            yield self.entry.feed, key, None, -1, None

    def _row(self, row: Row | None) -> bytes:
        return _NO_ROW if row is None else _A_ROW + self._rows.write(row)
