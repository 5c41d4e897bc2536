"""Statements: how a row change of the living city is said to PostgreSQL, each kind prepared once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

from psycopg import sql

from ops.city.people.roll import Row
from ops.proof.ddl import table_of
from schemas.contract import Contract

Parameters = Sequence[bytes | None]


class Statement(NamedTuple):
    """One prepared statement. `op` is Debezium's letter for what it does to a row of `feed`."""

    name: bytes
    text: bytes
    feed: str
    op: str


class RowChange(NamedTuple):
    """A statement with its parameters, in PostgreSQL's text form."""

    statement: Statement
    parameters: Parameters


def encode(value: Any) -> bytes | None:  # noqa: PLR0911 - one line for each type a Row may hold
    """The text form that PostgreSQL reads as the column's type; None is NULL."""
    if value is None:
        return None
    kind = type(value)
    if kind is str:
        return value.encode()
    if kind is bool:
        return b"t" if value else b"f"
    if kind is date:
        return value.isoformat().encode()
    if kind is datetime:
        return value.isoformat(" ").encode()
    if kind is bytes:
        return b"\\x" + value.hex().encode()
    if kind is list:
        quoted = ('"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"' for item in value)
        return ("{" + ",".join(quoted) + "}").encode()
    return str(value).encode()


class Statements:
    """Builds the statements of one city, each once: per feed, kind and set of changed columns."""

    def __init__(self, contracts: Iterable[Contract]) -> None:
        self._contracts = {contract.feed: contract for contract in contracts}
        self._known: dict[tuple[str, ...], Statement] = {}

    def insert(self, feed: str, row: Row) -> RowChange:
        """Insert the whole row."""
        statement = self._known.get((feed, "c")) or self._build_insert(feed)
        return RowChange(statement, [encode(value) for value in row.values()])

    def update(self, feed: str, key: Sequence[Any], changes: Row) -> RowChange:
        """Set the changed columns and count the row's version up, where the key is as given."""
        statement = self._known.get((feed, "u", *changes)) or self._build_update(feed, tuple(changes))
        return RowChange(statement, [encode(value) for value in (*changes.values(), *key)])

    def delete(self, feed: str, key: Sequence[Any]) -> RowChange:
        """Delete the row with the key."""
        statement = self._known.get((feed, "d")) or self._build_delete(feed)
        return RowChange(statement, [encode(value) for value in key])

    def _keep(self, kind: tuple[str, ...], text: sql.Composed) -> Statement:
        name = f"s{len(self._known)}".encode()
        statement = self._known[kind] = Statement(name, text.as_string(None).encode(), kind[0], kind[1])
        return statement

    def _build_insert(self, feed: str) -> Statement:
        fields = self._contracts[feed].fields
        columns = sql.SQL(", ").join(sql.Identifier(field.column) for field in fields)
        text = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            table_of(self._contracts[feed]), columns, sql.SQL(", ").join(map(_parameter, range(1, len(fields) + 1)))
        )
        return self._keep((feed, "c"), text)

    def _build_update(self, feed: str, names: tuple[str, ...]) -> Statement:
        contract = self._contracts[feed]
        changes = sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(contract.by_name[name].column), _parameter(place))
            for place, name in enumerate(names, 1)
        )
        text = sql.SQL("UPDATE {} SET {}, source_row_version = source_row_version + 1 WHERE {}").format(
            table_of(contract), changes, _where(contract, len(names) + 1)
        )
        return self._keep((feed, "u", *names), text)

    def _build_delete(self, feed: str) -> Statement:
        contract = self._contracts[feed]
        text = sql.SQL("DELETE FROM {} WHERE {}").format(table_of(contract), _where(contract, 1))
        return self._keep((feed, "d"), text)


def _parameter(place: int) -> sql.SQL:
    return sql.SQL(f"${place}")  # type: ignore[arg-type]  # a dollar sign and an integer


def _where(contract: Contract, first: int) -> sql.Composed:
    return sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier(contract.by_name[name].column), _parameter(place))
        for place, name in enumerate(contract.key, first)
    )
