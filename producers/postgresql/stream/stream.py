"""The stream: from a walsender's messages to records, the hottest loop of the mesh.

One `read` takes what the server has sent, up to a batch, and turns each row change into a framed key and a framed envelope
by the relation's generated transcoder. Transactions pass through; they are never collected (protocol version 1 sends them
after commit, PG-40). What is rare or odd leaves the loop: `OddChanges`, `_rare`.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable

from producers.postgresql.stream import pgoutput
from producers.postgresql.stream.odd import OddChanges, span
from producers.postgresql.stream.pgoutput import BEGIN, COMMIT, DELETE, INSERT, NEW_TUPLE, UPDATE, WAL_DATA
from producers.postgresql.stream.refetch import Refetch
from producers.postgresql.stream.relation import Relations, Tracked
from producers.postgresql.stream.walsender import Walsender
from producers.postgresql.value.envelope import END, ORDINALS, SOME, Transaction, truncate_value
from producers.postgresql.value.transcode import Unsent
from producers.postgresql.value.tuple import PADDING
from producers.source import TRUNCATE_KEY, SourceBatch
from schemas.errors import ContractBroken, Rejected
from schemas.wire.varint import LAST, varint

BATCH_MESSAGES = 1_000

_OID = struct.Struct(">I").unpack_from
_SMALL = len(ORDINALS)


class Stream:
    """What one walsender sends, as batches. Used by the source's own thread.

    At `address` are rows that it may have to read again; `pause_seconds` is how long messages may gather after the first has come.
    """

    def __init__(
        self,
        walsender: Walsender,
        relations: Relations,
        *,
        name: str,
        epoch: int,
        pause_seconds: Callable[[], float],
        address: str,
    ) -> None:
        self._walsender = walsender
        self._relations = relations
        self._name = name
        self._epoch = epoch
        self._pause_seconds = pause_seconds
        self._odd = OddChanges(Refetch(address, name))
        self._transaction: Transaction | None = None
        self._serial = 0
        self._ordinal = 0
        self._touched: list[Tracked] = []
        self.position = 0  # every transaction that committed before has been read

    def close(self) -> None:
        """Hang up."""
        self._walsender.close()
        self._odd.close()

    def ask(self) -> None:
        """Make the server say how far it has come, at most every half second."""
        self._walsender.ask()

    def read(self, wait_seconds: float) -> SourceBatch:
        """What the server has sent by now; waits for the first message up to `wait_seconds`."""
        batch = SourceBatch()
        self._walsender.read(lambda: self._read(batch, wait_seconds))
        self._gather(batch)
        if self._transaction is not None:  # however little of it has come, we lag behind its commit
            batch.committed_at_ms = self._transaction.committed_at_ms
        return batch

    def _read(self, batch: SourceBatch, wait_seconds: float) -> int:  # noqa: C901, PLR0912, PLR0915
        # One frame on purpose: a call per message and per change would cost as much as the transcoding itself.
        walsender = self._walsender
        get = walsender.get_copy_data
        relations = self._relations
        by_oid = relations.by_oid
        records = batch.records
        append = records.append
        join = b"".join
        odd = self._odd
        transaction, serial, ordinal = self._transaction, self._serial, self._ordinal
        mark: tuple[int, int] | None = None
        messages = 0
        is_drained = False
        until = time.monotonic() + wait_seconds
        while messages < BATCH_MESSAGES:
            size, data = get(1)
            if size <= 0:
                if size < 0:
                    walsender.ended()
                if is_drained:
                    break
                if serial != self._serial or (messages and transaction is not None):
                    walsender.is_readable(0)
                else:  # nothing yet but signs of life, which are not worth a batch; or the rest of a transaction is under way
                    left = until - time.monotonic()
                    if messages and left <= 0:
                        break
                    if walsender.is_readable(left):
                        time.sleep(self._pause_seconds())
                walsender.take_in()
                is_drained = True
                continue
            is_drained = False
            messages += 1
            m = join((data, PADDING))
            if m[0] != WAL_DATA:
                wal_end, wants_reply = pgoutput.keepalive(m)
                if transaction is None:  # PG-07: inside a transaction the server's end says nothing
                    mark = (len(records), wal_end)
                if wants_reply:
                    walsender.tell()
                continue
            tag = m[25]
            if tag == INSERT or tag == UPDATE or tag == DELETE:  # noqa: PLR1714, SIM109 - cheaper than `in`
                at = by_oid[_OID(m, 26)[0]]
                if at is None:
                    ordinal += span(m)  # PG-03: counted before any filter
                    continue
                if at.serial != serial:
                    at.enter(transaction)  # pyright: ignore[reportArgumentType] - changes stand in transactions
                    self._touched.append(at)
                head = at.head
                try:
                    if tag == INSERT:
                        row, key, _ = at.row(m, 33)
                        start = at.new
                        tail = at.created
                        tally = at.inserts
                    elif tag == UPDATE:
                        if m[30] == NEW_TUPLE:
                            row, key, _ = at.row(m, 33)
                            start = at.new
                        else:
                            before, old_key, end = at.row(m, 33)
                            row, key, _ = at.row(m, end + 3)
                            if key != old_key:
                                ordinal = odd.rekey(batch, at, (old_key, before), (key, row), ordinal)
                                continue
                            ordinal += 1
                            start = at.old + before + SOME
                        tail = at.updated
                        tally = at.updates
                    else:
                        row, key, _ = at.row(m, 33)
                        start = at.old
                        head = at.head_deleted
                        tail = at.deleted
                        tally = at.deletes
                except (Unsent, Rejected):
                    ordinal = self._change(batch, at, m, ordinal)
                    continue
                ordinal += 1
                at.order = order = at.order + 1
                if ordinal < _SMALL:
                    place = ORDINALS[ordinal], tail, LAST[ordinal + ordinal], LAST[order + order], END
                else:
                    place = b"%08X" % ordinal, tail, varint(ordinal + ordinal), varint(order + order), END
                value = join((start, row, head, *place))
                append((at.feed, key, value, -1, None))
                if tag == DELETE:
                    append((at.feed, key, None, -1, None))
                tally.count += 1
                tally.size_bytes += len(value)
            elif tag == COMMIT:
                mark = (len(records), pgoutput.commit_end(m))
                transaction = None
            elif tag == BEGIN:
                serial += 1
                ordinal = 0
                commit_lsn, committed_at_ms, xid = pgoutput.begin(m)
                transaction = Transaction(serial, self._epoch, commit_lsn, committed_at_ms, xid)
                if commit_lsn >= relations.gate:
                    relations.open(commit_lsn)
                batch.committed_at_ms = committed_at_ms
            else:
                ordinal = self._rare(batch, m, transaction, ordinal)
        if mark is not None:
            batch.marks.append(mark)
            self.position = mark[1]
        self._transaction, self._serial, self._ordinal = transaction, serial, ordinal
        if transaction is not None:
            relations.passed = transaction.place[1]
        return messages

    def _change(self, batch: SourceBatch, at: Tracked, m: bytes, ordinal: int) -> int:
        """A change that the loop does not take; one that the contract does not allow for stops its feed."""
        try:
            return self._odd.change(batch, at, m, ordinal)
        except ContractBroken as error:
            self._relations.leave(at, error)
            return ordinal + span(m)

    def _rare(self, batch: SourceBatch, m: bytes, transaction: Transaction | None, ordinal: int) -> int:
        """Relations, truncates, and what we know and need not; an unknown message stops the source (PG-26)."""
        tag = m[25]
        if tag == pgoutput.RELATION:
            self._relations.announce(
                pgoutput.relation(m, self._relations.codec), transaction.place[1] if transaction else 0
            )
        elif tag == pgoutput.TRUNCATE:
            assert transaction is not None, "a truncate stands in a transaction"
            for oid in pgoutput.truncated(m):
                ordinal += 1
                self._relations.truncations.setdefault(oid, set()).add(transaction.xid or 0)
                if (at := self._relations.by_oid[oid]) is not None:
                    if at.serial != transaction.serial:
                        at.enter(transaction)
                        self._touched.append(at)
                    self._truncate(batch, at, transaction, ordinal)
        elif tag not in (pgoutput.TYPE, pgoutput.ORIGIN):
            raise ContractBroken(
                f"source {self._name}",
                f"the database sent a message of unknown kind {chr(tag)!r}",
                fix="report it with the database's version; nothing was confirmed past it",
            )
        return ordinal

    def _truncate(self, batch: SourceBatch, at: Tracked, transaction: Transaction, ordinal: int) -> None:
        """PG-32: every partition learns that all rows before this position are gone."""
        at.order += 1
        value = truncate_value(at.envelope, transaction, ordinal, at.order)
        for partition in range(at.entry.partitions):
            batch.records.append((at.feed, TRUNCATE_KEY, value, partition, None))
        batch.count(at.feed, "t", 1, len(value))

    def _gather(self, batch: SourceBatch) -> None:
        for at in self._touched:
            for op, tally in (("c", at.inserts), ("u", at.updates), ("d", at.deletes)):
                if tally.count:
                    batch.count(at.feed, op, tally.count, tally.size_bytes)
                    tally.count = tally.size_bytes = 0
        if self._transaction is None:
            self._touched.clear()
