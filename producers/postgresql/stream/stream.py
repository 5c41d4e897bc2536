"""The stream: from a walsender's messages to records, the hottest loop of the mesh.

One `read` takes what the server has sent, up to a batch, and turns each row change into a framed key and a framed envelope
by the relation's generated transcoder. Transactions pass through; they are never collected (protocol version 1 sends them
after commit, PG-40). What is rare or odd leaves the loop: `OddChanges`, `_rare`.
"""

from __future__ import annotations

import logging
import select
import struct
import threading
import time
from collections.abc import Callable

import psycopg
from psycopg import pq
from psycopg.pq.abc import PGconn

from producers.postgresql.link.link import check, failure
from producers.postgresql.stream import pgoutput
from producers.postgresql.stream.odd import OddChanges, span
from producers.postgresql.stream.pgoutput import BEGIN, COMMIT, DELETE, INSERT, NEW_TUPLE, UPDATE, WAL_DATA
from producers.postgresql.stream.refetch import Refetch
from producers.postgresql.stream.relation import Relations, Tracked
from producers.postgresql.value.envelope import END, ORDINALS, SOME, Transaction, truncate_value
from producers.postgresql.value.transcode import Unsent
from producers.postgresql.value.tuple import PADDING
from producers.source import SourceBatch
from schemas.errors import ContractBroken, Rejected, Transient
from schemas.wire.varint import LAST, varint

BATCH_MESSAGES = 1_000
STATUS_SECONDS = 5.0
SILENCE_SECONDS = 10.0  # after so long we ask for a sign of life, after twelve times that we give up (PG-07, PG-12)
TRUNCATE_KEY = b""  # compacted topics refuse null keys; an empty one reads as no key (KF-08)

_OID = struct.Struct(">I").unpack_from
_SMALL = len(ORDINALS)

_logger = logging.getLogger(__name__)


class Stream:
    """One running walsender connection. `read` belongs to one thread; a second one keeps the connection alive.

    `confirmed` returns the position that may be told to the server: durable downstream, and stored as our own (PG-04).
    At `address` are rows that it may have to read again; `pause_seconds` is how long messages may gather after the first has come.
    """

    def __init__(
        self,
        connection: PGconn,
        relations: Relations,
        *,
        name: str,
        epoch: int,
        confirmed: Callable[[], int],
        pause_seconds: Callable[[], float],
        address: str,
    ) -> None:
        self._connection = connection
        self._relations = relations
        self._name = name
        self._epoch = epoch
        self._confirmed = confirmed
        self._pause_seconds = pause_seconds
        self._odd = OddChanges(Refetch(address, name))
        self._lock = threading.Lock()
        self._poll = select.poll()
        self._poll.register(connection.socket, select.POLLIN)
        self._transaction: Transaction | None = None
        self._serial = 0
        self._ordinal = 0
        self._touched: list[Tracked] = []
        self.position = 0  # every transaction that committed before has been read
        self._heard_at = self._told_at = time.monotonic()
        self._closing = threading.Event()
        self._keeper = threading.Thread(target=self._keep_alive, name=f"status {name}", daemon=True)

    def start(self, slot: str, publication: str, since: int) -> None:
        """Start streaming at a commit end (PG-02). Raises Transient while another process streams from the slot."""
        result = self._connection.exec_(
            f"START_REPLICATION SLOT {slot} LOGICAL {pgoutput.lsn_text(since)} "
            f"(proto_version '1', publication_names '{publication}', binary 'true')".encode()
        )
        check(result, self._name)
        self._connection.nonblocking = 1
        self._keeper.start()

    def close(self) -> None:
        """Send a last status (PG-08) and hang up."""
        self._closing.set()
        if self._keeper.is_alive():
            self._keeper.join()
        if self._connection.status == pq.ConnStatus.OK:
            try:
                self._tell()
            except (Transient, psycopg.Error) as error:
                _logger.debug("%s: no last status: %s", self._name, error)
        self._connection.finish()
        self._odd.close()

    def read(self, wait_seconds: float) -> SourceBatch:
        """What the server has sent by now; waits for the first message up to `wait_seconds`."""
        batch = SourceBatch()
        with self._lock:
            now = time.monotonic()
            if now - self._told_at > STATUS_SECONDS:
                self._tell(wants_reply=now - self._heard_at > SILENCE_SECONDS)
            try:
                messages = self._read(batch, wait_seconds)
            except psycopg.Error as error:
                raise failure(error, self._name) from error
            if messages:
                self._heard_at = now
            elif now - self._heard_at > 12 * SILENCE_SECONDS:
                raise Transient(f"source {self._name}: the database has been silent for {now - self._heard_at:.0f} s")
        self._gather(batch)
        if self._transaction is not None:  # however little of it has come, we lag behind its commit
            batch.committed_at_ms = self._transaction.committed_at_ms
        return batch

    def ask(self) -> None:
        """Make the server say how far it has come, at most every half second."""
        if time.monotonic() - self._told_at > 0.5:
            with self._lock:
                self._tell(wants_reply=True)

    def _read(self, batch: SourceBatch, wait_seconds: float) -> int:  # noqa: C901, PLR0912, PLR0915
        # One frame on purpose: a call per message and per change would cost as much as the transcoding itself.
        get = self._connection.get_copy_data
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
                    self._ended()
                if is_drained:
                    break
                if serial != self._serial or (messages and transaction is not None):
                    self._poll.poll(0)
                else:  # nothing yet but signs of life, which are not worth a batch; or the rest of a transaction is under way
                    left = until - time.monotonic()
                    if messages and left <= 0:
                        break
                    if self._poll.poll(max(0, int(left * 1000))):
                        time.sleep(self._pause_seconds())
                self._connection.consume_input()
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
                    self._tell()
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

    def _tell(self, *, wants_reply: bool = False) -> None:
        """Send the confirmed position (PG-01, PG-06). The caller holds the lock."""
        now_micros = time.time_ns() // 1000 - pgoutput.EPOCH_MILLIS * 1000
        try:
            self._connection.put_copy_data(pgoutput.status(self._confirmed(), now_micros, wants_reply=wants_reply))
            while self._connection.flush():
                self._poll_out()
        except psycopg.Error as error:
            raise failure(error, self._name) from error
        self._told_at = time.monotonic()

    def _poll_out(self) -> None:
        writable = select.poll()
        writable.register(self._connection.socket, select.POLLOUT | select.POLLIN)
        if not writable.poll(10_000):
            raise Transient(f"source {self._name}: the database does not take our status")
        self._connection.consume_input()

    def _keep_alive(self) -> None:
        """PG-06: the status goes out also while the reader is held back by the broker."""
        while not self._closing.wait(1.0):
            if time.monotonic() - self._told_at > 2 * STATUS_SECONDS and self._lock.acquire(timeout=1.0):
                try:
                    self._tell()
                except Transient as error:
                    _logger.warning("%s", error)  # the reader meets the same broken connection and raises
                    return
                finally:
                    self._lock.release()

    def _ended(self) -> None:
        result = self._connection.get_result()
        if result is not None:
            check(result, self._name)
        raise Transient(f"source {self._name}: the database ended the stream")
