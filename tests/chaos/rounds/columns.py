"""The columns of the rounds' tables: their types everywhere, and how each database is asked for a value as the contract writes it.

The expressions share no code with the hops: the database itself turns a moment into microseconds and a number into text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Key = tuple[Any, ...]
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """`postgres` and `maria` are types in a department's table; `{}` in what is asked stands for the column's name."""

    name: str
    avro: Any
    postgres: str
    maria: str
    postgres_asked: str = "{}"
    maria_asked: str = "{}"


DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}
LOCAL = {"type": "long", "logicalType": "local-timestamp-micros"}
DATE = {"type": "int", "logicalType": "date"}
KEY = ("district", "id")
SPARE = "spare"
"""Granted to nobody, so that a department may drop and rename it."""
COLUMNS = (
    Column("district", "string", "text", "varchar(20) COLLATE utf8mb4_bin"),
    Column("id", "long", "bigint", "bigint"),
    Column("name", "string", "text", "varchar(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"),
    Column("alias", "string", "text", "varchar(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"),
    Column("note", "string", "text", "longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"),
    Column("amount", DECIMAL, "numeric(12,2)", "decimal(12,2)", "{}::text", "CAST({} AS CHAR)"),
    Column("born", DATE, "date", "date", "{} - date '1970-01-01'", "DATEDIFF({},'1970-01-01')"),
    Column(
        "seen",
        LOCAL,
        "timestamp",
        "datetime(6)",
        "(extract(epoch FROM {}) * 1000000)::bigint",
        "TIMESTAMPDIFF(MICROSECOND,'1970-01-01',{})",
    ),
    Column("ok", "boolean", "boolean", "bit(1)", "{}", "{} + 0"),
    Column("raw", "bytes", "bytea", "varbinary(300)"),
    Column(SPARE, "string", "text", "varchar(50)"),
)
GRANTED = tuple(column.name for column in COLUMNS if column.name not in {*KEY, SPARE})
COMPARED = tuple(column for column in COLUMNS if column.name != SPARE)
VALUES = GRANTED


def fields() -> dict[str, Any]:
    return {column.name: column.avro for column in COLUMNS}


def definition(kind: str) -> str:
    listed = [f"{each.name} {each.postgres if kind == 'postgres' else each.maria}" for each in COLUMNS]
    listed = [f"{each} NOT NULL" if each.split()[0] in KEY else each for each in listed]
    return f"({', '.join(listed)}, PRIMARY KEY ({', '.join(KEY)}))"


def asked(kind: str, table: str) -> str:
    """The query for all rows, each value as the contract has it."""
    expressions = [
        (each.postgres_asked if kind == "postgres" else each.maria_asked).format(each.name) for each in COMPARED
    ]
    return f"SELECT {', '.join(expressions)} FROM {table}"


def row_of(found: Sequence[Any]) -> dict[str, Any]:
    """A row of that query."""
    row = dict(zip((each.name for each in COMPARED), found, strict=True))
    if row["ok"] is not None:
        row["ok"] = bool(row["ok"])
    if row["raw"] is not None:
        row["raw"] = bytes(row["raw"])
    if row["amount"] is not None:
        row["amount"] = unscaled(row["amount"])
    return row


def unscaled(text: str) -> bytes:
    """A decimal of two digits behind the point as Avro writes it: the shortest big-endian bytes of its hundredths."""
    number = int(text.replace(".", ""))
    return number.to_bytes((number + (number < 0)).bit_length() // 8 + 1, "big", signed=True)


def key_of(row: Row) -> Key:
    return tuple(row[name] for name in KEY)
