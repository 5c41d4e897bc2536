"""Encoded: rows of a fenced table as capture would encode them, where no text is common to the database and the feed (form.py)."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql
from psycopg.pq.abc import PGconn

from producers.fenced.encoded import FRAME_BYTES
from producers.postgresql.link.catalog import CatalogTable, identifier
from producers.postgresql.link.link import check
from producers.postgresql.value.encoding import wire_codec
from producers.postgresql.value.transcode import Transcoder
from producers.postgresql.value.tuple import PADDING, TupleColumn
from schemas.agreement.directory import FeedEntry
from schemas.contract import Contract
from schemas.errors import Rejected

_COPY_HEADER = 19


class EncodedRows:
    """Reads rows through a connection whose transaction sees the fence."""

    def __init__(self, entry: FeedEntry, table: CatalogTable, codec: str) -> None:
        contract = entry.contract
        wanted = {field.column for field in contract.fields}
        self._columns = [
            TupleColumn(column.name, column.type, column.typmod) for column in table.columns if column.name in wanted
        ]
        self._table = table
        self._codec = codec
        self._whole = Transcoder(contract, self._columns, entry.key_schema_id, codec=codec)
        keyed = [field for field in contract.record["fields"] if field["name"] in contract.key]
        self._keyed = Transcoder(
            Contract(contract.feed, {**contract.record, "fields": keyed}),
            self._columns,
            entry.key_schema_id,
            codec=codec,
        )

    def rows(self, link: PGconn, name: str, where: sql.Composable) -> Iterator[tuple[bytes, bytes]]:
        """Avro bytes of each row's key, without a frame, and of the row: empty where they cannot be encoded. Raises Transient."""
        only = sql.SQL("" if self._table.kind == "p" else "ONLY ")
        names = sql.SQL(", ").join(
            sql.SQL("{}::text" if column.type.has_output_only else "{}").format(sql.Identifier(column.name))
            for column in self._columns
        )
        statement = sql.SQL("COPY (SELECT {} FROM {}{} WHERE {}) TO STDOUT (FORMAT binary)").format(
            names, only, identifier(self._table.name), where
        )
        check(link.exec_(statement.as_string().encode(wire_codec(self._codec))), name)
        count, is_first = len(self._columns).to_bytes(2, "big"), True
        while True:
            size, data = link.get_copy_data(0)
            if size < 0:
                break
            m = bytes(data) + PADDING
            if is_first:  # the file header shares a message with the first row
                m, is_first = m[_COPY_HEADER + int.from_bytes(m[15:19], "big") :], False
            if m[:2] == count:
                yield self._encoded(m)
        while (result := link.get_result()) is not None:
            check(result, name)

    def _encoded(self, message: bytes) -> tuple[bytes, bytes]:
        try:
            row, key, _ = self._whole.copied_row(message, 2)
        except Rejected:
            row = b""
        else:
            return key[FRAME_BYTES:], row
        try:
            _, key, _ = self._keyed.copied_row(message, 2)
        except Rejected:
            return b"", row
        return key[FRAME_BYTES:], row
