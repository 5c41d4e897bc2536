"""Values that the log does not carry: read from the table, where a change would otherwise lose its row.

An update leaves out unchanged out-of-line values (PG-27). A subscriber who has the row keeps what it has; but a key change makes
a row that nobody has yet, so that its create must be whole. Those values are read from the row as it is now, under its new key:

- the transaction must be visible to us first: the log has a commit a moment before the server shows it to others;
- the row may be newer than the change: then a later change, further on in the log, carries what is newer;
- there may be no such row any more: then a delete, another key change or a truncate comes later, and the create is left out. An
  update of that key before then finds no row at a subscriber either, so it is read in the same way.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import pq, sql

from producers.postgresql.link.link import check, connect, raw_text, translated
from producers.postgresql.value.encoding import wire_codec
from producers.postgresql.value.transcode import Transcoder
from producers.postgresql.value.tuple import BINARY, NULL, Former
from schemas.errors import Transient

VISIBLE_WITHIN_SECONDS = 30.0
ABSENT_MAX = 10_000
_LOOK_SECONDS = 0.01

# The log tells a transaction by the lower half of its number; the upper half is that of the newest one, or one less.
_IS_VISIBLE = """
SELECT pg_visible_in_snapshot((CASE WHEN low > newest THEN low - (1::numeric * 4294967296) ELSE low END)::text::xid8,
                              pg_current_snapshot())
FROM (SELECT newest, newest - newest %% 4294967296 + %s AS low
      FROM (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::numeric AS newest) AS n) AS x"""
_TABLE = """
SELECT CASE c.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END || format('%I.%I', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1"""

_UNDEFINED = ("42703", "42P01", "42883", "42501")


class Refetch:
    """Reads such values, through a connection of its own that it opens at the first need."""

    def __init__(self, address: str, name: str) -> None:
        self._address = address
        self._name = name
        self._connection: psycopg.Connection[Any] | None = None
        self._absent: set[tuple[str, bytes]] = set()

    def is_absent(self, feed: str, key: bytes) -> bool:
        """Whether a create under this key was left out, so that subscribers cannot complete an update of it."""
        return (feed, key) in self._absent

    def whole(self, feed: str, key: bytes, oid: int, xid: int, transcoder: Transcoder, new: Former) -> Former | None:
        """The tuple with what it left out; None if there is no such row now.

        `new` are the values that were sent, None for the others; `oid` is the relation's. Raises Transient.
        """
        wanted = [i for i, value in enumerate(new) if value is None]
        with translated(self._name):
            found = self._read(oid, xid, transcoder, new, wanted)
        if found is None:
            if len(self._absent) >= ABSENT_MAX:
                self._absent.clear()
            self._absent.add((feed, key))
            return None
        self._absent.discard((feed, key))
        filled = dict(zip(wanted, found, strict=True))
        return [filled.get(i, value) for i, value in enumerate(new)]

    def _read(
        self, oid: int, xid: int, transcoder: Transcoder, new: Former, wanted: Sequence[int]
    ) -> Sequence[tuple[int, bytes]] | None:
        connection = self._open(is_raw=bool(transcoder.codec))
        self._wait_for(connection, xid)
        table = connection.pgconn.exec_params(_TABLE.encode(), [str(oid).encode()])
        check(table, self._name)
        if table.ntuples == 0:
            return None
        columns = transcoder.columns
        where = [(columns[i].name, value[1]) for i in transcoder.tuples.key_places if (value := new[i]) is not None]
        selected = ", ".join(sql.Identifier(columns[i].name).as_string() for i in wanted)
        same = " AND ".join(
            f"{sql.Identifier(name).as_string()} = ${number}" for number, (name, _) in enumerate(where, 1)
        )
        codec = wire_codec(transcoder.codec)
        query = b"SELECT %b FROM %b WHERE %b LIMIT 1" % (
            selected.encode(codec),
            table.get_value(0, 0) or b"",
            same.encode(codec),
        )
        binary = [pq.Format.BINARY] * len(where)
        values = [value for _, value in where]
        result = connection.pgconn.exec_params(query, values, None, binary, pq.Format.BINARY)
        if (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode() in _UNDEFINED:
            return None  # the table is another by now, which the log tells later
        check(result, self._name)
        if result.ntuples == 0:
            return None
        found = [result.get_value(0, place) for place in range(len(wanted))]
        return [(NULL, b"") if value is None else (BINARY, bytes(value)) for value in found]

    def _wait_for(self, connection: psycopg.Connection[Any], xid: int) -> None:
        until = time.monotonic() + VISIBLE_WITHIN_SECONDS
        while True:
            row = connection.execute(_IS_VISIBLE, (xid,)).fetchone()
            if row is not None and row[0]:
                return
            if time.monotonic() > until:
                raise Transient(f"source {self._name}: a transaction in the log is not visible to others yet")
            time.sleep(_LOOK_SECONDS)

    def _open(self, *, is_raw: bool) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._address, name=self._name)
            if is_raw:
                raw_text(self._connection.pgconn, self._name)
        return self._connection

    def close(self) -> None:
        """Close the connection, if one was opened."""
        if self._connection is not None:
            self._connection.close()
