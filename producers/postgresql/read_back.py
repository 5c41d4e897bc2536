"""Rows of a department's table, read back with the driver's own types, so that `mesh verify` can compare a copy with them.

It shares no code with capture but for the names of encodings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import adapt, sql
from psycopg.abc import AdaptContext
from psycopg.types.datetime import DateLoader, TimeLoader, TimestampLoader, TimestamptzLoader
from psycopg.types.string import TextLoader

from producers.postgresql.value.encoding import codec_of
from schemas.contract import Contract
from schemas.errors import Transient

_IS_PARTITIONED = "SELECT FROM pg_class WHERE oid = to_regclass({}) AND relkind = 'p'"
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


def rows(address: str, contract: Contract, text_encoding: str | None = None) -> list[dict[str, Any]]:
    """The rows of the contract's table, column to value.

    Those with text that its encoding does not read are dead letters, and not among them. Raises Transient.
    """
    columns = [sql.Identifier(field.column) for field in contract.fields]
    names = [field.name for field in contract.fields]
    table = sql.Identifier(*contract.table.split(".", 1))
    with reading(address, f"source {contract.source_name}", text_encoding) as connection:
        # A feed has the rows of its table alone, or of all partitions of it: a partitioned table has none of its own.
        asked = sql.SQL(_IS_PARTITIONED).format(table.as_string(None))
        kind = connection.execute(_statement(connection, asked, text_encoding)).fetchone()
        only = sql.SQL("ONLY " if kind is None else "")  # a row of no columns is empty, not None
        query = sql.SQL("SELECT {} FROM {}{}").format(sql.SQL(", ").join(columns), only, table)
        found = connection.execute(_statement(connection, query, text_encoding))
        return [dict(zip(names, values, strict=True)) for values in found if _is_readable(values)]


class _Unreadable(str):
    """Text that its encoding does not read; its row is a dead letter."""

    __slots__ = ()


def _is_readable(value: Any) -> bool:
    """Whether all text in a value was read."""
    return (
        all(_is_readable(each) for each in value)
        if isinstance(value, list | tuple)
        else not isinstance(value, _Unreadable)
    )


@contextmanager
def reading(dsn: str, whose: str, text_encoding: str | None = None) -> Iterator[psycopg.Connection[Any]]:
    """A connection to compare from: plain types as Python has them, all others as the database prints them.

    Where the text is not UTF-8 it is read here, since a server that converts fails at the first value that does not convert;
    `text_encoding` is the source's option. Statements are given as bytes then, see `_statement`. Raises Transient when the database
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


def _statement(connection: psycopg.Connection[Any], query: sql.Composable, text_encoding: str | None) -> bytes:
    """A statement with names as `reading`'s connection takes them."""
    server_encoding = connection.info.parameter_status("server_encoding") or "UTF8"
    return query.as_string(None).encode(codec_of(server_encoding, text_encoding, "the source") or "utf-8")


def _read_by(codec: str) -> type[adapt.Loader]:
    class Read(adapt.Loader):
        def load(self, data: Any) -> str:
            try:
                return bytes(data).decode(codec)
            except UnicodeDecodeError:
                return _Unreadable()

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
