"""Snapshots: the rows that a table had before its changes are followed, read once, resumable range by range.

A snapshot's position is the consistent point of a replication slot that exported it: everything committed before is in the
rows, everything after comes through the stream, nothing is in neither (PG-15). A first snapshot comes with the
source's own slot; a resumed one, or that of a table added later, with a temporary slot that is dropped once its snapshot
is imported (PG-16, PG-24).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.pq.abc import PGconn

from producers.postgresql.link.catalog import CatalogTable, SourceTypes, identifier, split, tables
from producers.postgresql.link.link import check, raw_text, rows_of, translated
from producers.postgresql.stream.pgoutput import lsn_number
from producers.postgresql.stream.stream import TRUNCATE_KEY
from producers.postgresql.value.encoding import wire_codec
from producers.postgresql.value.envelope import IN_SNAPSHOT, READ, FeedEnvelope, Transaction, truncate_value
from producers.postgresql.value.transcode import Transcoder
from producers.postgresql.value.tuple import PADDING, TupleColumn
from producers.rejected import rejected
from producers.source import SourceBatch
from schemas.agreement.directory import FeedEntry
from schemas.errors import Rejected, Transient
from schemas.position import Position
from schemas.wire.envelope import frame

KEYS_MAX = 500_000
"""Keys that the stream may bring while tables are copied, some 100 MB of them, before the copy goes on with a later snapshot."""

RANGE_BLOCKS = 2_048  # 16 MB of table: what a crash costs at most
CHUNK_ROWS = 2_000
SLOT_WARNING_SECONDS = 20.0
EMPTIED = "emptied"  # the mark behind the truncates that open a new epoch

_COPY_HEADER = 19
_logger = logging.getLogger(__name__)

_BLOCKERS = """
SELECT 'process ' || pid || ' (' || coalesce(application_name, '') || ', since ' || xact_start::timestamp(0) || ')'
FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()
UNION ALL SELECT 'prepared transaction ' || gid FROM pg_prepared_xacts"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeDone:
    """The mark behind a range's last row: a copy of the feed's table has come to `next_block`, or is whole when that is None."""

    feed: str
    copy: int
    next_block: int | None
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Emptied:
    """The mark behind the truncates that go before a copy of one feed."""

    feed: str
    copy: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What all rows of one source say of where they are from; `source` is `<agency>.<source>`."""

    source: str
    database: str
    epoch: int
    codec: str

    def envelope(self, entry: FeedEntry, table: str) -> FeedEnvelope:
        """The envelope of a feed that carries the table `<schema>.<table>`."""
        schema, relation = split(table)
        return FeedEnvelope(
            value_schema_id=entry.value_schema_id,
            source=self.source,
            database=self.database,
            schema=schema,
            table=relation,
        )

    def emptied(self, entries: Iterable[FeedEntry], marks: Iterable[Any], at: int = 0) -> SourceBatch:
        """Truncates that go before a copy: subscribers learn that all rows of a former one, and changes before `at`, are gone."""
        batch = SourceBatch()
        moment = Transaction(0, self.epoch, at, int(time.time() * 1000), None)
        for entry in entries:
            value = truncate_value(self.envelope(entry, entry.contract.table), moment, 0, 0)
            batch.records += [(entry.feed, TRUNCATE_KEY, value, number, None) for number in range(entry.partitions)]
            batch.count(entry.feed, "t", 1, len(value))
        batch.marks += [(len(batch.records), mark) for mark in marks]
        return batch


def create_slot(
    link: PGconn, slot: str, *, is_temporary: bool, statements: psycopg.Connection[Any], name: str
) -> Iterator[tuple[int, str] | None]:
    """Create a slot without blocking: yields None while the server waits, then consistent point and snapshot name.

    The server waits for every transaction that runs now, in any database; after a while the blockers are named (PG-10).
    """
    kind = "TEMPORARY " if is_temporary else ""
    link.send_query(f"CREATE_REPLICATION_SLOT {slot} {kind}LOGICAL pgoutput (SNAPSHOT 'export')".encode())
    warn_at = time.monotonic() + SLOT_WARNING_SECONDS
    with translated(name):
        while True:
            link.consume_input()
            if not link.is_busy():
                break
            if time.monotonic() > warn_at:
                blockers = "; ".join(row[0] for row in statements.execute(_BLOCKERS)) or "none found"
                _logger.warning("%s: the new slot waits for running transactions: %s", name, blockers)
                warn_at = time.monotonic() + 3 * SLOT_WARNING_SECONDS
            yield None
        result = link.get_result()
    if result is None:
        raise Transient(f"source {name}: no answer to CREATE_REPLICATION_SLOT")
    row = rows_of(result, name)[0]
    yield lsn_number(row["consistent_point"] or "0/0"), row["snapshot_name"] or ""


class Overtaken:
    """Rows of tables under copy that the stream has brought since: the copied, older row must not follow them (PG-18)."""

    def __init__(self, feeds: Iterable[FeedEntry]) -> None:
        self._keys = {feed.feed: (frame(feed.value_schema_id), dict[bytes, int]()) for feed in feeds}

    def notice(self, batch: SourceBatch, read_to: int) -> None:
        """Take note of the stream's changes, of commits up to `read_to`.

        One in an older schema is from before the copied columns were there, hence from before the snapshot, which knows more.
        """
        for topic, key, value, _, _ in batch.records:
            if value is not None and key and topic in self._keys:
                head, keys = self._keys[topic]
                if value.startswith(head):
                    keys[key] = read_to

    def forget(self, position: int) -> None:
        """The snapshot turned out to have everything up to here: its rows are no older than such changes."""
        for _, keys in self._keys.values():
            for key in [key for key, read_to in keys.items() if read_to <= position]:
                del keys[key]

    @property
    def is_full(self) -> bool:
        """Whether these are as many as may be kept: a later snapshot has them all, and they can be forgotten."""
        return sum(len(keys) for _, keys in self._keys.values()) > KEYS_MAX

    def done(self, feed: str) -> None:
        """No row of its table is left to be copied."""
        self._keys.pop(feed, None)

    def leave_out(self, batch: SourceBatch, feed: str) -> None:
        """Take such rows out of a batch of a feed's copied rows."""
        _, keys = self._keys[feed]
        gone = [len(value) for _, key, value, _, _ in batch.records if key in keys and value is not None]
        if gone:
            batch.records = [record for record in batch.records if record[1] not in keys]
            batch.count(feed, "r", -len(gone), -sum(gone))


class Reading:
    """One open snapshot: a transaction that sees the database as it was at `position`, and copies tables out of it."""

    def __init__(self, connection: psycopg.Connection[Any], exported: str, position: int, name: str) -> None:
        self._connection = connection
        self._name = name
        self.position = position
        with translated(name):
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(exported))
            moment = connection.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint").fetchone()
        assert moment is not None, "a SELECT without FROM has one row"
        self.read_at_ms: int = moment[0]

    def hold(self, tables: Iterable[str]) -> list[str]:
        """Keep the tables' files in place: TRUNCATE and rewrites wait until the snapshot is over. The ones that are locked."""
        locked: list[str] = []
        with translated(self._name):
            for table in tables:
                try:
                    with self._connection.transaction():
                        lock = sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE NOWAIT").format(identifier(table))
                        self._connection.execute(lock)
                except psycopg.errors.LockNotAvailable:
                    locked.append(table)
        return locked

    def export(self) -> str:
        """The snapshot's name for further transactions, good for as long as this one is open (PG-15)."""
        with translated(self._name):
            row = self._connection.execute("SELECT pg_export_snapshot()").fetchone()
        assert row is not None, "a SELECT without FROM has one row"
        return row[0]

    def catalog(self, names: Iterable[str]) -> Mapping[str, CatalogTable]:
        """The named tables; while they are held, none of their columns and types changes."""
        with translated(self._name):
            return tables(self._connection, SourceTypes(self._connection), names)

    def copy(
        self,
        feed: str,
        table: CatalogTable,
        transcoder: Transcoder,
        start: int,
        end: int | None,
        parts: tuple[bytes, bytes, str],
    ) -> Iterator[SourceBatch]:
        """The rows between two blocks, in chunks. See `TableCopy`."""
        link = self._connection.pgconn
        statement = _copy_statement(table, transcoder.columns, start, end).as_string()
        statement = statement.encode(wire_codec(transcoder.codec))
        with translated(self._name):
            if transcoder.codec:
                raw_text(link, self._name)
            result = link.exec_(statement)
            check(result, self._name)
            is_first = True
            while True:
                batch = SourceBatch()
                is_done = _chunk(link, batch, feed, transcoder, parts, is_first=is_first)
                is_first = False
                if batch.records:
                    yield batch
                if is_done:
                    break
            while (result := link.get_result()) is not None:
                check(result, self._name)

    def close(self) -> None:
        """End the transaction, and with it what it holds back in the source (PG-17)."""
        self._connection.close()


class TableCopy:
    """How the rows of one table become records of its feed, out of one open snapshot."""

    def __init__(self, reading: Reading, entry: FeedEntry, table: CatalogTable, origin: Origin) -> None:
        wanted = {field.column for field in entry.contract.fields}
        columns = [
            TupleColumn(column.name, column.type, column.typmod) for column in table.columns if column.name in wanted
        ]
        self._reading = reading
        self._feed = entry.feed
        self._table = table
        self._transcoder = Transcoder(entry.contract, columns, entry.key_schema_id, codec=origin.codec)
        envelope = origin.envelope(entry, table.name)
        moment = Transaction(0, origin.epoch, reading.position, reading.read_at_ms, None)
        rest = envelope.head(moment, IN_SNAPSHOT) + b"00000000" + envelope.tail(moment, READ)
        self._parts = envelope.new, rest, str(Position(origin.epoch, reading.position, 0))

    def rows(self, start: int, end: int | None) -> Iterator[SourceBatch]:
        """The rows from block `start` up to block `end` (None: to the last), in chunks."""
        return self._reading.copy(self._feed, self._table, self._transcoder, start, end, self._parts)


def _chunk(
    link: PGconn,
    batch: SourceBatch,
    feed: str,
    transcoder: Transcoder,
    parts: tuple[bytes, bytes, str],
    *,
    is_first: bool,
) -> bool:
    """Up to CHUNK_ROWS rows into the batch; whether the copy has ended."""
    start, rest, position = parts
    get, row_of, append, join = link.get_copy_data, transcoder.copied_row, batch.records.append, b"".join
    columns = len(transcoder.columns).to_bytes(2, "big")
    size_bytes = rows = 0
    is_done = False
    for _ in range(CHUNK_ROWS):
        size, data = get(0)
        if size < 0:
            is_done = True
            break
        m = join((data, PADDING))
        if is_first:  # the file header shares a message with the first row
            m = m[_COPY_HEADER + int.from_bytes(m[15:19], "big") :]
            is_first = False
        if m[:2] != columns:
            continue  # the trailer
        try:
            row, key, _ = row_of(m, 2)
        except Rejected as error:
            append(rejected(feed, m[: -len(PADDING)], error, position))
            batch.reject(feed, error.reason)
            continue
        value = join((start, row, rest))
        append((feed, key, value, -1, None))
        rows += 1
        size_bytes += len(value)
    if rows:
        batch.count(feed, "r", rows, size_bytes)
    return is_done


def ranges(table: CatalogTable, next_block: int) -> Iterator[tuple[int, int | None]]:
    """Block ranges from `next_block` on; the last one is open-ended, since the table may have grown."""
    if table.kind == "r":
        while next_block + RANGE_BLOCKS < table.blocks:
            yield next_block, next_block + RANGE_BLOCKS
            next_block += RANGE_BLOCKS
    yield next_block, None


def _copy_statement(table: CatalogTable, columns: Iterable[TupleColumn], start: int, end: int | None) -> sql.Composed:
    # A type without a binary form comes as text, as it does in the log (PG-21).
    names = sql.SQL(", ").join(
        sql.SQL("{}::text" if column.type.has_output_only else "{}").format(sql.Identifier(column.name))
        for column in columns
    )
    if table.kind != "r":  # a partitioned table has no blocks of its own
        return sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT (FORMAT binary)").format(names, identifier(table.name))
    # PG-22: ONLY, or an inheritance parent would bring its children's rows.
    until = sql.SQL("") if end is None else sql.SQL(" AND ctid < {}::tid").format(f"({end},0)")
    return sql.SQL("COPY (SELECT {} FROM ONLY {} WHERE ctid >= {}::tid{}) TO STDOUT (FORMAT binary)").format(
        names, identifier(table.name), f"({start},0)", until
    )
