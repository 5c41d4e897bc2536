"""Copying: the first copy of a source's tables, and that of tables beside the running stream.

A table that is copied beside the stream loses nothing and never shows an older row after a newer change: the stream first
passes the snapshot's position, and rows whose key it brought since are left out (PG-16, PG-18). Where subscribers have rows
of a former copy, they are first told that those are gone: a truncate at a place in the log, then the changes that were committed
from that place on, and the rows of a snapshot that is later than it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterator, Mapping

from producers.postgresql.book import Book
from producers.postgresql.link.catalog import CatalogTable
from producers.postgresql.link.link import connect, connect_replication
from producers.postgresql.options import PostgresSourceOptions
from producers.postgresql.place import COPYING, TablePlace
from producers.postgresql.slot import Slot, by_table
from producers.postgresql.snapshot.copy import ParallelCopy, processes_most
from producers.postgresql.snapshot.mark import Emptied, RangeDone
from producers.postgresql.snapshot.origin import Origin
from producers.postgresql.snapshot.overtaken import Overtaken
from producers.postgresql.snapshot.plan import CopyPlan
from producers.postgresql.snapshot.snapshot import Reading, create_slot
from producers.postgresql.snapshot.table_copy import TableCopy, ranges
from producers.postgresql.stream.stream import Stream
from producers.source import SourceBatch, SourceSetting
from schemas.agreement.directory import FeedEntry

_logger = logging.getLogger(__name__)


class Copying:
    """The copies of one source; used by its own thread. `origin` is that of rows that are read now."""

    def __init__(
        self,
        setting: SourceSetting,
        options: PostgresSourceOptions,
        book: Book,
        slot: Slot,
        plan: CopyPlan,
        origin: Callable[[], Origin],
    ) -> None:
        self._setting = setting
        self._name = setting.name
        self._book = book
        self._slot = slot
        self._plan = plan
        self._origin = origin
        self._processes_most = processes_most(options)
        self._text_encoding = options.text_encoding
        self._reading: Reading | None = None
        self._parallel: ParallelCopy | None = None
        self._emptied: set[tuple[str, int]] = set()
        self.overtaken: Overtaken | None = None

    def is_carried(self, feed: str) -> bool:
        """Whether the stream's changes of the feed are wanted: not before subscribers are told that a former copy is gone."""
        place = self._book.table(feed)
        return not self._book.is_stopped(feed) and (place.is_emptied or (feed, place.copy) in self._emptied)

    # ── beside the stream ────────────────────────────────────────────────────────────────────────────────────────────

    def add(self, news: Mapping[str, FeedEntry], stream: Stream) -> Iterator[SourceBatch]:
        """Copy tables while the stream goes on."""
        try:
            feeds = yield from self._plan.admitted(news, stream.position)
            if not feeds:
                return
            seen, present = self._plan.seen(feeds)  # from here to the truncates nothing is read from the stream
            feeds = self._plan.planned(feeds, seen, present)
            self._book.save(self._book.place)
            if anew := [entry for feed, entry in feeds.items() if not self._book.table(feed).is_emptied]:
                marks = [Emptied(feed=entry.feed, copy=self._book.table(entry.feed).copy) for entry in anew]
                self._emptied.update((mark.feed, mark.copy) for mark in marks)
                yield self._origin().emptied(anew, marks, at=seen.at)
            self.overtaken = Overtaken(feeds.values())
            reading = yield from self._opened()
            held = self.hold(feeds)
            self.overtaken.forget(reading.position)
            while stream.position < reading.position:
                stream.ask()
                yield SourceBatch()
            yield from self.copy(held, {name: present[name] for name in by_table(held)})
        finally:
            self.overtaken = None
            self.close()

    def _opened(self) -> Generator[SourceBatch, None, Reading]:
        link = connect_replication(self._setting.address, name=self._name)
        try:
            slot = f"{self._slot.name}_copy_{link.backend_pid}"
            for ready in create_slot(
                link,
                slot,
                is_temporary=True,
                statements=self._slot.statements,
                name=self._name,
                incidents=self._setting.incidents,
            ):
                if ready is None:
                    yield SourceBatch()
                else:
                    self.open(ready[1], ready[0])
        finally:
            link.finish()  # PG-24: the temporary slot goes with it; the imported snapshot stays
        assert self._reading is not None, "the slot's snapshot was imported"
        return self._reading

    # ── copying ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def open(self, exported: str, position: int) -> None:
        """Import a slot's snapshot."""
        connection = connect(self._setting.address, name=self._name, text_encoding=self._text_encoding)
        self._reading = Reading(connection, exported, position, self._name)

    def hold(self, feeds: Mapping[str, FeedEntry]) -> dict[str, FeedEntry]:
        """Keep the tables from being rewritten; the feeds whose table nobody has locked."""
        assert self._reading is not None, "opened by the caller"
        locked = set(self._reading.hold(by_table(feeds)))
        for feed, entry in feeds.items():
            if entry.contract.table in locked:
                self._plan.wait(feed, f"waits for a lock on {entry.contract.table}")
        return {feed: entry for feed, entry in feeds.items() if entry.contract.table not in locked}

    def first(self, feeds: Mapping[str, FeedEntry], present: Mapping[str, CatalogTable]) -> Iterator[SourceBatch]:
        """Copy tables before the stream begins: nothing overtakes their rows, so that several processes may share the work."""
        assert self._reading is not None, "opened by the caller"
        self._parallel = ParallelCopy.begun(
            self._setting, self._origin(), self._reading, present, by_table(feeds), self._processes_most
        )
        if self._parallel is None:
            yield from self.copy(feeds, present)
            return
        ledger = self._setting.ledger
        for feed in feeds:
            ledger.share(feed)
        while not self._book.place.is_emptied:  # no row may overtake the truncates, and the processes' take another way
            yield SourceBatch()
            time.sleep(0.02)
        yield from self._parallel.batches(self._book.place.tables)
        for feed, entry in feeds.items():
            ledger.unshare(feed, entry.partitions)
        self._book.read.update(feeds)
        for feed in feeds:
            self._book.arrived(feed)
        self.close()

    def copy(self, feeds: Mapping[str, FeedEntry], present: Mapping[str, CatalogTable]) -> Iterator[SourceBatch]:
        """Copy tables one after the other; one that is stopped, or is to be copied anew, meanwhile is left."""
        entries = by_table(feeds)
        # Small tables first: most feeds are whole within seconds, and none waits for a giant that comes before it by name.
        for name, table in sorted(present.items(), key=lambda item: item[1].blocks):
            if not (yield from self._table(entries[name], table)):
                break
        self.close()

    def _table(self, entry: FeedEntry, table: CatalogTable) -> Generator[SourceBatch, None, bool]:
        """False where all that is left is to be copied out of a later snapshot, from where this one has come to."""
        assert self._reading is not None, "opened by the caller"
        feed, place = entry.feed, self._book.table(entry.feed)
        done, next_block = place.rows, place.next_block or 0
        if not self._is_wanted(feed, place):
            return True
        _logger.info("%s: copies %s from block %d", self._name, table.name, next_block)
        copy = TableCopy(self._reading, entry, table, self._origin())
        for start, end in ranges(table, next_block):
            rows = 0
            for batch in copy.rows(start, end):
                rows += len(batch.records)
                done += len(batch.records)
                if self.overtaken:
                    self.overtaken.leave_out(batch, feed)
                yield batch
                self._setting.observer.snapshot(feed=feed, done_rows=done, total_rows=max(table.rows, done))
            if not self._is_wanted(feed, place):
                return True
            yield SourceBatch(marks=[(0, RangeDone(feed=feed, copy=place.copy, next_block=end, rows=rows))])
            # A table whose old rows are not logged whole would begin from its first block each time, so it goes on (PG-16).
            if end is not None and table.is_whole_row and self.overtaken and self.overtaken.is_full:
                _logger.info("%s: goes on with %s from block %d, out of a later snapshot", self._name, table.name, end)
                return False
        self._book.read.add(feed)
        self._book.arrived(feed)
        if self.overtaken:
            self.overtaken.done(feed)
        return True

    def _is_wanted(self, feed: str, place: TablePlace) -> bool:
        present = self._book.table(feed)
        return present.state == COPYING and present.copy == place.copy

    def close(self) -> None:
        """End what is open."""
        if self._parallel is not None:
            self._parallel.close()
            self._parallel = None
        if self._reading is not None:
            self._reading.close()
            self._reading = None
