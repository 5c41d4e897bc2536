"""The tables that the log announces, and how the changes of those that are captured are read.

A map is good until it comes again (MY-12): its number changes with DDL, with a new file, with a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from producers.mysql.binlog.table_map import LogColumn, UnknownColumn, table_id, table_map, table_name
from producers.mysql.book import LogBook
from producers.mysql.link.catalog import MysqlColumn
from producers.mysql.place import COPYING, LIVE
from producers.mysql.value.envelope import TableEnvelope
from producers.mysql.value.row import RowCoder, Unpaired, paired
from schemas.agreement.directory import FeedEntry
from schemas.errors import ContractBroken


class LogTable:
    """A captured table in one of its layouts."""

    __slots__ = ("coder", "columns", "entry", "envelope", "since")

    def __init__(
        self, entry: FeedEntry, columns: tuple[LogColumn, ...], coder: RowCoder, envelope: TableEnvelope, since: int
    ) -> None:
        self.entry = entry
        self.columns = columns
        self.coder = coder
        self.envelope = envelope
        self.since = since


class Maps:
    """The announced tables by number. `feeds` are the captured ones by table, `place` is the present transaction's."""

    def __init__(
        self,
        book: LogBook,
        feeds: Callable[[], Mapping[str, FeedEntry]],
        place: Callable[[], int],
    ) -> None:
        self._book = book
        self._feeds = feeds
        self._place = place
        self._by_id: dict[int, LogTable | None] = {}
        self._known: dict[bytes, LogTable | None] = {}
        self._envelopes: dict[str, TableEnvelope] = {}
        self._counted: dict[str, int] = {}

    def forget(self) -> None:
        """Another file: numbers mean nothing any more."""
        self._by_id.clear()

    def renew(self) -> None:
        """Feeds, or what is known of their tables, have changed: read what is announced from now on accordingly."""
        self._known.clear()
        self._envelopes.clear()

    def ended(self) -> None:
        """A transaction is over: changes are counted anew."""
        self._counted.clear()

    def table(self, number: int) -> LogTable | None:
        """The captured table of this number; None for any other."""
        return self._by_id.get(number)

    def count(self, table: LogTable, by: int) -> int:
        """The number of a change within the transaction's changes of its table; its layouts are counted together."""
        name = table.entry.feed
        self._counted[name] = ordinal = self._counted.get(name, 0) + by
        return ordinal

    def envelope(self, entry: FeedEntry) -> TableEnvelope:
        """The envelope of a feed."""
        found = self._envelopes.get(entry.feed)
        if found is None:
            found = self._envelopes[entry.feed] = TableEnvelope(entry, self._book.name, entry.contract.table)
        return found

    def stop(self, feed: str, reason: str, fix: str, place: int) -> None:
        """Leave out a feed's changes from here on."""
        self._book.stop(feed, reason, fix, place)
        for number, table in self._by_id.items():
            if table is not None and table.entry.feed == feed:
                self._by_id[number] = None
        self.renew()

    def announce(self, event: bytes) -> None:
        """A TABLE_MAP event."""
        told = event[27:]  # behind the number and its flags
        if told in self._known:
            self._by_id[table_id(event)] = self._known[told]
            return
        name, _ = table_name(event)
        entry = self._feeds().get(name)
        found = None
        if entry is not None and self._book.table(entry.feed).state in (LIVE, COPYING):
            found = self._tracked(name, entry, event)
        if entry is None or found is not None:
            self._known[told] = found
        self._by_id[table_id(event)] = found

    def _tracked(self, name: str, entry: FeedEntry, event: bytes) -> LogTable | None:
        feed, held = entry.feed, self._book.table(entry.feed)
        if not held.since or self._place() <= held.since:
            return None  # not copied at all yet, or the copy has it: the log may show the table as it was before
        try:
            found = table_map(event)
            if not found.is_named:
                fix = f"SET GLOBAL binlog_row_metadata = 'FULL'; then `mesh resync {feed}`"
                self._book.stop(feed, "the log no longer names columns (binlog_row_metadata)", fix, self._place())
                return None
            # Not by the catalog, which may be ahead of the log: by what the columns were when they were copied.
            columns = {column: MysqlColumn.of_shape(column, shape) for column, shape in held.shape.items()}
            pairs = paired(entry.contract, columns)
            coder = RowCoder(entry.contract, pairs, entry.key_schema_id, found.columns)
        except (ContractBroken, UnknownColumn, Unpaired) as error:
            fix = f"`mesh resync {feed}` copies it as it is now"
            self._book.stop(feed, f"table {name} is not in the log as it was copied: {error}", fix, self._place())
            return None
        return LogTable(entry, found.columns, coder, self.envelope(entry), held.since)
