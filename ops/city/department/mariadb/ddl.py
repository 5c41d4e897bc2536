"""A department's table on MariaDB from its contract, as `ops/proof/ddl.py` makes it on PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schemas.contract import Contract, Field
from schemas.errors import Misconfigured

_PLAIN = {
    "string": "varchar(255)",
    "int": "int",
    "long": "bigint",
    "boolean": "tinyint(1)",
    "float": "float",
    "double": "double",
    "bytes": "longblob",
}
_LOGICAL = {
    "date": "date",
    "time-micros": "time(6)",
    "timestamp-micros": "timestamp(6)",
    "local-timestamp-micros": "datetime(6)",
    "uuid": "uuid",
}
_TEXT = "CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin"
"""Keys that differ in a capital or a blank are two rows here, as they are in the feed and on PostgreSQL."""


def quoted(name: str) -> str:
    """A name as a statement has it."""
    return "`{}`".format(name.replace("`", "``"))


def table_of(contract: Contract) -> str:
    """The table's quoted name in the database that a connection is of."""
    return quoted(contract.table.split(".", 1)[1])


def column_type(contract: Contract, field: Field) -> str:
    """The type of a contract's column: `mysql.type` if it says so, otherwise producers/RULES.md, MY-14, backwards."""
    branch: Any = field.branches[0]
    about: Mapping[str, Any] = branch if isinstance(branch, Mapping) else {"type": branch}
    logical = about.get("logicalType")
    found = field.properties.get("mysql.type") or _LOGICAL.get(logical or "") or _PLAIN.get(about["type"])
    if logical == "decimal":
        found = f"decimal({about['precision']},{about.get('scale', 0)})"
    if found is None:
        fix = 'add "mysql.type" to it'
        raise Misconfigured(
            f"contract {contract.feed}", f"column {field.name} has a type without a table type", fix=fix
        )
    return found


def create_table(contract: Contract) -> str:
    """The statement that makes the contract's table: columns, key, comments."""
    columns = [
        f"{quoted(field.column)} {column_type(contract, field)} {'NULL' if field.is_nullable else 'NOT NULL'} "
        f"COMMENT {_literal(field.doc)}"
        for field in contract.fields
    ]
    key = ", ".join(quoted(contract.by_name[name].column) for name in contract.key)
    columns.append(f"PRIMARY KEY ({key})")
    return f"CREATE TABLE {table_of(contract)} ({', '.join(columns)}) {_TEXT} COMMENT {_literal(contract.doc)}"


def _literal(text: str) -> str:
    return "'{}'".format(text.replace("\\", "\\\\").replace("'", "''"))
