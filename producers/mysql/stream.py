"""The stream: from events of the log to records.

A transaction's changes pass through; they are never collected. A change's position is its transaction's place in the log and its
number among the transaction's changes of its table: both come from the log alone, so a resend has them again, whatever other
tables are captured by then (invariant 2). An update takes two numbers, since it may be a key change.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from producers.mysql.binlog import event as ev
from producers.mysql.binlog.event import Damaged, Started
from producers.mysql.binlog.rows import PartialImage, changes
from producers.mysql.binlog.statement import LogStatement, statement
from producers.mysql.binlog.table_map import table_id
from producers.mysql.book import LogMark
from producers.mysql.change import RowChanges
from producers.mysql.link.dump import Dump
from producers.mysql.link.fault import log_lost
from producers.mysql.maps import Maps
from producers.mysql.place import place_in_log
from producers.mysql.value.envelope import LogMoment
from producers.mysql.verdict import LogVerdicts
from producers.source import SourceBatch
from schemas.errors import ContractBroken, Transient

BATCH_RECORDS = 2_000
BATCH_EVENTS = 4_000


class LogStream:
    """What a dump sends, as batches. `hold` is the place that it does not read past; `place` and `gtids` are what it has read."""

    def __init__(
        self,
        dump: Dump,
        maps: Maps,
        verdicts: LogVerdicts,
        *,
        name: str,
        epoch: int,
        gtids: str,
        place: int,
        folds_names: bool,
        pause_seconds: Callable[[], float],
    ) -> None:
        self._dump = dump
        self._maps = maps
        self._verdicts = verdicts
        self._name = name
        self._epoch = epoch
        self._folds_names = folds_names
        self._pause_seconds = pause_seconds
        self._changes = RowChanges(maps)
        self._domains = {gtid.split("-", 1)[0]: gtid for gtid in gtids.split(",") if gtid}
        self.place = place
        self.hold: int | None = None
        self._at = 0
        self._file = ""
        self._has_checksum = False
        self._held: bytes | None = None
        self._started: Started | None = None
        self._moment: LogMoment | None = None
        self._touched: set[str] = set()
        self._batch = SourceBatch()
        self._whole: int | None = None
        """How many records of the batch belong to whole transactions; None where none ended in it."""
        self._prepared: dict[bytes, set[str]] = {}
        """Transactions that XA has prepared, and the feeds that they change."""

    @property
    def is_held(self) -> bool:
        """Whether all before `hold` has been read, and nothing behind it."""
        if self.hold is None or self._started is not None:
            return False
        return self._held is not None or self._at >= self.hold

    @property
    def reading(self) -> int:
        """The place of the transaction that is being read."""
        return self._moment.place[1] if self._moment is not None else self.place

    def close(self) -> None:
        """Hang up."""
        self._dump.close()

    def read(self, wait_seconds: float) -> SourceBatch:
        """What the server has sent by now; waits for the first event up to `wait_seconds`."""
        self._batch = batch = SourceBatch()
        self._whole = None
        until = time.monotonic() + wait_seconds
        events = 0
        place_before = self.place
        while not self.is_held and len(batch.records) < BATCH_RECORDS and events < BATCH_EVENTS:
            event = self._held or self._dump.event()
            self._held = None
            if event is not None:
                events += 1
                self._take(batch, event)
                continue
            left = until - time.monotonic()
            if batch.records or self.place != place_before or left <= 0:
                if not self._dump.wait(0):
                    break
            elif self._dump.wait(left):
                time.sleep(self._pause_seconds())
        if self._whole is not None:
            batch.marks.append((self._whole, self._mark()))
        if self._moment is not None:  # however little of it has come, we lag behind its commit
            batch.committed_at_ms = self._moment.committed_at_ms
        return batch

    def _mark(self) -> LogMark:
        return LogMark(gtids=",".join(self._domains.values()), place=self.place)

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _take(self, batch: SourceBatch, raw: bytes) -> None:
        head = ev.header(raw)
        kind = head.kind
        if kind == ev.FORMAT:
            self._has_checksum = ev.sums_events(raw)
            self._maps.forget()
            ev.body(raw, has_checksum=True)
            return
        try:
            event = ev.body(raw, has_checksum=self._has_checksum or (kind == ev.ROTATE and _ends_summed(raw)))
            if kind == ev.GTID:
                self._begin(batch, event, head, raw)
                return
            self._other(batch, event, head)
        except Damaged:
            raise Transient(
                f"source {self._name}: event {kind} at {self._file} {head.log_pos} has other bytes than were written",
                fix="`mariadb-binlog --verify-binlog-checksum` tells whether the file itself is damaged",
            ) from None
        if head.log_pos and kind not in (ev.ROTATE, ev.HEARTBEAT):
            self._at = place_in_log(self._file, head.log_pos)

    def _other(  # noqa: C901 -- a line per kind of event
        self, batch: SourceBatch, event: bytes, head: ev.Header
    ) -> None:
        kind = head.kind
        if kind in ev.ROWS:
            self._rows(batch, event, kind)
        elif kind == ev.TABLE_MAP:
            self._maps.announce(event)
        elif kind in (ev.XID, ev.XA_PREPARE):
            self._end()
        elif kind in (ev.QUERY, ev.QUERY_COMPRESSED):
            self._query(batch, event, is_compressed=kind == ev.QUERY_COMPRESSED)
        elif kind == ev.ROTATE:
            self._file = ev.rotated(event)
            self._at = max(self._at, place_in_log(self._file, 4))
        elif kind == ev.HEARTBEAT:
            if self._started is None:
                self._at = max(self._at, place_in_log(ev.beating(event), head.log_pos))
        elif kind == ev.INCIDENT:
            raise log_lost(self._name, "the server itself has lost changes (an incident event)")
        elif kind in ev.STATEMENT_PARTS:
            pass  # the statement comes behind them, and is judged
        elif kind not in ev.PASSED_OVER:
            raise ContractBroken(
                f"source {self._name}",
                f"the log has an event of kind {kind}, which may be a change and is not known here",
                fix="turn the server's newer feature off (see `mesh check`), then `mesh resync` the source; and report this",
            )

    def _begin(self, batch: SourceBatch, event: bytes, head: ev.Header, raw: bytes) -> None:
        self._end()  # a group that ended otherwise than is known here: the next one says so
        place = place_in_log(self._file, head.log_pos)
        if self.hold is not None and place > self.hold:
            self._held = raw
            return
        if place <= self.place:
            raise log_lost(self._name, "its places go back, so the server's log was begun anew or is another server's")
        self._started = started = ev.started(event, head.server_id)
        self._moment = LogMoment(self._epoch, place, self._file, head.timestamp * 1000, started.gtid)
        batch.committed_at_ms = self._moment.committed_at_ms
        self._touched = set()
        self._at = place

    def _end(self) -> None:
        """The transaction is whole."""
        started, moment = self._started, self._moment
        if started is None or moment is None:
            return
        self._domains[str(started.domain)] = started.gtid
        self._whole = len(self._batch.records)
        self.place = moment.place[1]
        self._started = self._moment = None
        self._maps.ended()

    def _query(self, batch: SourceBatch, event: bytes, *, is_compressed: bool) -> None:
        found = ev.query(event, is_compressed=is_compressed)
        if self._folds_names:
            found = found.folded()
        said = statement(found.statement, found.database)
        moment, started = self._moment, self._started
        if moment is None or started is None:
            return
        if said.is_bound:
            self._bound(said, started, moment.place[1])
            return
        if said.emptied:
            for entry in self._verdicts.emptied(said, moment.place[1]):
                self._changes.emptied(batch, entry, moment)
        elif self._verdicts.heed(said, moment.place[1]):
            self._maps.renew()
        if started.is_standalone:
            self._end()

    def _bound(self, said: LogStatement, started: Started, place: int) -> None:
        """A statement that begins or ends a transaction, or a part of one."""
        if said.verb == "rollback" and self._touched:
            self._leave(self._touched, "a transaction was logged and then taken back", place)
        if started.is_completed and "commit" in said.words:
            self._verdicts.prepared_ended(self._prepared.pop(started.xid, None))
            self._maps.renew()
        if said.words & {"commit", "rollback"} and not (said.verb == "rollback" and "to" in said.words):
            self._end()

    def _rows(self, batch: SourceBatch, event: bytes, kind: int) -> None:
        table, moment = self._maps.table(table_id(event)), self._moment
        if table is None or moment is None:
            return
        place = moment.place[1]
        if place <= table.since:
            return
        if self._started is not None and self._started.is_prepared:
            self._prepared.setdefault(self._started.xid, set()).add(table.entry.feed)
            return  # only its end says whether its rows count
        self._touched.add(table.entry.feed)
        does, is_compressed = ev.ROWS[kind]
        try:
            for first, second, raw in changes(event, table.columns, does, is_compressed=is_compressed):
                self._changes.change(batch, table, does, (first, second, raw), moment)
        except PartialImage:
            why = "somebody's session logged rows without all of their columns (binlog_row_image)"
            self._leave({table.entry.feed}, why, place, "SET GLOBAL binlog_row_image = 'FULL'; then ")

    def _leave(self, feeds: Iterable[str], why: str, place: int, first: str = "") -> None:
        for feed in sorted(feeds):
            self._maps.stop(feed, why, f"{first}`mesh resync {feed}` copies it as it is now", place)


def _ends_summed(raw: bytes) -> bool:
    """The first ROTATE comes before it is said whether events have a checksum."""
    try:
        ev.body(raw, has_checksum=True)
    except Damaged:
        return False
    return True
