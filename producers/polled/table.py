"""A polled table as its database describes it, and the questions it is asked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Column, MetaData, Select, Table, and_, inspect, or_, select, type_coerce, types
from sqlalchemy.engine import Connection
from sqlalchemy.exc import NoSuchTableError, SQLAlchemyError
from sqlalchemy.sql.elements import ColumnElement

from producers.polled.options import PolledOptions
from schemas.contract import Contract
from schemas.errors import ContractBroken

PAGE_ROWS = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """How far a table is read: the newest value of its updated column. `value` None: nothing yet."""

    value: Any = None

    def to_json(self) -> Any:
        """For the disk."""
        if isinstance(self.value, Decimal):
            return {"number": str(self.value)}
        return {"at": self.value.isoformat()} if isinstance(self.value, date) else self.value

    @classmethod
    def from_json(cls, value: Any) -> Cursor:
        """Read it back."""
        if not isinstance(value, dict):
            return cls(value=value)
        text = str(value.get("at", ""))
        if not text:
            return cls(value=Decimal(value["number"]))
        return cls(value=date.fromisoformat(text) if len(text) == len("2026-11-30") else datetime.fromisoformat(text))

    def begin(self, options: PolledOptions) -> Any:
        """From where on the next poll reads: rows that were committed late are behind the newest one (PT-01)."""
        if isinstance(self.value, date):
            return self.value - timedelta(seconds=options.overlap_seconds)
        return self.value - options.overlap_numbers


class PolledTable:
    """One table under one contract. Raises ContractBroken where the table has not what the contract names (PT-10)."""

    def __init__(self, connection: Connection, contract: Contract, updated_column: str) -> None:
        self.contract = contract
        schema, _, name = contract.table.rpartition(".")
        try:
            self.table = table_of(connection, schema, name)
        except NoSuchTableError:
            fix = "let the account read it, or correct gov.table"
            raise ContractBroken(contract.feed, f"there is no table {contract.table}", fix=fix) from None
        columns = self.table.columns
        if missing := [field.column for field in contract.fields if field.column not in columns]:
            fix = f"name them back, or onboard a contract without them: {', '.join(missing)}"
            raise ContractBroken(contract.feed, f"its table has no {', '.join(missing)}", fix=fix)
        plain = [_plain(columns[field.column], connection) for field in contract.fields]
        self._columns = [column.label(f"c{number}") for number, column in enumerate(plain)]
        self.names = [field.name for field in contract.fields]
        self.key: list[Column[Any]] = [columns[contract.by_name[name].column] for name in contract.key]
        self.updated: Column[Any] | None = columns.get(updated_column) if updated_column else None
        # SQLite compares times as the texts they are, and SQLAlchemy writes them otherwise than departments do.
        self._is_text = connection.dialect.name == "sqlite"
        order = [self.updated, *self.key] if self.updated is not None else []
        self._order = [_plain(column, connection) for column in order]

    @staticmethod
    def _as_text(begin: Any) -> Any:
        return begin.isoformat(sep=" ") if isinstance(begin, datetime) else begin

    def whole(self) -> Select[Any]:
        """All rows, each with its updated column, where there is one."""
        return select(*self._columns, *(column.label(f"o{at}") for at, column in enumerate(self._order[:1])))

    def page(self, begin: Any, after: Sequence[Any] | None) -> Select[Any]:
        """A page of the rows since `begin`, behind a row's updated column and key: rows with one time are told apart (PT-02)."""
        assert self.updated is not None, "a table with a cursor"
        order = self._order
        where: ColumnElement[bool] = order[0] >= (self._as_text(begin) if self._is_text else begin)
        if after is not None:
            where = and_(order[0] >= after[0], _behind(order, after))  # the first half is what an index is for
        extra = [column.label(f"o{number}") for number, column in enumerate(order)]
        return select(*self._columns, *extra).where(where).order_by(*order).limit(PAGE_ROWS)

    def is_ordered(self) -> bool:
        """Whether the updated column is of a type that has an order which grows: a time or a number."""
        ordered = types.DateTime | types.Date | types.Numeric | types.Integer
        return self.updated is not None and isinstance(self.updated.type, ordered)

    def has_key(self, connection: Connection) -> bool | None:
        """Whether the database itself keeps the contract's key unique; None where its dialect does not say."""
        key, keys = {column.name for column in self.key}, keys_of(connection, self.table)
        return None if keys is None else key in keys

    def has_index(self, connection: Connection) -> bool | None:
        """Whether an index begins with the updated column; None where its dialect does not say."""
        assert self.updated is not None, "a table with a cursor"
        try:
            look, where = inspect(connection), (self.table.name, self.table.schema)
            first = look.get_pk_constraint(*where)["constrained_columns"][:1]
            found = [first, *(index["column_names"][:1] for index in look.get_indexes(*where))]
        except (SQLAlchemyError, NotImplementedError):
            connection.rollback()
            return None
        return [self.updated.name] in found


def table_of(connection: Connection, schema: str, name: str) -> Table:
    """A table with the columns that the database says it has. Raises NoSuchTableError."""
    where = schema_of(connection, schema)
    found = inspect(connection).get_columns(name, where)
    if not found:
        raise NoSuchTableError(name)
    columns = [
        Column(column["name"], column["type"], nullable=column["nullable"], comment=column.get("comment"))
        for column in found
    ]
    return Table(name, MetaData(), *columns, schema=where)


def keys_of(connection: Connection, table: Table) -> list[set[str]] | None:
    """The sets of columns that are unique, the primary key before the others; None where the dialect does not say."""
    look, where = inspect(connection), (table.name, table.schema)
    try:
        keys = [set(look.get_pk_constraint(*where)["constrained_columns"])]
        keys += [set(unique["column_names"]) for unique in look.get_unique_constraints(*where)]
        keys += [{str(name) for name in index["column_names"]} for index in look.get_indexes(*where) if index["unique"]]
    except (SQLAlchemyError, NotImplementedError):
        connection.rollback()
        return None
    return keys


def schema_of(connection: Connection, schema: str) -> str | None:
    """The schema as SQLAlchemy is to name it; None for the database's own default."""
    return None if schema in {"", inspect(connection).default_schema_name} else schema


def _plain(column: Column[Any], connection: Connection) -> ColumnElement[Any]:
    """The column as its driver gives it, where SQLAlchemy would round a number to its scale, or stop at a text that is no time."""
    is_rounded = isinstance(column.type, types.Numeric) and not connection.dialect.supports_native_decimal
    return type_coerce(column, types.NullType()) if is_rounded or connection.dialect.name == "sqlite" else column


def _behind(order: Sequence[ColumnElement[Any]], after: Sequence[Any]) -> ColumnElement[bool]:
    """(a, b, c) > (x, y, z), spelled out: not every database compares rows."""
    return or_(
        *(
            and_(*(order[i] == after[i] for i in range(place)), order[place] > after[place])
            for place in range(len(order))
        )
    )


def token_of(feed: str, number: int, gone: int) -> str:
    """By what a person accepts that so many rows are gone."""
    return hashlib.sha256(f"{feed} {number} {gone}".encode()).hexdigest()[:12]
