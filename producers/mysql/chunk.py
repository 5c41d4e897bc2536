"""Copying a table beside the stream, key by key.

A part of the table is read in a transaction of its own, whose snapshot stands at a known place of the log: the server says it
(`binlog_snapshot_file`), and nothing is locked (MY-15). The stream then reads up to exactly that place, the part is written between
two transactions, and the next one begins. So every key's records are in the order of the log, no snapshot lasts, memory is that of
a part, and after a crash the copy goes on behind the last durable key. One way serves the first copy, a table that is added, and one
that is copied anew.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pymysql

from producers.mysql.admission import fault_of, key_columns
from producers.mysql.book import ChunkMark, LogBook
from producers.mysql.link.catalog import mysql_tables
from producers.mysql.link.connection import Raw, asked, spelled_name, texts
from producers.mysql.link.fault import mysql_translated, number_in
from producers.mysql.place import COPYING, place_in_log
from producers.mysql.value.envelope import LogMoment, TableEnvelope
from producers.mysql.value.row import PairedField, RowCoder, Unpaired, paired, select_list, shape_of
from producers.rejected import rejected
from producers.source import TRUNCATE_KEY, SourceBatch, SourceSetting
from schemas.agreement.directory import FeedEntry
from schemas.errors import Rejected

BUSY_SECONDS = 10.0
_LOCKED = frozenset({1205, 1213, 3572})
_UNREADABLE = frozenset({1146, 1142, 1143, 1049, 1044, 1932})
_UNQUOTED = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "year", "bit"})
_QUOTED = frozenset({"date", "datetime", "timestamp", "time", "uuid", "inet6", "inet4"})
_ORDERS = {"enum": "CAST({} AS BINARY)", "set": "CAST({} AS BINARY)", "bit": "{}+0"}
"""By what a key column of a type is ordered where its own order is not that of its values' text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TablePart:
    """A part of a table, as it was at a place of the log."""

    entry: FeedEntry
    copy: int
    file: str
    place: int
    pairs: Sequence[PairedField]
    rows: Sequence[Raw]
    cursor: tuple[str, ...]
    is_first: bool
    is_whole: bool


class ChunkCopy:
    """Reads parts and writes them out. Used by the source's own thread; `rows_at_once` is how many are read at a time."""

    def __init__(
        self,
        setting: SourceSetting,
        connection: pymysql.Connection[Any],
        database: str,
        book: LogBook,
        rows_at_once: int,
    ) -> None:
        self._setting = setting
        self._name = setting.name
        self._connection = connection
        self._database = database
        self._book = book
        self._rows_at_once = rows_at_once
        self._waits: dict[str, float] = {}
        self._totals: dict[str, int] = {}
        self._done: dict[str, int] = {}
        self._read_to: dict[str, TablePart] = {}
        """The last part that was written, durable or not: the next is read behind it."""
        with mysql_translated(self._name):
            asked(connection, "SET SESSION lock_wait_timeout=1, innodb_lock_wait_timeout=1")

    def wanted(self, entries: Sequence[FeedEntry]) -> FeedEntry | None:
        """The next feed that has rows to be read; None if there is none now."""
        now = time.monotonic()
        for entry in entries:
            if self._book.table(entry.feed).state != COPYING or self._waits.get(entry.feed, 0) > now:
                continue
            if (last := self._last(entry.feed)) is None or not last.is_whole:
                return entry
        return None

    def _last(self, feed: str) -> TablePart | None:
        """The part of the present copy that was written last by this process."""
        last = self._read_to.get(feed)
        return last if last is not None and last.copy == self._book.table(feed).copy else None

    def read(self, entry: FeedEntry) -> TablePart | None:
        """The next part of a feed's table; None, with the reason told, where it cannot be read now."""
        feed = entry.feed
        with mysql_translated(self._name):
            try:
                chunk = self._read(entry)
            except pymysql.MySQLError as error:
                if number_in(error) not in _LOCKED:
                    raise
                self._waits[feed] = time.monotonic() + BUSY_SECONDS
                reason = f"{entry.contract.table} is locked by somebody, and is read once it is not"
                self._setting.incidents.begin("feed", feed, state="waiting", reason=reason)
                return None
            finally:
                asked(self._connection, "ROLLBACK")
        if self._waits.pop(feed, None) is not None:
            self._setting.incidents.end("feed", feed)
        return chunk

    def _read(self, entry: FeedEntry) -> TablePart | None:
        """See `read`. The table is looked at behind its first row's lock on its definition, so that nobody changes it meanwhile."""
        connection, book, feed = self._connection, self._book, entry.feed
        name = entry.contract.table
        asked(connection, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
        status = {row[0]: row[1] for row in texts(connection, "SHOW STATUS LIKE 'binlog_snapshot_%'")}
        file, position = status["Binlog_snapshot_file"], status["Binlog_snapshot_position"]
        try:
            asked(connection, f"SELECT 1 FROM {spelled_name(name)} LIMIT 1")  # noqa: S608 -- a quoted name
        except pymysql.MySQLError as error:
            if number_in(error) not in _UNREADABLE:
                raise
            fix = f"create it again, then `mesh resync {feed}`; or, if it is gone for good: `mesh offboard feed {feed} --yes`"
            book.stop(
                feed,
                f"table {name} does not exist, or the account may not read it",
                fix,
                place_in_log(file, int(position)),
            )
            return None
        place = place_in_log(file, int(position))
        table = mysql_tables(connection, self._database, [name]).get(name)
        if table is None:
            fix = f'let "gov": {{"table": …}} name a table of {self._database}, which is the source\'s database'
            book.stop(feed, f"table {name} is not in the source's database", fix, place)
            return None
        try:
            pairs = paired(entry.contract, table.columns)
            keys = key_columns(entry.contract, table)
        except Unpaired as error:
            fix = f"follow it: `mesh follow {feed} --yes`; or mend the table, then `mesh resync {feed}`"
            book.stop(feed, f"table {name}: {error}", fix, place)
            return None
        if (fault := fault_of(table, entry)) is not None:
            book.stop(feed, fault.message, f"{fault.fix}; then `mesh resync {feed}`", place)
            return None
        held = book.table(feed)
        if held.shape and held.shape != shape_of(pairs):
            book.copy_anew(feed, f"table {name} was altered while it was copied")
            return None
        if not held.since:
            # Durable before a row of it is written: what is deleted from here on must reach whoever got that row.
            book.set(feed, replace(held, since=place, shape=shape_of(pairs)))
            book.save()
            self._totals[feed] = table.estimate
        last = self._last(feed)
        behind = last.cursor if last is not None else held.cursor
        query = _query(name, pairs, keys, behind, self._rows_at_once)
        found = asked(connection, query)
        width = len(pairs)
        cursor = tuple((cell or b"").hex() for cell in found[-1][width:]) if found else behind
        return TablePart(
            entry=entry,
            copy=held.copy,
            file=file,
            place=place,
            pairs=pairs,
            rows=found,
            cursor=cursor,
            is_first=not behind,
            is_whole=len(found) < self._rows_at_once,
        )

    def written(self, chunk: TablePart, epoch: int) -> SourceBatch:
        """The records of a part, for between two transactions. Nothing where the table is to be copied anew meanwhile."""
        batch = SourceBatch()
        entry, feed = chunk.entry, chunk.entry.feed
        held = self._book.table(feed)
        if held.copy != chunk.copy or held.state != COPYING:
            return batch
        moment = LogMoment(epoch, chunk.place, chunk.file, int(time.time() * 1000))
        envelope = TableEnvelope(entry, self._name, entry.contract.table)
        if chunk.is_first and not held.is_emptied:
            value = envelope.value(b"t", None, None, moment, 2 * chunk.copy - 1, 0)
            batch.records += [(feed, TRUNCATE_KEY, value, number, None) for number in range(entry.partitions)]
            batch.count(feed, "t", 1, len(value))
        coder = RowCoder(entry.contract, chunk.pairs, entry.key_schema_id)
        # Behind the truncate before this copy, which stands behind the rows of the copy before; the log has no change at this place.
        ordinal = 2 * chunk.copy
        size = 0
        for cells in chunk.rows:
            try:
                key, row = coder.row(cells)
            except Rejected as error:
                raw = b"\t".join(b"\\N" if cell is None else cell for cell in cells[: len(chunk.pairs)])
                batch.records.append(rejected(feed, raw, error, moment.position(ordinal)))
                batch.reject(feed, error.reason)
                continue
            value = envelope.value(b"r", None, row, moment, ordinal, 0)
            batch.records.append((feed, key, value, -1, None))
            size += len(value)
        batch.count(feed, "r", len(chunk.rows), size)
        mark = ChunkMark(feed=feed, copy=chunk.copy, cursor=chunk.cursor, rows=len(chunk.rows), is_whole=chunk.is_whole)
        batch.marks.append((len(batch.records), mark))
        self._read_to[feed] = replace(chunk, rows=())
        self._done[feed] = rows = len(chunk.rows) + (0 if chunk.is_first else self._done.get(feed, held.rows))
        self._setting.observer.snapshot(feed=feed, done_rows=rows, total_rows=max(self._totals.get(feed, 0), rows))
        return batch


def _query(name: str, pairs: Sequence[PairedField], keys: Sequence[str], cursor: Sequence[str], limit: int) -> str:
    """The rows behind a key, in the order of an index."""
    columns = {pair.column.name: pair.column for pair in pairs}
    ordered: list[str] = []
    literals: list[str] = []
    for place, key in enumerate(keys):
        column = columns[key]
        quoted = "`{}`".format(key.replace("`", "``"))
        ordered.append(_ORDERS.get(column.type, "{}").format(quoted))
        if cursor:
            raw = bytes.fromhex(cursor[place])
            literals.append(_literal(raw, column.type, column.charset))
    condition = ""
    if cursor:
        # Written out: the server does not use an index for a comparison of rows.
        either = [
            " AND ".join([*(f"{ordered[j]} = {literals[j]}" for j in range(i)), f"{ordered[i]} > {literals[i]}"])
            for i in range(len(keys))
        ]
        condition = "WHERE " + " OR ".join(f"({each})" for each in either)
    order = ", ".join(ordered)
    what = f"{select_list(pairs)}, {order} FROM {spelled_name(name)} {condition}"
    return f"SELECT {what} ORDER BY {order} LIMIT {limit}"


def _literal(raw: bytes, kind: str, charset: str) -> str:
    if kind in _UNQUOTED:
        return raw.decode()
    if kind in _QUOTED:
        return f"'{raw.decode()}'"
    introducer = f"_{charset} " if charset and kind not in _ORDERS else ""
    return f"{introducer}0x{raw.hex()}" if raw else "''"
