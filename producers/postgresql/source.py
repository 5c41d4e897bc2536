"""The source kind `postgres`: one database of an agency, followed through one slot and one publication.

Order matters and is fixed (PG-13): publication, slot, snapshot, stream. `producers/postgresql/place.py` says what is
kept of it in `Progress`. One feed's trouble is one feed's (invariant 10): a table that is not what its feed was made from stops
that feed, or is copied anew, while the others flow (producers/postgresql/verdict.py).

A feed that appears, or gets a column, while the source runs is copied while the stream goes on (PG-14).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import psycopg
from psycopg import sql
from psycopg.pq.abc import PGconn

from producers.postgresql.admission import server_faults
from producers.postgresql.book import Book
from producers.postgresql.captured import Difference
from producers.postgresql.identity import whole_row_fix
from producers.postgresql.link.catalog import SourceTypes, tables
from producers.postgresql.link.link import Locked, command, connect, connect_replication, database_of, translated
from producers.postgresql.lookout import Lookout
from producers.postgresql.options import PostgresSourceOptions
from producers.postgresql.slot import LogGuard, Slot, by_table
from producers.postgresql.snapshot.copying import Copying
from producers.postgresql.snapshot.snapshot import EMPTIED, Origin, create_slot
from producers.postgresql.stream import pgoutput
from producers.postgresql.stream.relation import Relations
from producers.postgresql.stream.stream import Stream
from producers.postgresql.value.encoding import codec_of
from producers.postgresql.verdict import Verdicts
from producers.source import SourceBatch, SourceSetting, StandingBy
from schemas.agreement.directory import FeedEntry
from schemas.errors import ContractBroken, Misconfigured

TICK_SECONDS = 5.0
IDLE_SECONDS = 0.2

_logger = logging.getLogger(__name__)


class PostgresSource:
    """See `producers.source.Source`. Raises StandingBy while another process captures the same source."""

    copies_returning_feeds = True

    def __init__(self, setting: SourceSetting) -> None:
        self._setting = setting
        self._options = setting.options(PostgresSourceOptions)
        self._name = setting.name
        self._database = database_of(setting.address)
        self._ticked_at = 0.0
        self._stream: Stream | None = None
        self._verdicts: Verdicts | None = None
        self._lookout: Lookout | None = None
        self._carried: object = None
        self._resyncs: Mapping[str, str] = {}
        self._guard = LogGuard(self._name, self._options.retained_warning_bytes)
        self._connect = partial(connect, setting.address, name=self._name, text_encoding=self._options.text_encoding)
        self._statements = self._connect()
        server_encoding = self._statements.info.parameter_status("server_encoding") or ""
        self._codec = codec_of(server_encoding, self._options.text_encoding, f"source {self._name}")
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
        self._types = SourceTypes(self._statements)
        server_faults(self._statements, self._types, self._name)
        self._feeds = self._setting.feeds()
        self._book = Book(self._setting)
        self._book.keep_only(self._feeds)
        widen = self._widen_identity if self._options.manage_identity else None
        self._copying = Copying(self._setting, self._options, self._book, self._slot, self._types, widen)
        self._relations = Relations(self._name, self._database, self._types, self._stopped, codec=self._codec)
        self._carry()

    def _widen_identity(self, connection: psycopg.Connection[Any], types: SourceTypes, feed: FeedEntry) -> None:
        for table in tables(connection, types, [feed.contract.table]).values():
            if table.is_owner and (widened := whole_row_fix(table)):
                _logger.info("%s: %s", self._name, widened)
                connection.execute(sql.SQL(widened))  # pyright: ignore[reportArgumentType]

    def _carry(self) -> None:
        """Let the stream have what is wanted of it now."""
        place = self._book.place
        if (place.tables, self._feeds) == self._carried:
            return
        self._carried = place.tables, self._feeds
        carried = {feed: entry for feed, entry in self._feeds.items() if self._copying.is_carried(feed)}
        known = {feed: table for feed, table in place.tables.items() if feed in carried}
        self._relations.carry(
            by_table(carried),
            {feed: table.since for feed, table in known.items()},
            {feed: table.captured.oid for feed, table in known.items() if table.captured},
        )

    def _stopped(self, feed: str, why: ContractBroken | Difference) -> None:
        assert self._verdicts is not None, "called while streaming"
        self._verdicts.stopped(feed, why)

    # ── the run ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def batches(self) -> Iterator[SourceBatch]:
        """See Source: first what is left to copy, then the stream, with later tables copied beside it."""
        self._heed(is_running=False)
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
            if self._book.place.phase == "ready":
                self._slot.compare(self._book.place, identity, self._feeds)
                if not self._book.place.is_emptied:
                    yield self._origin().emptied(self._feeds.values(), [EMPTIED])
            else:
                yield from self._begin(link, identity)
        finally:
            link.finish()
        yield from self._follow()

    def _begin(self, link: PGconn, identity: Mapping[str, Any]) -> Iterator[SourceBatch]:
        """First start, or a new one after a gap: publication, slot, snapshot of every table."""
        former = self._book.place.phase
        slot = self._slot.row()
        if former == "new" and slot is not None:
            raise Misconfigured(
                f"source {self._name}",
                f"a slot named {self._slot.name} exists, but nothing is recorded of it",
                fix=f"if no other mesh uses it: SELECT pg_drop_replication_slot('{self._slot.name}');",
            )
        is_resync = former == "resync"
        place = replace(self._book.place, phase="resync" if is_resync else "creating")
        fresh = {feed: replace(self._book.table(feed).fresh(), since=0, is_emptied=True) for feed in self._feeds}
        self._book.save(replace(place, tables={**place.tables, **fresh}))
        if slot is not None:
            self._slot.drop()
        feeds = yield from self._copying.admitted(self._feeds, 0)
        seen, present = self._copying.seen(feeds)
        for ready in create_slot(
            link, self._slot.name, is_temporary=False, statements=self._statements, name=self._name
        ):
            if ready is None:
                yield SourceBatch()
                time.sleep(0.1)
                continue
            position, exported = ready
            self._book.durable = self._book.stored = position
            self._copying.open(exported, position)
            held = self._copying.hold(self._copying.planned(feeds, seen, present))
            self._book.save(
                replace(
                    self._book.place,
                    phase="ready",
                    epoch=place.epoch + is_resync,
                    identity=identity,
                    is_emptied=not is_resync,
                )
            )
            if is_resync:
                yield self._origin().emptied(self._feeds.values(), [EMPTIED])
            yield from self._copying.first(held, {name: present[name] for name in by_table(held)}, self._origin())

    def _follow(self) -> Iterator[SourceBatch]:
        """The stream, and beside it the copy of tables that were added."""
        link = connect_replication(self._setting.address, name=self._name, is_raw=bool(self._codec))
        book, copying = self._book, self._copying
        self._stream = stream = Stream(
            link,
            self._relations,
            name=self._name,
            epoch=book.place.epoch,
            confirmed=lambda: book.stored,
            pause_seconds=self._setting.pause_seconds,
            address=self._setting.address,
        )
        self._lookout = lookout = Lookout(partial(self._connect, role="lookout"), self._name, self._setting.incidents)
        self._verdicts = Verdicts(
            self._setting,
            self._options,
            book,
            self._slot,
            self._types,
            self._relations,
            stream,
            copying.is_carried,
            lookout,
        )
        stream.start(self._slot.name, self._slot.name, book.durable)
        _logger.info("%s: streaming from %s", self._name, pgoutput.lsn_text(book.durable))
        adding: Iterator[SourceBatch] | None = None
        while not self._heed(is_running=True):
            wait_seconds = IDLE_SECONDS
            if adding is None and (news := self._news()):
                adding = copying.add(news, stream, self._origin())
            if adding is not None:
                copied = next(adding, None)
                if copied is None:
                    adding = None
                else:
                    wait_seconds = 0 if copied.records else IDLE_SECONDS / 4
                    yield copied
            self._carry()
            batch = stream.read(wait_seconds)
            if copying.overtaken:
                copying.overtaken.notice(batch, max(stream.position, self._relations.passed + 1))
            yield batch
            self._tick()

    def _heed(self, *, is_running: bool) -> bool:
        """Take up what people asked to be copied anew. Whether that is the whole source, which must be opened anew for it."""
        resyncs = self._setting.resyncs()
        if resyncs is self._resyncs:
            return False
        self._resyncs = resyncs
        news = {
            name: request
            for name in (self._name, *self._setting.feeds())
            if (request := resyncs.get(name)) is not None and self._book.place.asked.get(name) != request
        }
        for name, request in news.items():
            self._book.place = self._book.place.was_asked(name, request)
            if name != self._name and name in self._book.place.tables:
                self._book.copy_anew(name, "somebody asked for it")
        if self._name not in news or self._book.place.phase == "new":
            return False
        _logger.warning("%s: copies all its tables anew: somebody asked for it", self._name)
        self._book.save(replace(self._book.place, phase="resync"))
        return is_running

    def _news(self) -> Mapping[str, FeedEntry]:
        """Feeds whose table is not wholly copied yet: added, to be copied anew, or left unfinished by a stop."""
        feeds = self._setting.feeds()
        if feeds is not self._feeds:
            self._feeds = feeds
            for feed in self._book.keep_only(feeds):
                self._forget(feed)
        return self._copying.news(feeds)

    def _forget(self, feed: str) -> None:
        """Take the table of a feed that has gone out of the publication."""
        captured = self._book.table(feed).captured
        if captured is None or captured.name not in self._slot.published():
            return
        try:
            self._slot.take_out(captured.name)
        except Locked:
            _logger.warning("%s: %s stays in the publication: it is locked by somebody", self._name, captured.name)

    def _origin(self) -> Origin:
        return Origin(
            source=self._name,
            database=self._database,
            epoch=self._book.place.epoch,
            codec=self._codec,
        )

    # ── confirming ───────────────────────────────────────────────────────────────────────────────────────────────────

    def confirm(self, mark: Any) -> None:
        """See Source."""
        self._book.confirm(mark)

    def _tick(self) -> None:
        """Every few seconds: what the tables are now, and what the server keeps for us (stages 0 and 1 of the WAL guard)."""
        self._book.save_if_due()
        if self._verdicts is not None:
            self._verdicts.tick(self._feeds)
        now = time.monotonic()
        if now - self._ticked_at < TICK_SECONDS:
            return
        self._ticked_at = now
        with translated(self._name):
            self._statements.pgconn.consume_input()  # nobody asks it anything for hours: see that it is there, and with it our lock
        slot = self._verdicts.slot_row if self._verdicts else None
        if slot is None or slot["wal_status"] == "lost":
            return  # not seen yet; or the stream ends by itself, and the next start says why
        self._setting.observer.retained(source=self._name, wal_bytes=self._guard.look(slot))

    def close(self) -> None:
        """See Source."""
        self._book.close()
        if self._lookout is not None:
            self._lookout.close()
        if self._stream is not None:
            self._stream.close()
        self._copying.close()
        self._statements.close()
