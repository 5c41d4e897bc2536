# ruff: noqa: S608 -- names are quoted, values are parameters
"""Statements: how a row change of the living city is said to MariaDB, each kind written once."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from ops.city.department.change import RowChange
from ops.city.department.mariadb.ddl import quoted, table_of
from schemas.contract import Contract


def plain(value: Any) -> Any:
    """A value as the driver takes it: it writes a time as it stands, and the session's zone is UTC."""
    return value.astimezone(UTC).replace(tzinfo=None) if isinstance(value, datetime) and value.tzinfo else value


class MariaDbStatements:
    """Builds the statements of one department, each once: per feed, kind and set of changed columns."""

    def __init__(self, contracts: Iterable[Contract]) -> None:
        self._contracts = {contract.feed: contract for contract in contracts}
        self._known: dict[tuple[str, ...], str] = {}

    def of(self, change: RowChange) -> tuple[str, list[Any]]:
        """The statement that says this, and its parameters."""
        kind = (change.feed, change.op, *change.columns)
        statement = self._known.get(kind)
        if statement is None:
            statement = self._known[kind] = _written(self._contracts[change.feed], change)
        return statement, [plain(value) for value in (*change.values, *change.key)]


def insert(contract: Contract) -> str:
    """The statement that inserts a row of a contract's table, its values in the contract's order."""
    columns = ", ".join(quoted(field.column) for field in contract.fields)
    return f"INSERT INTO {table_of(contract)} ({columns}) VALUES ({', '.join(['%s'] * len(contract.fields))})"


def _written(contract: Contract, change: RowChange) -> str:
    if change.op == "c":
        return insert(contract)
    where = " AND ".join(f"{quoted(contract.by_name[name].column)} = %s" for name in contract.key)
    if change.op == "d":
        return f"DELETE FROM {table_of(contract)} WHERE {where}"
    changes = ", ".join(f"{quoted(contract.by_name[name].column)} = %s" for name in change.columns)
    return f"UPDATE {table_of(contract)} SET {changes}, source_row_version = source_row_version + 1 WHERE {where}"
