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
from functools import partial
from typing import Any

from producers.postgresql.admission import server_faults, widen_identity
from producers.postgresql.book import Book
from producers.postgresql.captured import Difference
from producers.postgresql.link.catalog import SourceTypes
from producers.postgresql.link.link import command, connect, connect_replication, database_of, translated
from producers.postgresql.lookout import Lookout
from producers.postgresql.options import PostgresSourceOptions
from producers.postgresql.slot import LogGuard, Slot, by_table
from producers.postgresql.snapshot.beginning import begin
from producers.postgresql.snapshot.copying import Copying
from producers.postgresql.snapshot.mark import EMPTIED
from producers.postgresql.snapshot.origin import Origin
from producers.postgresql.snapshot.plan import CopyPlan
from producers.postgresql.stream import pgoutput
from producers.postgresql.stream.relation import Relations
from producers.postgresql.stream.stream import Stream
from producers.postgresql.stream.walsender import Walsender
from producers.postgresql.value.encoding import codec_of
from producers.postgresql.verdict import Verdicts
from producers.source import SourceBatch, SourceSetting, StandingBy
from schemas.agreement.directory import FeedEntry
from schemas.errors import ContractBroken

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
        widen = partial(widen_identity, source=self._name) if self._options.manage_identity else None
        self._plan = CopyPlan(self._setting, self._book, self._slot, self._types, widen)
        self._copying = Copying(self._setting, self._options, self._book, self._slot, self._plan, self._origin)
        self._relations = Relations(self._name, self._database, self._types, self._stopped, codec=self._codec)
        self._carry()

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
        self._heed()
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
                yield from begin(
                    link,
                    identity,
                    self._feeds,
                    book=self._book,
                    slot=self._slot,
                    plan=self._plan,
                    copying=self._copying,
                    origin=self._origin,
                    incidents=self._setting.incidents,
                )
        finally:
            link.finish()
        yield from self._follow()

    def _follow(self) -> Iterator[SourceBatch]:
        """The stream, and beside it the copy of tables that were added."""
        link = connect_replication(self._setting.address, name=self._name, is_raw=bool(self._codec))
        book, copying = self._book, self._copying
        walsender = Walsender(link, self._name, confirmed=lambda: book.stored)
        self._stream = stream = Stream(
            walsender,
            self._relations,
            name=self._name,
            epoch=book.place.epoch,
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
        walsender.start(self._slot.name, self._slot.name, book.durable)
        _logger.info("%s: streaming from %s", self._name, pgoutput.lsn_text(book.durable))
        adding: Iterator[SourceBatch] | None = None
        while not self._heed():
            wait_seconds = IDLE_SECONDS
            if adding is None and (news := self._news()):
                adding = copying.add(news, stream)
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

    def _heed(self) -> bool:
        """Take up what people asked to be copied anew. Whether that is the whole source, which must be opened anew for it."""
        resyncs = self._setting.resyncs()
        if resyncs is self._resyncs:
            return False
        self._resyncs = resyncs
        return self._book.heed(resyncs, self._setting.feeds())

    def _news(self) -> Mapping[str, FeedEntry]:
        """Feeds whose table is not wholly copied yet: added, to be copied anew, or left unfinished by a stop."""
        feeds = self._setting.feeds()
        if feeds is not self._feeds:
            self._feeds = feeds
            for feed in self._book.keep_only(feeds):
                if (captured := self._book.table(feed).captured) is not None:
                    self._slot.let_go(captured.name)
        return self._plan.news(feeds)

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
