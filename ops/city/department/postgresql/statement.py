"""Statements: how a row change of the living city is said to PostgreSQL, each kind prepared once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

from psycopg import sql

from ops.city.department.change import RowChange
from ops.proof.ddl import table_of
from schemas.contract import Contract

Parameters = Sequence[bytes | None]


class Statement(NamedTuple):
    """One prepared statement, and what it does: see RowChange."""

    name: bytes
    text: bytes
    feed: str
    op: str


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
    """Builds the statements of one department, each once: per feed, kind and set of changed columns."""

    def __init__(self, contracts: Iterable[Contract]) -> None:
        self._contracts = {contract.feed: contract for contract in contracts}
        self._known: dict[tuple[str, ...], Statement] = {}

    def of(self, change: RowChange) -> tuple[Statement, Parameters]:
        """The statement that says this, and its parameters in PostgreSQL's text form."""
        known = self._known.get((change.feed, change.op, *change.columns))
        statement = known or self._build(change.feed, change.op, change.columns)
        return statement, [encode(value) for value in (*change.values, *change.key)]

    def _build(self, feed: str, op: str, columns: tuple[str, ...]) -> Statement:
        contract = self._contracts[feed]
        if op == "c":
            text = _insert(contract)
        elif op == "u":
            text = _update(contract, columns)
        else:
            text = sql.SQL("DELETE FROM {} WHERE {}").format(table_of(contract), _where(contract, 1))
        name = f"s{len(self._known)}".encode()
        statement = self._known[feed, op, *columns] = Statement(name, text.as_string(None).encode(), feed, op)
        return statement


def _insert(contract: Contract) -> sql.Composed:
    columns = sql.SQL(", ").join(sql.Identifier(field.column) for field in contract.fields)
    parameters = sql.SQL(", ").join(map(_parameter, range(1, len(contract.fields) + 1)))
    return sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(table_of(contract), columns, parameters)


def _update(contract: Contract, names: tuple[str, ...]) -> sql.Composed:
    changes = sql.SQL(", ").join(
        sql.SQL("{} = {}").format(sql.Identifier(contract.by_name[name].column), _parameter(place))
        for place, name in enumerate(names, 1)
    )
    return sql.SQL("UPDATE {} SET {}, source_row_version = source_row_version + 1 WHERE {}").format(
        table_of(contract), changes, _where(contract, len(names) + 1)
    )


def _parameter(place: int) -> sql.SQL:
    return sql.SQL(f"${place}")  # type: ignore[arg-type]  # a dollar sign and an integer


def _where(contract: Contract, first: int) -> sql.Composed:
    return sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier(contract.by_name[name].column), _parameter(place))
        for place, name in enumerate(contract.key, first)
    )
