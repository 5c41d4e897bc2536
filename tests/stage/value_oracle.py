"""PostgreSQL as the oracle of its own values: one row through the log and through a copy, and what the database says of it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import fastavro
import psycopg
from hypothesis import strategies as st
from psycopg import sql

from producers.postgresql.link.catalog import SourceTypes, tables
from producers.postgresql.link.link import connect
from producers.postgresql.stream.pgoutput import FIRST_COLUMN, HEADER, INSERT
from producers.postgresql.value.transcode import Transcoder
from producers.postgresql.value.tuple import PADDING, TupleColumn
from schemas.contract import wire_fields
from schemas.wire.codec import parse_raw
from tests.stage.capturing import contract


def literal(text: str) -> str:
    return sql.Literal(text).as_string(None)


def texts(**limits: Any) -> st.SearchStrategy[str]:
    return st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), **limits)


@dataclass(frozen=True)
class Kind:
    """A column: its SQL type, SQL expressions for its values, its typed branch, and the typed value as SQL, if it has one."""

    type: str
    values: st.SearchStrategy[str]
    avro: Any = "string"
    oracle: str | None = None


@dataclass(frozen=True)
class Reading:
    """One row: as its typed contract reads it, as its textual contract does, and as the database prints it."""

    number: int
    typed: Mapping[str, Any]
    textual: Mapping[str, Any]
    printed: Mapping[str, str | None]


class Oracle:
    """The table with every kind of column, a slot on it, and two contracts: typed where possible, and all text."""

    def __init__(self, dsn: str, kinds: Mapping[str, Kind], *prepared: str) -> None:
        self.kinds = kinds
        self.db = connect(dsn, name="oracle")
        self.db.execute("SET synchronous_commit = on")  # the log is read only as far as it is flushed
        for statement in prepared:
            self.run(statement)
        columns = ", ".join(f"{name} {kind.type}" for name, kind in kinds.items())
        self.run(f"CREATE TABLE v (id serial PRIMARY KEY, {columns})")
        self.db.execute("CREATE PUBLICATION v FOR TABLE v")
        self.db.execute("SELECT pg_create_logical_replication_slot('values', 'pgoutput')")
        table = tables(self.db, SourceTypes(self.db), ["public.v"])["public.v"]
        self.columns = [TupleColumn(column.name, column.type) for column in table.columns]
        typed = {
            "id": "int",
            **{name: ["null", k.avro, *(["string"] if k.avro != "string" else [])] for name, k in kinds.items()},
        }
        self.readers = [self.reader(typed), self.reader({"id": "int", **dict.fromkeys(kinds, "string")})]

    def reader(self, fields: Mapping[str, Any]) -> tuple[Transcoder, Any]:
        agreed = contract("a.v", fields)
        schema = parse_raw({"type": "record", "name": "V", "fields": wire_fields(agreed)})
        return Transcoder(agreed, self.columns, 1), schema

    def read(self, row: Mapping[str, str]) -> Reading | None:
        """Insert a row and read it both ways; None when the database does not take it."""
        try:
            number = self.insert(row)
        except psycopg.DataError:  # an interval or a sum out of the type's range: not a value of the database
            return None
        log, copy = self.logged(), self.copied(number)
        rows = []
        for transcoder, schema in self.readers:
            from_log, from_copy = transcoder.row(log, FIRST_COLUMN), transcoder.copied_row(copy, 2)
            assert from_log[:2] == from_copy[:2]
            rows.append(decoded(from_log[0], schema))
        # The output function; a cast may print otherwise, and a row of nulls is not NULL.
        output = "CASE WHEN num_nulls({0}) = 0 THEN format('%s', {0}) END"
        printed = self.says(number, {name: output.format(name) for name in self.kinds})
        return Reading(number, rows[0], rows[1], printed)

    def insert(self, row: Mapping[str, str]) -> int:
        names, values = ", ".join(row), ", ".join(row.values())
        found = self.run(f"INSERT INTO v ({names}) VALUES ({values}) RETURNING id").fetchone()
        assert found is not None
        return found[0]

    def run(self, statement: str) -> psycopg.Cursor[Any]:
        return self.db.execute(statement.encode())

    def close(self) -> None:
        # It may be gone: a test's slots end with it.
        self.run("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = 'values'")
        self.db.close()

    def logged(self) -> bytes:
        options = "'proto_version', '1', 'publication_names', 'v', 'binary', 'true'"
        query = f"SELECT data FROM pg_logical_slot_get_binary_changes('values', NULL, NULL, {options})"
        (message,) = [data for (data,) in self.run(query) if data[0] == INSERT]
        return bytes(HEADER) + message + PADDING

    def copied(self, number: int) -> bytes:
        names = ", ".join(column.name for column in self.columns)
        query = f"COPY (SELECT {names} FROM v WHERE id = {number}) TO STDOUT (FORMAT binary)"
        with self.db.cursor().copy(query.encode()) as copy:
            return b"".join(bytes(data) for data in copy)[19:] + PADDING

    def says(self, number: int, expressions: Mapping[str, str]) -> dict[str, str | None]:
        query = f"SELECT {', '.join(expressions.values())} FROM v WHERE id = {number}"
        row = self.run(query).fetchone()
        assert row is not None
        return dict(zip(expressions, row, strict=True))


def decoded(row: bytes, schema: Any) -> dict[str, Any]:
    body = io.BytesIO(row)
    value: Any = fastavro.schemaless_reader(body, schema, None)
    assert body.tell() == len(row), "every byte belongs to the row"
    return value
