"""A department's table from its contract: one function, so that contract and table cannot drift apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from psycopg import sql

from schemas.contract import AvroType, Contract, Field
from schemas.errors import Misconfigured

_PLAIN = {
    "string": "text",
    "int": "integer",
    "long": "bigint",
    "boolean": "boolean",
    "float": "real",
    "double": "double precision",
    "bytes": "bytea",
}
_LOGICAL = {
    "date": "date",
    "time-micros": "time",
    "timestamp-micros": "timestamptz",
    "local-timestamp-micros": "timestamp",
    "uuid": "uuid",
}


def _type_of(branch: AvroType) -> str | None:
    if isinstance(branch, str):
        return _PLAIN.get(branch)
    if not isinstance(branch, Mapping):
        return None
    logical = branch.get("logicalType")
    if logical == "decimal":
        return f"numeric({branch['precision']},{branch.get('scale', 0)})"
    if branch.get("type") == "array":
        items: Any = branch["items"]
        element = _type_of(next((item for item in items if item != "null"), None) if isinstance(items, list) else items)
        return f"{element}[]" if element else None
    return _LOGICAL.get(logical) if logical else _type_of(branch["type"])


def column_type(contract: Contract, field: Field) -> str:
    """The PostgreSQL type of a contract's column: `pg.type` if it says so, otherwise producers/RULES.md, Values, backwards."""
    found = field.properties.get("pg.type") or _type_of(field.branches[0])
    if found is None:
        raise Misconfigured(
            f"contract {contract.feed}",
            f"column {field.name} has a type without a table type",
            fix='add "pg.type" to it',
        )
    return found


def table_of(contract: Contract) -> sql.Identifier:
    """The table's quoted name, with its schema."""
    return sql.Identifier(*contract.table.split(".", 1))


def create_table(contract: Contract) -> Iterator[sql.Composed]:
    """The statements that make the contract's table: columns, key, comments, and the replica identity that scope exit needs."""
    table = table_of(contract)
    columns = [
        sql.SQL("{} {}{}").format(
            sql.Identifier(field.column),
            sql.SQL(column_type(contract, field)),  # type: ignore[arg-type]  # of our own making, or reviewed in the contract
            sql.SQL("" if field.is_nullable else " NOT NULL"),
        )
        for field in contract.fields
    ]
    key = sql.SQL(", ").join(sql.Identifier(contract.by_name[name].column) for name in contract.key)
    yield sql.SQL("CREATE TABLE {} ({}, PRIMARY KEY ({}))").format(table, sql.SQL(", ").join(columns), key)
    yield sql.SQL("ALTER TABLE {} REPLICA IDENTITY FULL").format(table)
    yield sql.SQL("COMMENT ON TABLE {} IS {}").format(table, contract.doc)
    for field in contract.fields:
        if field.doc:
            yield sql.SQL("COMMENT ON COLUMN {}.{} IS {}").format(table, sql.Identifier(field.column), field.doc)
