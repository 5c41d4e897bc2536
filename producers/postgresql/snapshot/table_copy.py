"""The copy of one table: its rows as records of its feed, read once, resumable range by range."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from psycopg import sql
from psycopg.pq.abc import PGconn

from producers.postgresql.link.catalog import CatalogTable, identifier
from producers.postgresql.link.link import check, raw_text, translated
from producers.postgresql.snapshot.origin import Origin
from producers.postgresql.snapshot.snapshot import Reading
from producers.postgresql.value.encoding import wire_codec
from producers.postgresql.value.envelope import IN_SNAPSHOT, READ, Transaction
from producers.postgresql.value.transcode import Transcoder
from producers.postgresql.value.tuple import PADDING, TupleColumn
from producers.rejected import rejected
from producers.source import SourceBatch
from schemas.agreement.directory import FeedEntry
from schemas.errors import Rejected
from schemas.position import Position

RANGE_BLOCKS = 2_048  # 16 MB of table: what a crash costs at most
CHUNK_ROWS = 2_000

_COPY_HEADER = 19


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
        self._start, self._rest = envelope.new, rest
        self._position = str(Position(origin.epoch, reading.position, 0))

    def rows(self, start: int, end: int | None) -> Iterator[SourceBatch]:
        """The rows from block `start` up to block `end` (None: to the last), in chunks."""
        link, name, codec = self._reading.link, self._reading.name, self._transcoder.codec
        statement = _copy_statement(self._table, self._transcoder.columns, start, end).as_string()
        with translated(name):
            if codec:
                raw_text(link, name)
            result = link.exec_(statement.encode(wire_codec(codec)))
            check(result, name)
            is_first = True
            while True:
                batch = SourceBatch()
                is_done = self._chunk(link, batch, is_first=is_first)
                is_first = False
                if batch.records:
                    yield batch
                if is_done:
                    break
            while (result := link.get_result()) is not None:
                check(result, name)

    def _chunk(self, link: PGconn, batch: SourceBatch, *, is_first: bool) -> bool:
        """Up to CHUNK_ROWS rows into the batch; whether the copy has ended."""
        feed, start, rest, position = self._feed, self._start, self._rest, self._position
        get, row_of, append, join = link.get_copy_data, self._transcoder.copied_row, batch.records.append, b"".join
        columns = len(self._transcoder.columns).to_bytes(2, "big")
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
