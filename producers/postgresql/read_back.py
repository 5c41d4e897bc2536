"""Rows of a department's table, read back with the driver's own types, so that `mesh verify` can compare a copy with them.

It shares no code with capture but for the names of encodings.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import adapt, sql

from producers.postgresql.value.encoding import codec_of
from schemas.contract import Contract
from schemas.plain_reading import plain_reading

_IS_PARTITIONED = "SELECT FROM pg_class WHERE oid = to_regclass({}) AND relkind = 'p'"


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
    """A connection to compare from (schemas/plain_reading.py).

    Where the text is not UTF-8 it is read here, since a server that converts fails at the first value that does not convert;
    `text_encoding` is the source's option. Statements are given as bytes then, see `_statement`.
    """

    def text_of(connection: psycopg.Connection[Any]) -> type[adapt.Loader] | None:
        server_encoding = connection.info.parameter_status("server_encoding") or "UTF8"
        codec = codec_of(server_encoding, text_encoding, whose)
        if not codec:
            return None
        connection.execute("SELECT set_config('client_encoding', %s, true)", (server_encoding,))
        return _read_by(codec)

    with plain_reading(dsn, whose, text_of) as connection:
        yield connection


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
