"""The source kind `postgres`: one database of an agency, followed through one slot and one publication.

Order matters and is fixed (FIELD-NOTES PG-13): publication, slot, snapshot, stream. Its record in `Progress` is ours alone:

    phase       creating | ready | resync    a slot may be dropped and made anew in `creating` and `resync` only
    epoch       raised by every resync       first part of every position
    identity    system, timeline, database, slot, publication: compared at every start (PG-09)
    confirmed   the commit end that is durable downstream; stored before the server hears of it (PG-04)
    tables      per table: live, or copying with the next block and the file it counts in; and the columns that it covers

Options of a source of this kind, all of them optional: see producers/postgres_options.py.

A feed that appears, or gets a column, while the source runs is copied while the stream goes on (PG-14).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from typing import Any

from psycopg.pq.abc import PGconn

from producers import pgoutput
from producers.postgres_catalog import Table, Types, tables
from producers.postgres_copy import ParallelCopy, processes_most
from producers.postgres_identity import whole_row_fix
from producers.postgres_link import command, connect, connect_replication, database_of, translated
from producers.postgres_options import PostgresOptions
from producers.postgres_preflight import findings
from producers.postgres_relation import Relations
from producers.postgres_slot import LogGuard, Slot, by_table
from producers.postgres_snapshot import EMPTIED, Origin, Overtaken, RangeDone, Reading, TableCopy, create_slot, ranges
from producers.postgres_stream import Stream
from producers.source import SourceBatch, SourceSetting, StandingBy
from schemas.directory import FeedEntry
from schemas.errors import MeshError, Misconfigured

SAVE_SECONDS = 1.0
TICK_SECONDS = 5.0
IDLE_SECONDS = 0.2

_logger = logging.getLogger(__name__)


def resync(record: Mapping[str, Any]) -> dict[str, Any]:
    """The progress record that accepts a gap: the next start drops the slot, raises the epoch and copies every table anew."""
    return {**record, "phase": "resync"}


class PostgresSource:
    """See `producers.source.Source`. Raises StandingBy while another process captures the same source (a standby)."""

    def __init__(self, setting: SourceSetting) -> None:
        self._setting = setting
        self._options = setting.options(PostgresOptions)
        self._name = setting.name
        self._database = database_of(setting.address)
        self._durable = self._stored = 0
        self._saved_at = self._ticked_at = 0.0
        self._is_dirty = False
        self._stream: Stream | None = None
        self._reading: Reading | None = None
        self._parallel: ParallelCopy | None = None
        self._processes_most = processes_most(self._options)
        self._overtaken: Overtaken | None = None
        self._copied: set[str] = set()  # read to the end by this process, though not all is acknowledged yet
        self._guard = LogGuard(self._name, self._options.retained_warning_bytes)
        self._statements = connect(setting.address, name=self._name)
        self._slot = Slot(self._statements, self._name)
        try:
            self._prepare()
        except BaseException:
            self._statements.close()
            raise

    # ── opening ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _prepare(self) -> None:
        if not self._slot.acquire():
            raise StandingBy(f"source {self._name} is captured by another process", retry_after_seconds=5.0)
        with translated(self._name):
            self._types = Types(self._statements)
            encoding = self._statements.execute("SELECT getdatabaseencoding()").fetchone()
        self._is_text_checked = encoding is None or encoding[0] != "UTF8"
        self._feeds = self._setting.feeds()
        self._preflight(self._feeds)
        self._relations = Relations(self._name, self._database, self._types, is_text_checked=self._is_text_checked)
        self._relations.carry(by_table(self._feeds))
        self._record = self._setting.progress.load(self._name) or {"phase": "new", "epoch": 1, "tables": {}}

    def _preflight(self, feeds: Mapping[str, FeedEntry]) -> None:
        with translated(self._name):
            if self._options.manage_identity:
                self._widen_identity(feeds)
            found = findings(self._statements, self._types, [entry.contract for entry in feeds.values()])
        errors = [finding for finding in found if finding.severity == "error"]
        if errors:
            raise Misconfigured(
                f"source {self._name}",
                "; ".join(f"{finding.subject}: {finding.message}" for finding in errors),
                fix="\n       ".join(dict.fromkeys(finding.fix for finding in errors)),
            )

    def _widen_identity(self, feeds: Mapping[str, FeedEntry]) -> None:
        for table in self._tables(feeds).values():
            if table.is_owner and (widened := whole_row_fix(table)):
                _logger.info("%s: %s", self._name, widened)
                self._statements.execute(widened.encode())

    def _tables(self, feeds: Mapping[str, FeedEntry]) -> Mapping[str, Table]:
        return tables(self._statements, self._types, [entry.contract.table for entry in feeds.values()])

    # ── the run ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def batches(self) -> Iterator[SourceBatch]:
        """See Source: first what is left to copy, then the stream, with later tables copied beside it."""
        link = connect_replication(self._setting.address, name=self._name)
        try:
            system = command(link, "IDENTIFY_SYSTEM", self._name)[0]
            identity = {
                "system": system["systemid"],
                "timeline": system["timeline"],
                "database": self._database,
                "slot": self._slot.name,
                "publication": self._slot.name,
            }
            if self._record["phase"] == "ready":
                self._slot.compare(self._record, identity, self._feeds)
                self._durable = self._stored = pgoutput.lsn_number(self._record["confirmed"])
                if not self._record["is_emptied"]:
                    yield self._origin().emptied(by_table(self._feeds))
            else:
                yield from self._begin(link, identity)
        finally:
            link.finish()
        yield from self._follow()

    def _begin(self, link: PGconn, identity: Mapping[str, Any]) -> Iterator[SourceBatch]:
        """First start, or a new one after a gap: publication, slot, snapshot of every table."""
        former = self._record["phase"]
        slot = self._slot.row()
        if former == "new" and slot is not None:
            raise Misconfigured(
                f"source {self._name}",
                f"a slot named {self._slot.name} exists, but nothing is recorded of it",
                fix=f"if no other mesh uses it: SELECT pg_drop_replication_slot('{self._slot.name}');",
            )
        epoch = self._record["epoch"] + (1 if former == "resync" else 0)
        creating = "resync" if former == "resync" else "creating"
        self._save({**self._record, "phase": creating})
        if slot is not None:
            self._slot.drop()
        self._slot.publish(self._feeds)
        for ready in create_slot(
            link, self._slot.name, is_temporary=False, statements=self._statements, name=self._name
        ):
            if ready is None:
                yield SourceBatch()
                time.sleep(0.1)
                continue
            position, exported = ready
            self._durable = self._stored = position
            present = self._tables(self._feeds)
            entries = by_table(self._feeds)
            copying = {name: _copying(table, entries[name]) for name, table in present.items()}
            self._reading = self._open_reading(exported, position, present)
            self._save(
                {
                    "phase": "ready",
                    "epoch": epoch,
                    "identity": dict(identity),
                    "confirmed": pgoutput.lsn_text(position),
                    "tables": copying,
                    "is_emptied": former != "resync",
                }
            )
            if former == "resync":
                yield self._origin().emptied(by_table(self._feeds))
            yield from self._copy_first(present)

    def _follow(self) -> Iterator[SourceBatch]:
        """The stream, and beside it the copy of tables that were added."""
        link = connect_replication(self._setting.address, name=self._name)
        self._stream = Stream(
            link,
            self._relations,
            name=self._name,
            epoch=self._record["epoch"],
            confirmed=lambda: self._stored,
            pause_seconds=self._setting.pause_seconds,
            address=self._setting.address,
        )
        self._stream.start(self._slot.name, self._slot.name, self._durable)
        _logger.info("%s: streaming from %s", self._name, pgoutput.lsn_text(self._durable))
        adding: Iterator[SourceBatch] | None = None
        while True:
            wait_seconds = IDLE_SECONDS
            if adding is None and (news := self._news()):
                adding = self._add(news)
            if adding is not None:
                copied = next(adding, None)
                if copied is None:
                    adding = None
                else:
                    wait_seconds = 0 if copied.records else IDLE_SECONDS / 4
                    yield copied
            batch = self._stream.read(wait_seconds)
            if self._overtaken:
                self._overtaken.notice(batch)
            yield batch
            self._tick()

    def _news(self) -> Mapping[str, FeedEntry]:
        """Feeds whose table is not wholly copied yet: added, or left unfinished by a stop."""
        feeds = self._setting.feeds()
        if feeds is not self._feeds:
            self._relations.carry(by_table(feeds))
            self._feeds = feeds
        return {name: entry for name, entry in feeds.items() if not self._is_copied(entry)}

    def _is_copied(self, feed: FeedEntry) -> bool:
        state = self._record["tables"].get(feed.contract.table)
        if state is not None and state["state"] == "live":
            return _columns(feed) <= set(state["columns"])
        return feed.contract.table in self._copied

    # ── copying ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _add(self, news: Mapping[str, FeedEntry]) -> Iterator[SourceBatch]:
        """Copy tables while the stream goes on, in an order that never lets an older row follow a newer change.

        The stream first passes the snapshot's position; rows whose key it brought since are then left out (PG-16, PG-18).
        """
        stream = self._stream
        assert stream is not None, "called while streaming"
        self._preflight(news)
        self._overtaken = Overtaken(news.values())
        self._slot.publish(news)
        wanted = self._unfinished(news)
        self._save(self._record)
        link = connect_replication(self._setting.address, name=self._name)
        try:
            slot = f"{self._slot.name}_copy_{link.backend_pid}"
            for ready in create_slot(link, slot, is_temporary=True, statements=self._statements, name=self._name):
                if ready is None:
                    yield SourceBatch()
                else:
                    self._reading = self._open_reading(ready[1], ready[0], wanted)
        finally:
            link.finish()  # PG-24: the temporary slot goes with it; the imported snapshot stays
        assert self._reading is not None, "the slot's snapshot was imported"
        while stream.position < self._reading.position:
            stream.ask()
            yield SourceBatch()
        yield from self._copy(wanted)
        self._overtaken = None

    def _unfinished(self, feeds: Mapping[str, FeedEntry]) -> Mapping[str, Table]:
        """The feeds' tables; one starts over if its file was rewritten, its old rows are not logged whole (PG-16), or it grew."""
        record, entries = self._record["tables"], by_table(feeds)
        with translated(self._name):
            present = self._tables(feeds)
        for name, table in present.items():
            state, entry = record.get(name), entries[name]
            is_same = (
                state is not None and state["filenode"] == table.filenode and _columns(entry) <= set(state["columns"])
            )
            if not (is_same and table.is_whole_row):
                record[name] = _copying(table, entry)
                self._copied.discard(name)
        return present

    def _open_reading(self, exported: str, position: int, wanted: Mapping[str, Table]) -> Reading:
        reading = Reading(connect(self._setting.address, name=self._name), exported, position, self._name)
        reading.hold(list(wanted))
        return reading

    def _origin(self) -> Origin:
        return Origin(
            source=self._name,
            database=self._database,
            epoch=self._record["epoch"],
            is_text_checked=self._is_text_checked,
        )

    def _copy_first(self, wanted: Mapping[str, Table]) -> Iterator[SourceBatch]:
        """Copy tables before the stream begins: nothing overtakes their rows, so that several processes may share the work."""
        assert self._reading is not None, "opened by the caller"
        self._parallel = ParallelCopy.begun(
            self._setting, self._origin(), self._reading, wanted, by_table(self._feeds), self._processes_most
        )
        if self._parallel is None:
            yield from self._copy(wanted)
            return
        while not self._record["is_emptied"]:  # no row may overtake the truncates, and the processes' take another way
            yield SourceBatch()
            time.sleep(0.02)
        yield from self._parallel.batches(self._record["tables"])
        self._copied.update(wanted)
        self._end_reading()

    def _copy(self, wanted: Mapping[str, Table]) -> Iterator[SourceBatch]:
        assert self._reading is not None, "opened by the caller"
        entries = by_table(self._feeds)
        # Small tables first: most feeds are whole within seconds, and none waits for a giant that comes before it by name.
        for name, table in sorted(wanted.items(), key=lambda item: item[1].blocks):
            entry, state = entries[name], self._record["tables"][name]
            done = state["rows"]
            _logger.info("%s: copies %s from block %d", self._name, name, state["next_block"])
            copy = TableCopy(self._reading, entry, table, self._origin())
            for start, end in ranges(table, state["next_block"]):
                rows = 0
                for batch in copy.rows(start, end):
                    rows += len(batch.records)
                    done += len(batch.records)
                    if self._overtaken:
                        self._overtaken.leave_out(batch, entry.feed)
                    yield batch
                    self._setting.observer.snapshot(feed=entry.feed, done_rows=done, total_rows=max(table.rows, done))
                mark = RangeDone(table=name, filenode=table.filenode, next_block=end, rows=rows)
                yield SourceBatch(marks=[(0, mark)])
            self._copied.add(name)
        self._end_reading()

    def _end_reading(self) -> None:
        if self._parallel is not None:
            self._parallel.close()
            self._parallel = None
        if self._reading is not None:
            self._reading.close()
            self._reading = None

    # ── confirming ───────────────────────────────────────────────────────────────────────────────────────────────────

    def confirm(self, mark: Any) -> None:
        """See Source. A mark is a commit end, or a copied range."""
        if isinstance(mark, RangeDone):
            entry = self._record["tables"][mark.table]
            is_whole = mark.next_block is None
            entry["rows"] += mark.rows
            entry["next_block"] = mark.next_block
            entry["state"] = "live" if is_whole else "copying"
            self._is_dirty = True
        elif mark is EMPTIED:
            self._record["is_emptied"] = True
            self._is_dirty = True
        elif mark > self._durable:
            self._durable = mark
            self._is_dirty = True
        self._save_if_due()

    def _save_if_due(self) -> None:
        if self._is_dirty and time.monotonic() - self._saved_at > SAVE_SECONDS:
            self._save(self._record)

    def _save(self, record: dict[str, Any]) -> None:
        """Store our place first, only then may the server hear of it (PG-04)."""
        durable = self._durable
        self._record = {**record, "confirmed": pgoutput.lsn_text(durable)}
        self._setting.progress.save(self._name, self._record)
        self._stored = durable
        self._saved_at = time.monotonic()
        self._is_dirty = False

    def _tick(self) -> None:
        """Every few seconds: what the server keeps for us (stages 0 and 1 of the WAL guard)."""
        now = time.monotonic()
        self._save_if_due()
        if now - self._ticked_at < TICK_SECONDS:
            return
        self._ticked_at = now
        slot = self._slot.row()
        if slot is None or slot["wal_status"] == "lost":
            return  # the stream ends by itself, and the next start says why
        self._setting.observer.retained(source=self._name, wal_bytes=self._guard.look(slot))

    def close(self) -> None:
        """See Source."""
        try:
            if self._is_dirty:
                self._save(self._record)
        except MeshError as error:
            _logger.warning("%s: the last place was not stored; a little comes again: %s", self._name, error)
        if self._stream is not None:
            self._stream.close()
        self._end_reading()
        self._statements.close()


def _columns(feed: FeedEntry) -> set[str]:
    return {field.column for field in feed.contract.fields}


def _copying(table: Table, feed: FeedEntry) -> dict[str, Any]:
    columns = sorted(_columns(feed))
    return {"state": "copying", "filenode": table.filenode, "next_block": 0, "rows": 0, "columns": columns}
