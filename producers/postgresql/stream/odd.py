"""Row changes outside the hot loop: key changes, values that were not sent or fit no branch of their field (RULES.md, Values)."""

from __future__ import annotations

import struct

from producers.postgresql.stream.pgoutput import DELETE, INSERT, KEY_TUPLE, NEW_TUPLE, OLD_TUPLE, UPDATE
from producers.postgresql.stream.refetch import Refetch
from producers.postgresql.stream.relation import Tracked
from producers.postgresql.value.envelope import NULL, SOME, unchanged_end
from producers.postgresql.value.tuple import PADDING, Former
from producers.rejected import rejected
from producers.source import SourceBatch
from schemas.errors import Rejected
from schemas.log.lane import Headers
from schemas.wire.varint import varint

_OID = struct.Struct(">I").unpack_from


def span(m: bytes) -> int:
    """How many ordinals a row change takes: two if it may be a key change, which only the relation's feed could tell.

    So the message alone decides, and a change that is sent again has its place though a feed came or went (invariant 2).
    """
    return 2 if m[25] == UPDATE and m[30] != NEW_TUPLE else 1


class OddChanges:
    """Turns such changes into records, byte for byte as the hot loop would."""

    def __init__(self, refetch: Refetch) -> None:
        self._refetch = refetch

    def close(self) -> None:
        """Close what was opened to read rows again."""
        self._refetch.close()

    def _emit(
        self,
        batch: SourceBatch,
        at: Tracked,
        ordinal: int,
        op: str,
        key: bytes,
        before: bytes | None,
        after: bytes | None,
        *,
        unchanged: list[str] | None = None,
        headers: Headers | None = None,
    ) -> None:
        """One change outside the hot path; the bytes are those of the hot path."""
        at.order += 1
        tail = {"c": at.created, "u": at.updated, "d": at.deleted}[op]
        start = at.new if before is None else at.old + before + (SOME if after is not None else NULL)
        place = varint(ordinal << 1), varint(at.order << 1), unchanged_end(unchanged or [])
        value = b"".join((start, after or b"", at.head, b"%08X" % ordinal, tail, *place))
        batch.records.append((at.feed, key, value, -1, headers))
        if op == "d":  # KF-08: the event first, then the tombstone, same key, same partition
            batch.records.append((at.feed, key, None, -1, None))
        batch.count(at.feed, op, 1, len(value))

    def rekey(
        self,
        batch: SourceBatch,
        at: Tracked,
        old: tuple[bytes, bytes],
        new: tuple[bytes, bytes],
        ordinal: int,
    ) -> int:
        """A key change: delete under the old key, create under the new, two ordinals, cross-referenced (PG-28)."""
        self._emit(batch, at, ordinal + 1, "d", old[0], old[1], None, headers=[("__debezium.newkey", new[0])])
        old_key = [("__debezium.oldkey", old[0])]
        self._emit(batch, at, ordinal + 2, "c", new[0], None, new[1], headers=old_key)
        return ordinal + 2

    def change(self, batch: SourceBatch, at: Tracked, m: bytes, ordinal: int) -> int:
        """A change with a value that was not sent, came as text, or fits no branch of its field."""
        tuples = at.transcoder.tuples
        kind = m[30]
        op = {INSERT: "c", UPDATE: "u", DELETE: "d"}[m[25]]
        last = ordinal + span(m)
        old = former = None
        if kind in (KEY_TUPLE, OLD_TUPLE):
            former = tuples.former(m, 33, is_whole=kind == OLD_TUPLE)
            try:
                old = self._old(at, m)
            except Rejected as error:
                if op == "d":
                    return self._dead(batch, at, m, last, error)
                op = "c"  # nobody has the row under a key that does not fit: as it is now, it is new to the feed
        if op == "d":
            assert old is not None, "a delete carries an old tuple"
            self._emit(batch, at, last, "d", old[0], old[1], None)
            return last
        start = 33 if kind == NEW_TUPLE else tuples.end(m, 33) + 3
        return self._made(batch, at, m, start, former, old, op, last)

    def _made(
        self,
        batch: SourceBatch,
        at: Tracked,
        m: bytes,
        start: int,
        former: Former | None,
        old: tuple[bytes, bytes] | None,
        op: str,
        last: int,
    ) -> int:
        """A create or update: its new tuple is at `start`, `old` are key and row before. Returns `last`, its last ordinal."""
        tuples = at.transcoder.tuples
        mended, unchanged = tuples.mend(m, start, former)
        try:
            row, key, _ = at.row(mended, 2)
            is_moved = old is not None and old[0] != key
            # A create must be whole, and so must an update of a row that no subscriber got.
            if unchanged and (is_moved or op == "c" or self._refetch.is_absent(at.feed, key)):
                sent = tuples.sent(m, start, former)
                whole = self._refetch.whole(at.feed, key, _OID(m, 26)[0], at.xid, at.transcoder, sent)
                if whole is None:
                    if old is not None and is_moved:
                        self._emit(batch, at, last - 1, "d", old[0], old[1], None)
                    return last
                row, key, _ = at.row(tuples.mend(m, start, whole)[0], 2)
                unchanged = []
        except Rejected as error:
            if old is not None and old[0] != self._key_alone(at, mended):
                self._emit(batch, at, last - 1, "d", old[0], old[1], None)
            return self._dead(batch, at, m, last, error)
        if old is not None and is_moved:
            return self.rekey(batch, at, old, (key, row), last - 2)
        self._emit(batch, at, last, op, key, old[1] if old else None, row, unchanged=unchanged)
        return last

    def _key_alone(self, at: Tracked, tuple_: bytes) -> bytes | None:
        """The key of a whole tuple of which another column fits no branch; None if the key does not fit either."""
        try:
            return at.row(at.transcoder.tuples.keyed(tuple_, 2), 2)[1]
        except Rejected:
            return None

    def _old(self, at: Tracked, m: bytes) -> tuple[bytes, bytes]:
        """Key and row of the old tuple; only its key where another column fits no branch, so that a delete passes."""
        try:
            mended, _ = at.transcoder.tuples.mend(m, 33)
            row, key, _ = at.row(mended, 2)
        except Rejected:
            row, key, _ = at.row(at.transcoder.tuples.keyed(m, 33), 2)
        return key, row

    def _dead(self, batch: SourceBatch, at: Tracked, m: bytes, ordinal: int, error: Rejected) -> int:
        """Invariant 3: a change that cannot be encoded goes to the dead letters, with the log's own bytes and its ordinal."""
        batch.records.append(rejected(at.feed, m[25 : -len(PADDING)], error, at.position(ordinal)))
        batch.reject(at.feed, error.reason)
        at.order += 1
        return ordinal
