"""The source kind `mysql`: one database of an agency, followed through its server's binary log.

The stream begins where the log was when the source was first opened, and each table is copied beside it
(producers/mysql/chunk.py). `producers/mysql/place.py` says what is kept of it in `Progress`. What a server has done since is asked of
it by global transaction ids, so whole transactions are read, and none twice (MY-07); a server that has them no longer stops
the source (MY-08). One feed's trouble is one feed's (invariant 10).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from typing import Any

from producers.mysql.book import LogBook
from producers.mysql.chunk import ChunkCopy, TablePart
from producers.mysql.link.connection import (
    check_alive,
    connect_mysql,
    database_named,
    hold_alone,
    let_go,
    texts,
    variables,
)
from producers.mysql.link.dump import Dump
from producers.mysql.link.fault import log_lost, mysql_translated
from producers.mysql.maps import Maps
from producers.mysql.onboarding.server import server_findings
from producers.mysql.options import MysqlSourceOptions
from producers.mysql.place import GONE
from producers.mysql.stream import LogStream
from producers.mysql.verdict import LogVerdicts
from producers.source import SourceBatch, SourceSetting, StandingBy
from schemas.agreement.directory import FeedEntry
from schemas.errors import Misconfigured

TICK_SECONDS = 5.0
IDLE_SECONDS = 0.2

_logger = logging.getLogger(__name__)


class MysqlSource:
    """See `producers.source.Source`. Raises StandingBy while another process captures the same source."""

    copies_returning_feeds = True

    def __init__(self, setting: SourceSetting) -> None:
        self._setting = setting
        self._options = setting.options(MysqlSourceOptions)
        self._name = setting.name
        self._database = database_named(setting.address)
        self._stream: LogStream | None = None
        self._ticked_at = 0.0
        self._resyncs: Mapping[str, str] | None = None
        self._given: Mapping[str, FeedEntry] | None = None
        self._by_table: Mapping[str, FeedEntry] = {}
        self._statements = connect_mysql(setting.address, name=self._name)
        self._reading = None
        try:
            self._reading = connect_mysql(setting.address, name=self._name)
            self._prepare()
        except BaseException:
            self._hang_up()
            raise

    def _prepare(self) -> None:
        with mysql_translated(self._name):
            if not hold_alone(self._statements, self._name):
                raise StandingBy(f"source {self._name} is captured by another process", retry_after_seconds=5.0)
            replica_id = self._options.replica_id(self._name)
            for finding in server_findings(self._statements, self._name, replica_id):
                if finding.severity == "error":
                    raise Misconfigured(f"source {self._name}, {finding.subject}", finding.message, fix=finding.fix)
            server = variables(self._statements, "server_id", "log_bin_basename", "lower_case_table_names")
        self._server = f"{server['server_id']} {server['log_bin_basename']}"
        self._folds_names = server["lower_case_table_names"] != "0"
        self._replica_id = replica_id
        self._book = LogBook(self._setting)
        assert self._reading is not None, "opened before"
        self._copy = ChunkCopy(self._setting, self._reading, self._database, self._book, self._options.copy_rows)
        self._verdicts = LogVerdicts(
            self._book, self._statements, self._database, self._options.on_table_change, lambda: self._by_table
        )

    # ── the run ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def batches(self) -> Iterator[SourceBatch]:
        """See Source: the stream, and beside it the parts of tables that are not wholly copied."""
        self._heed()
        book = self._book
        if book.place.phase != "ready":
            with mysql_translated(self._name):
                [row] = texts(self._statements, "SELECT @@global.gtid_binlog_pos")
            book.place = book.place.begun(self._server, row[0])
            book.save()
        elif book.place.server != self._server:
            raise log_lost(self._name, "another server answers, or its log has another name")
        place = book.place
        dump = Dump(self._setting.address, name=self._name, replica_id=self._replica_id, gtids=place.gtids)
        maps = Maps(book, lambda: self._by_table, lambda: stream.reading)
        self._stream = stream = LogStream(
            dump,
            maps,
            self._verdicts,
            name=self._name,
            epoch=place.epoch,
            gtids=place.gtids,
            place=place.place,
            folds_names=self._folds_names,
            pause_seconds=self._setting.pause_seconds,
        )
        _logger.info("%s: reads the log behind %s", self._name, place.gtids or "its beginning")
        chunk: TablePart | None = None
        while not self._heed():
            self._carry(maps)
            if chunk is None and (entry := self._copy.wanted(list(self._by_table.values()))) is not None:
                chunk = self._copy.read(entry)
                stream.hold = None if chunk is None else chunk.place
                maps.renew()
            yield stream.read(IDLE_SECONDS)
            if chunk is not None and stream.is_held:
                yield self._copy.written(chunk, place.epoch)
                chunk, stream.hold = None, None
            self._tick()

    def _heed(self) -> bool:
        """Take up what people asked to be copied anew. Whether that is the whole source, which must be opened anew for it."""
        resyncs = self._setting.resyncs()
        if resyncs is self._resyncs:
            return False
        self._resyncs = resyncs
        return self._book.heed(self._setting.feeds())

    def _carry(self, maps: Maps) -> None:
        """Take up feeds that were added or changed; one whose contract names further columns is copied anew."""
        feeds = self._setting.feeds()
        if feeds is self._given:
            return
        self._given = feeds
        self._book.keep_only(feeds)
        self._by_table = by_table = dict[str, FeedEntry]()
        for feed, entry in feeds.items():
            other = by_table.setdefault(entry.contract.table, entry)
            if other is not entry:
                reason = f"table {entry.contract.table} is captured as {other.feed} already"
                fix = f"end one of the two: `mesh offboard feed {feed} --yes`, then `mesh resync {other.feed}`"
                self._book.stop(feed, reason, fix, self._book.place.place)
        for feed, entry in feeds.items():
            held = self._book.table(feed)
            wanted = {field.column for field in entry.contract.fields}
            if held.state != GONE and held.shape and not wanted <= held.shape.keys():
                self._book.copy_anew(feed, "its contract names further columns")
        maps.renew()

    # ── confirming ───────────────────────────────────────────────────────────────────────────────────────────────────

    def confirm(self, mark: Any) -> None:
        """See Source."""
        self._book.confirm(mark)

    def _tick(self) -> None:
        self._book.save_if_due()
        now = time.monotonic()
        if now - self._ticked_at >= TICK_SECONDS:
            self._ticked_at = now
            check_alive(self._statements, self._name)

    def close(self) -> None:
        """See Source."""
        self._book.close()
        self._hang_up()

    def _hang_up(self) -> None:
        if self._stream is not None:
            self._stream.close()
        let_go(self._statements)
        for connection in (self._reading, self._statements):
            driver: Any = connection
            if driver is not None:
                driver._force_close()
