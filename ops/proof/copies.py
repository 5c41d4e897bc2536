"""Copies: what a subscriber holds, read from its own system: tables, file drops, or the log of a webhook's receiver.

Written from what a subscriber is told of each format, not from the sinks' code.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import adapt, sql
from psycopg.abc import AdaptContext
from psycopg.types.datetime import DateLoader, TimeLoader, TimestampLoader, TimestamptzLoader
from psycopg.types.string import TextLoader
from pyarrow import parquet

from ops.proof.csv_rows import csv_rows
from ops.proof.plain import plain
from producers.postgresql.value.encoding import codec_of
from schemas.agreement.grant import Grant, Mask
from schemas.contract import Contract, Field
from schemas.errors import Misconfigured, Transient
from schemas.wire.name import column_name

Key = tuple[Any, ...]
Rows = dict[Key, tuple[Any, ...]]
"""Key values to the values of all granted columns, in the order of `granted`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableCopy:
    """A table in the subscriber's PostgreSQL."""

    dsn: str
    schema: str = "public"
    table: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileCopy:
    """A folder of drops; `format` is jsonl, csv or parquet. `escape_formulas`: text of CSV may have an apostrophe before it."""

    directory: Path
    format: str = "jsonl"
    escape_formulas: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookCopy:
    """What a receiver kept: one request's body a line."""

    log: Path


Copy = TableCopy | FileCopy | WebhookCopy


COLUMNS = "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped"


_AS_VALUES = {"bool", "int2", "int4", "int8", "oid", "float4", "float8", "numeric", "bytea", "uuid"}
_IN_PYTHON: Mapping[str, type[adapt.Loader]] = {
    "date": DateLoader,
    "time": TimeLoader,
    "timestamp": TimestampLoader,
    "timestamptz": TimestamptzLoader,
}
"""What Python has no value for, such as infinity and years before 1, stays the text that the database prints."""
_SETTINGS = {
    # What the role has is not for us: a large table is read for as long as that takes.
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "1",
    "lc_monetary": "C",
}


class Unreadable(str):
    """Text that its encoding does not read; its row is a dead letter."""

    __slots__ = ()


def is_readable(value: Any) -> bool:
    """Whether all text in a value was read."""
    return (
        all(is_readable(each) for each in value)
        if isinstance(value, list | tuple)
        else not isinstance(value, Unreadable)
    )


@contextmanager
def reading(dsn: str, whose: str, text_encoding: str | None = None) -> Iterator[psycopg.Connection[Any]]:
    """A connection to compare from: plain types as Python has them, all others as the database prints them.

    Where the text is not UTF-8 it is read here, since a server that converts fails at the first value that does not convert;
    `text_encoding` is the source's option. Statements are given as bytes then, see `statement`. Raises Transient when the database
    cannot be read; it does not quote a row.
    """
    try:
        with psycopg.connect(dsn, client_encoding="utf8", connect_timeout=10, prepare_threshold=None) as connection:
            server_encoding = connection.info.parameter_status("server_encoding") or "UTF8"
            codec = codec_of(server_encoding, text_encoding, whose)
            text = _read_by(codec) if codec else TextLoader
            if codec:
                connection.execute("SELECT set_config('client_encoding', %s, true)", (server_encoding,))
            # For this transaction, which is all that is read in: a pooler before the database takes no startup options.
            settings = _SETTINGS
            if connection.info.server_version >= 170_000:
                settings = {**settings, "transaction_timeout": "0"}
            for name, value in settings.items():
                connection.execute("SELECT set_config(%s, %s, true)", (name, value))
            for known in connection.adapters.types:
                if known.name in _IN_PYTHON:
                    connection.adapters.register_loader(known.oid, _or_text(_IN_PYTHON[known.name]))
                elif known.name not in _AS_VALUES:
                    connection.adapters.register_loader(known.oid, text)
            if codec:
                connection.adapters.register_loader(0, text)
            yield connection
    except psycopg.Error as error:
        problem = f"its database cannot be read ({type(error).__name__})"
        raise Transient(f"{whose}: {problem}", fix="see that it is up, and that the role may read the table") from error


def statement(connection: psycopg.Connection[Any], query: sql.Composable, text_encoding: str | None) -> bytes:
    """A statement with names as `reading`'s connection takes them."""
    server_encoding = connection.info.parameter_status("server_encoding") or "UTF8"
    return query.as_string(None).encode(codec_of(server_encoding, text_encoding, "the source") or "utf-8")


def _read_by(codec: str) -> type[adapt.Loader]:
    class Read(adapt.Loader):
        def load(self, data: Any) -> str:
            try:
                return bytes(data).decode(codec)
            except UnicodeDecodeError:
                return Unreadable()

    return Read


def _or_text(kind: type[adapt.Loader]) -> type[adapt.Loader]:
    class OrText(TextLoader):
        def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
            super().__init__(oid, context)
            self._loader = kind(oid, context)

        def load(self, data: Any) -> Any:
            try:
                return self._loader.load(data)
            except psycopg.DataError:
                return bytes(data).decode()  # as a string whatever the connection's encoding

    return OrText


def granted(grant: Grant, contract: Contract) -> list[Field]:
    """The columns that the subscriber gets, in contract order: the key, and what is granted and not dropped."""
    return [
        field
        for field in contract.fields
        if field.is_key or (field.name in grant.columns and grant.mask.get(field.name) is not Mask.DROP)
    ]


def held(copy: Copy, grant: Grant, contract: Contract) -> Rows:
    """The rows that the subscriber holds by this grant. Raises Misconfigured for a format that it cannot read, Transient."""
    match copy:
        case TableCopy():
            return _from_table(copy, grant, contract)
        case FileCopy():
            return _folded(_dropped(copy, grant, contract), grant, contract)
        case WebhookCopy():
            return _folded(_received(copy, grant, contract), grant, contract)


def _take(row: Mapping[str, Any], grant: Grant, fields: Iterable[Field]) -> tuple[Any, ...]:
    masks = grant.mask
    return tuple(plain(field, masks.get(field.name, Mask.FULL), row[field.name]) for field in fields)


def _from_table(copy: TableCopy, grant: Grant, contract: Contract) -> Rows:
    fields = granted(grant, contract)
    keys = [place for place, field in enumerate(fields) if field.is_key]
    table = sql.Identifier(copy.schema, copy.table or grant.delivered_as.replace(".", "_"))
    names = [field.name for field in fields]
    rows: Rows = {}
    with reading(copy.dsn, f"subscriber {grant.subscriber}") as connection:
        there = connection.execute(COLUMNS, (table.as_string(connection),)).fetchall()
        if not there:
            return rows  # nothing ever came: the table is made with the first row
        present = {name for (name,) in there}
        # A column comes with its first value; until then the copy has none. A table of before may have the names of the wire.
        called = [plain if (plain := column_name(name)) in present else name for name in names]
        columns = sql.SQL(", ").join(sql.Identifier(name) if name in present else sql.NULL for name in called)
        for values in connection.execute(sql.SQL("SELECT {} FROM {}").format(columns, table)):
            row = _take(dict(zip(names, values, strict=True)), grant, fields)
            rows[tuple(row[place] for place in keys)] = row
    return rows


@dataclass(frozen=True, slots=True)
class _Event:
    token: str
    op: str
    row: Mapping[str, Any]
    unchanged: tuple[str, ...] = ()


def _folded(events: Iterable[_Event], grant: Grant, contract: Contract) -> Rows:
    """The newest state of each key: a greater token is newer, whatever the order of arrival."""
    fields = granted(grant, contract)
    key_fields = [field for field in fields if field.is_key]
    newest: dict[Key, _Event] = {}
    truncated = ""
    for event in events:
        if event.op == "t":
            truncated = max(truncated, event.token)
            continue
        key = _take(event.row, grant, key_fields)
        known = newest.get(key)
        if known is None or known.token < event.token:
            row = event.row
            if event.unchanged and known is not None:
                row = {**row, **{name: known.row[name] for name in event.unchanged if name in known.row}}
            newest[key] = _Event(event.token, event.op, row)
    return {
        key: _take(event.row, grant, fields)
        for key, event in newest.items()
        if event.op != "d" and event.token >= truncated
    }


def _dropped(copy: FileCopy, grant: Grant, contract: Contract) -> Iterator[_Event]:
    name = grant.delivered_as
    for manifest in sorted((copy.directory / name).glob("*.done.json")):  # a file counts once its manifest is there
        path = manifest.with_name(json.loads(manifest.read_text())["file"])
        match copy.format:
            case "jsonl":
                rows: Iterable[Mapping[str, Any]] = _lines(path)
            case "csv":
                fields, escapes = granted(grant, contract), copy.escape_formulas
                rows = csv_rows(path, fields, grant.mask, has_apostrophes=escapes)
            case "parquet":
                rows = parquet.read_table(path).to_pylist()
            case _:
                raise Misconfigured(str(path), f"is {copy.format}", fix="compare drops of kind jsonl, csv or parquet")
        for row in rows:
            yield _Event(row["_mesh_token"], row["_mesh_op"], _by_wire(row, contract))


def _by_wire(row: Mapping[str, Any], contract: Contract) -> Mapping[str, Any]:
    """A row as the contract calls its columns; a subscriber's are called as in the source."""
    names = {column_name(field.name): field.name for field in contract.fields}
    return {names.get(name, name): value for name, value in row.items()}


def _lines(path: Path) -> Iterator[Any]:
    with path.open("rb") as file:  # as bytes: text mode would also break lines where JSON has none
        for line in file:
            yield json.loads(line)


def _received(copy: WebhookCopy, grant: Grant, contract: Contract) -> Iterator[_Event]:
    for body in _lines(copy.log) if copy.log.exists() else ():
        for change in body if isinstance(body, list) else [body]:
            if change["grant_id"] == grant.grant_id:
                row = {**change["key"], **(change["before" if change["op"] == "d" else "after"] or {})}
                unchanged = tuple(_by_wire(dict.fromkeys(change["unchanged"]), contract))
                yield _Event(change["position"], change["op"], _by_wire(row, contract), unchanged)
