"""A table as it was at its fence: ranges that the database sums up, rows as hashes, and how a feed is digested beside them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import groupby, islice
from typing import Any

import psycopg
from psycopg import sql
from psycopg.pq.abc import PGconn

from producers.fenced.encoded import change_reader, key_reader
from producers.fenced.table import WORD, FencedRow, FenceSetting, RangeSum, key_digest, row_digest
from producers.postgresql.fenced import encoded, printed
from producers.postgresql.fenced.form import Form, concat, form_of
from producers.postgresql.link.catalog import CatalogTable, SourceTypes, identifier, tables
from producers.postgresql.link.link import (
    raw_text,
    translated,
)
from producers.postgresql.place import COPYING, LIVE, STOPPED, SourcePlace, TablePlace
from producers.postgresql.snapshot.snapshot import Reading
from producers.postgresql.value.encoding import codec_of
from schemas.contract import Contract
from schemas.errors import ContractBroken, Misconfigured, Transient
from schemas.position import Position

_FETCH = "FETCH 10000 FROM mesh_rows"
PLACES = 1_000
_NOTICES_ITS_END = "SET client_connection_check_interval = '2s'"
"""So that what the server still does for a process that was killed ends with it."""

_FILES = """
SELECT coalesce((SELECT string_agg(relid || ' ' || coalesce(pg_relation_filenode(relid), 0), ',' ORDER BY relid)
                 FROM pg_partition_tree({0})), {0} || ' ' || pg_relation_filenode({0}))"""

_DIGESTED = """
SELECT sha256((SELECT decode(current_setting('mesh.salt'), 'hex')) || convert_to({key}, {encoding})) AS k,
       sha256((SELECT decode(current_setting('mesh.salt'), 'hex')) || convert_to({row}, {encoding})) AS r,
       {place} AS place FROM {only}{table} OFFSET 0"""
_LATEST = """
SELECT pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END, '0/0')"""
_SUMS = """
SELECT ((get_byte(k, 0) << 4) | (get_byte(k, 1) >> 4)), count(*),
       sum(('x' || encode(substr(k, 1, 8), 'hex'))::bit(64)::bigint), sum(('x' || encode(substr(r, 1, 8), 'hex'))::bit(64)::bigint)
FROM ({digested}) d GROUP BY 1"""
_ROWS = """
DECLARE mesh_rows NO SCROLL CURSOR FOR SELECT substr(k, 1, 16), substr(r, 1, 8), place
FROM ({digested}) d WHERE ((get_byte(k, 0) << 4) | (get_byte(k, 1) >> 4)) = ANY({ranges})"""


class PostgresTable:
    """See `producers.fenced.table.FencedTable`."""

    def __init__(
        self,
        setting: FenceSetting,
        place: SourcePlace,
        reading: Reading,
        statements: psycopg.Connection[Any],
        files: str,
        text_encoding: str | None,
    ) -> None:
        self._contract = contract = setting.entry.contract
        self._name = name = contract.source_name
        self._salt = setting.salt
        self._place = place
        self._copy = table_of(place, contract).copy
        self._reading = reading
        self._statements = statements
        self._files = files
        self.position = Position(place.epoch, reading.position, 0)
        self.at = f"{reading.position >> 32:X}/{reading.position & 0xFFFFFFFF:X}"
        server_encoding = statements.info.parameter_status("server_encoding") or ""
        self._codec = codec_of(server_encoding, text_encoding, f"source {name}")
        self._snapshot = reading.export()
        with translated(name):
            found = tables(statements, SourceTypes(statements), [contract.table]).get(contract.table)
            if statements.info.server_version >= 140_000:
                statements.execute(_NOTICES_ITS_END)
        if found is None:
            raise _changed(contract)
        self._table: CatalogTable = found
        self._forms = _forms(found, contract)
        self._encoded = encoded.EncodedRows(setting.entry, found, self._codec)
        statements.answers_within_seconds = None  # pyright: ignore[reportAttributeAccessIssue] - a scan takes as long as it takes
        self.how = "checksums" if self._forms else "rows"

    # ── the feed's side ──────────────────────────────────────────────────────────────────────────────────────────────

    def is_reached(self, record: Mapping[str, Any] | None, /) -> bool:
        """See FencedTable."""
        place = SourcePlace.from_json(record, {})
        table = table_of(place, self._contract)
        if (place.epoch, table.copy) != (self._place.epoch, self._copy):
            raise Transient(f"{self._contract.feed} was copied anew meanwhile", fix="run it again")
        return place.confirmed >= self._reading.position

    def key_reader(self, schema: Mapping[str, Any], /) -> Callable[[bytes], bytes]:
        """See FencedTable."""
        if self._forms is None:
            return key_reader(schema)
        return printed.key_reader(schema, {name: self._forms[name] for name in self._contract.key}, self._recode())

    def change_reader(self, schema: Mapping[str, Any], /) -> Callable[[bytes], Any]:
        """See FencedTable."""
        if self._forms is None:
            return change_reader(self._contract, schema)
        return printed.change_reader(schema, self._forms, self._recode())

    def _recode(self) -> Callable[[bytes], bytes] | None:
        codec = self._codec
        if codec in ("", "utf-8"):
            return None

        def recode(text: bytes) -> bytes:
            return text if text.isascii() else text.decode().encode(codec, "backslashreplace")

        return recode

    # ── the database's side ──────────────────────────────────────────────────────────────────────────────────────────

    def latest(self) -> Position:
        """See FencedTable."""
        with translated(self._name):
            found = self._statements.execute(_LATEST).fetchone()
        assert found is not None, "a SELECT without FROM has one row"
        return Position(self._place.epoch, int(found[0]), 0)

    def sums(self) -> Mapping[int, RangeSum] | None:
        """See FencedTable."""
        if self._forms is None:
            return None
        with self._seen() as connection:
            found = connection.execute(sql.SQL(_SUMS).format(digested=self._digested(self._forms))).fetchall()
        return {number: RangeSum(rows, int(keys) % WORD, int(values) % WORD) for number, rows, keys, values in found}

    def rows(self, ranges: Collection[int], /) -> Iterator[FencedRow]:
        """See FencedTable."""
        if self._forms is None:
            yield from self._all()
            return
        wanted = sql.Literal(sorted(ranges))
        with self._seen() as connection:
            connection.execute(sql.SQL(_ROWS).format(digested=self._digested(self._forms), ranges=wanted))
            while found := connection.execute(_FETCH).fetchall():
                yield from (FencedRow(key, row, place) for key, row, place in found)

    def _all(self) -> Iterator[FencedRow]:
        with self._seen() as connection:
            for key, row in self._encoded.rows(self._raw(connection), self._name, sql.SQL("true")):
                yield FencedRow(
                    key_digest(self._salt, key) if key else b"", row_digest(self._salt, row) if row else b"", ""
                )

    def unfit(self, places: Iterable[str], /) -> set[str]:
        """See FencedTable."""
        found: set[str] = set()
        if self._forms is None:
            return found
        with self._seen() as connection:
            link = self._raw(connection)
            for table, within in groupby(sorted(map(_split, places)), key=lambda place: place[0]):
                while some := list(islice(within, PLACES)):
                    at = sql.Literal([f"({block},{item})" for _, block, item in some])
                    where = sql.SQL("tableoid = {} AND ctid = ANY({}::tid[]) ORDER BY ctid").format(int(table), at)
                    rows = self._encoded.rows(link, self._name, where)
                    found |= {_joined(place) for place, (_, row) in zip(some, rows, strict=True) if not row}
        return found

    def _raw(self, connection: psycopg.Connection[Any]) -> PGconn:
        if self._codec:
            raw_text(connection.pgconn, self._name)
        return connection.pgconn

    @contextmanager
    def _seen(self) -> Iterator[psycopg.Connection[Any]]:
        """A transaction that sees the fence; the table's own locks end with it."""
        connection = self._statements
        with translated(self._name):
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(self._snapshot))
            connection.execute("SELECT set_config('mesh.salt', %s, true)", (self._salt.hex(),))
            yield connection
            files = files_of(connection, self._contract)
            connection.execute("ROLLBACK")
        if files != self._files:  # a TRUNCATE is seen by older snapshots, too
            raise Transient(f"{self._contract.table} was truncated or rewritten meanwhile", fix="run it again")

    def _digested(self, forms: Mapping[str, Form]) -> sql.Composable:
        key = concat(tuple(printed.words_of(forms[name] for name in self._contract.key)))
        is_whole = self._table.kind == "p"
        return sql.SQL(_DIGESTED).format(
            key=key,
            row=concat(tuple(printed.words_of(forms.values()))),
            encoding=sql.Literal("SQL_ASCII" if self._codec else "UTF8"),
            place=sql.SQL("tableoid || ' ' || ctid"),
            only=sql.SQL("" if is_whole else "ONLY "),
            table=identifier(self._table.name),
        )

    def close(self) -> None:
        """See FencedTable."""
        with suppress(psycopg.Error):
            self._statements.cancel()
        if self._statements.lock.acquire(timeout=5.0):  # whoever asks in another thread has its answer
            self._statements.lock.release()
        self._reading.close()
        self._statements.close()


def _forms(table: CatalogTable, contract: Contract) -> dict[str, Form] | None:
    columns = {column.name: column for column in table.columns}
    if any(field.column not in columns for field in contract.fields):
        raise _changed(contract)
    forms = {
        field.name: form_of(
            columns[field.column].type, columns[field.column].typmod, field, sql.Identifier(field.column)
        )
        for field in contract.fields
    }
    found = {name: form for name, form in forms.items() if form is not None}
    return found if len(found) == len(forms) else None


def table_of(place: SourcePlace, contract: Contract) -> TablePlace:
    """The feed's place. Raises what keeps it from being compared."""
    feed = contract.feed
    table = place.tables.get(feed)
    if table is not None and table.state == STOPPED:
        raise ContractBroken(feed, f"is stopped: {table.reason}", fix=table.fix)
    if table is None or place.phase != "ready" or table.state == COPYING or not (place.is_emptied and table.is_emptied):
        raise Transient(f"{feed} is being copied", fix="run it again once `mesh status` shows the copy is over")
    if table.state != LIVE:
        raise Misconfigured(feed, "is captured no more", fix="`mesh status` lists the feeds")
    return table


def files_of(connection: psycopg.Connection[Any], contract: Contract) -> str:
    """Which files hold the table's rows now."""
    with translated(contract.source_name):
        table = identifier(contract.table).as_string()
        oid = connection.execute("SELECT to_regclass(%s)::oid::bigint", (table,)).fetchone()
        if oid is None or oid[0] is None:
            raise _changed(contract)
        found = connection.execute(sql.SQL(_FILES).format(sql.Literal(int(oid[0])))).fetchone()
    assert found is not None, "a SELECT without FROM has one row"
    return found[0]


def _changed(contract: Contract) -> ContractBroken:
    fix = f"`mesh status` says what became of it; `mesh follow {contract.feed}` shows what differs"
    return ContractBroken(contract.feed, f"{contract.table} is not what its contract names any more", fix=fix)


def _split(place: str) -> tuple[str, int, int]:
    table, _, at = place.partition(" ")
    block, _, item = at.strip("()").partition(",")
    return table, int(block), int(item)


def _joined(place: tuple[str, int, int]) -> str:
    return f"{place[0]} ({place[1]},{place[2]})"
