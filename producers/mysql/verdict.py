"""Verdicts: what a statement in the log means for the feeds of the tables that it touches.

The log tells rows and statements, in one order. A statement that may have changed a captured table has it looked at as it is now;
what changes a table's rows without telling them has it copied anew, and what leaves a feed without its table stops that feed, while
the others flow (invariant 10). The words are those of the other kinds of source.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import pymysql

from producers.mysql.admission import fault_of
from producers.mysql.binlog.statement import LogStatement
from producers.mysql.book import LogBook
from producers.mysql.link.catalog import mysql_tables
from producers.mysql.link.connection import spelled_name
from producers.mysql.link.fault import mysql_translated
from producers.mysql.place import COPYING, LIVE
from producers.mysql.value.row import Unpaired, paired, shape_of
from schemas.agreement.directory import FeedEntry


class LogVerdicts:
    """Used by the source's own thread. `feeds` are the captured ones by table, looked up anew each time."""

    def __init__(
        self,
        book: LogBook,
        connection: pymysql.Connection[Any],
        database: str,
        on_table_change: str,
        feeds: Callable[[], Mapping[str, FeedEntry]],
    ) -> None:
        self._book = book
        self._connection = connection
        self._database = database
        self._copies = on_table_change == "copy"
        self._feeds = feeds

    def emptied(self, said: LogStatement, place: int) -> list[FeedEntry]:
        """The feeds whose tables a statement truncated."""
        feeds = self._feeds()
        found = [feeds[table] for table in said.emptied if table in feeds]
        return [entry for entry in found if self._is_told(entry.feed, place)]

    def _is_told(self, feed: str, place: int) -> bool:
        """Whether changes of a feed at a place of the log are in it."""
        held = self._book.table(feed)
        return held.state in (LIVE, COPYING) and 0 < held.since < place

    def heed(self, said: LogStatement, place: int) -> bool:
        """Judge a statement that is neither a bound nor a truncate. Whether anything may be read otherwise from now on."""
        feeds = self._feeds()
        if said.changes_rows:
            self._stop_unread(feeds, place)
            return True
        touched = {table: entry for table, entry in feeds.items() if _names(said, table)}
        for table, entry in touched.items():
            if self._is_told(entry.feed, place):
                self._judge(said, table, entry, place)
        return bool(touched)

    def prepared_ended(self, feeds: Collection[str] | None) -> None:
        """A transaction that XA had prepared was committed: its rows were not told. None where nobody knows whose they are."""
        for entry in self._feeds().values():
            if (feeds is None or entry.feed in feeds) and self._book.table(entry.feed).state in (LIVE, COPYING):
                self._book.copy_anew(entry.feed, "a transaction that was prepared by XA was committed")

    def _stop_unread(self, feeds: Mapping[str, FeedEntry], place: int) -> None:
        fix = (
            "SET GLOBAL binlog_format = 'ROW', and let the session that set it otherwise begin anew; "
            f"then `mesh resync {self._book.name}`"
        )
        for entry in feeds.values():
            if self._is_told(entry.feed, place):
                reason = "somebody's session logged a change as a statement (binlog_format), whose rows are not told"
                self._book.stop(entry.feed, reason, fix, place)

    def _judge(self, said: LogStatement, table: str, entry: FeedEntry, place: int) -> None:
        feed = entry.feed
        takes_over = table in said.made or table in {after for _, after in said.moved}
        moved = dict(said.moved).get(table)
        if takes_over:
            former = f"; the one that was captured is {moved} now" if moved else ""
            self._replaced(feed, f"{table} is another table than was captured{former}", place)
        elif moved is not None:
            database, name = table.split(".", 1)
            back = f"ALTER TABLE {spelled_name(moved)} RENAME TO {spelled_name(f'{database}.{name}')}"
            reason = f"table {table} was renamed to {moved}: what is committed there is in no feed"
            fix = (
                f"follow it: `mesh follow {feed} --table {shlex.quote(moved)} --yes`; "
                f"or name it back: {back}; then `mesh resync {feed}`"
            )
            self._book.stop(feed, reason, fix, place)
        elif table in said.ended or said.ended_database.lower() == self._database.lower():
            fix = (
                f"create it again, then `mesh resync {feed}` copies it; or, if it is gone for good: "
                f"`mesh offboard feed {feed} --yes`; its source's other feeds go on meanwhile"
            )
            self._book.stop(feed, f"table {table} was dropped", fix, place)
        elif said.shifts_partitions:
            self._book.copy_anew(feed, f"a partition or the file of {table} was exchanged, dropped or truncated")
        else:
            self._compare(table, entry, place)

    def _replaced(self, feed: str, reason: str, place: int) -> None:
        if self._copies:
            self._book.copy_anew(feed, reason)
            return
        fix = (
            f"`mesh resync {feed}` copies the new table, and takes from subscribers what is not in it; "
            "the source's option on_table_change: copy does so by itself"
        )
        self._book.stop(feed, reason, fix, place)

    def _compare(self, table: str, entry: FeedEntry, place: int) -> None:
        """The table as it is now against the columns that its feed is read from."""
        feed, held = entry.feed, self._book.table(entry.feed)
        with mysql_translated(self._book.name):
            now = mysql_tables(self._connection, self._database, [table]).get(table)
        if now is None or not held.shape:
            return  # a later statement in the log says what became of it; or it has not been read at all yet
        try:
            pairs = paired(entry.contract, now.columns)
        except Unpaired as error:
            fix = f"follow it: `mesh follow {feed} --yes`; or alter the table back, then `mesh resync {feed}`"
            self._book.stop(feed, f"table {table} no longer fits the contract: {error}", fix, place)
            return
        if (fault := fault_of(now, entry)) is not None:
            self._book.stop(feed, fault.message, f"{fault.fix}; then `mesh resync {feed}`", place)
            return
        changed = [
            pair.column.name
            for pair in pairs
            if not pair.column.holds_all_of(held.shape.get(pair.column.name) or pair.column.shape)
        ]
        if changed:
            why = f"columns of {table} have another type, and may have other values: {', '.join(changed)}"
            self._book.copy_anew(feed, why)
        elif shape_of(pairs) != held.shape:
            self._book.set(feed, replace(held, shape=shape_of(pairs)))


def _names(said: LogStatement, table: str) -> bool:
    database, _, name = table.partition(".")
    return name.lower() in said.words or said.ended_database.lower() == database.lower()
