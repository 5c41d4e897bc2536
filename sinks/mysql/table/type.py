"""Types: which type of MariaDB and MySQL a column has, and which others it may have where the department made or altered it.

| Avro                               | column            | key column              |
|------------------------------------|-------------------|-------------------------|
| boolean                            | TINYINT(1)        | the same                |
| int, long                          | INT, BIGINT       | the same                |
| float, double                      | DOUBLE            | the same                |
| decimal                            | DECIMAL(p,s); text of digits beyond 65 digits or 30 decimals | the same |
| date, time-*                       | DATE, TIME(6)     | the same                |
| timestamp-* (UTC), local-timestamp-* | DATETIME(6)     | the same                |
| uuid                               | CHAR(36)          | the same                |
| string, enum                       | LONGTEXT          | VARCHAR, up to 768 characters |
| bytes, fixed                       | LONGBLOB          | VARBINARY               |
| array, map, record                 | JSON              | VARCHAR                 |

A FLOAT would be printed with six of its digits. What a type cannot hold (infinity, a year before 1, NaN) is refused, and the change
is a dead letter, unless the column is text: text holds every value, as its source prints it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from sinks.row import WireColumn

KEY_BYTES_MAX = 3_072
"""What InnoDB takes as the columns of one index."""
KEY_CHARACTERS_MAX = 768
_UTF8_BYTES = 4
DIGITS_MAX, DECIMALS_MAX = 65, 30
TEXT, BLOB, JSON = "longtext", "longblob", "json"

_SIMPLE = {
    "boolean": "tinyint(1)",
    "int": "int",
    "long": "bigint",
    "float": "double",
    "double": "double",
    "string": TEXT,
    "enum": TEXT,
    "bytes": BLOB,
    "fixed": BLOB,
}
_LOGICAL = {
    "date": "date",
    "time-millis": "time(6)",
    "time-micros": "time(6)",
    "timestamp-millis": "datetime(6)",
    "timestamp-micros": "datetime(6)",
    "local-timestamp-millis": "datetime(6)",
    "local-timestamp-micros": "datetime(6)",
    "uuid": "char(36)",
}
_KEY_BYTES = {
    "tinyint(1)": 1,
    "int": 4,
    "bigint": 8,
    "double": 8,
    "date": 3,
    "time(6)": 6,
    "datetime(6)": 8,
    "char(36)": 36 * _UTF8_BYTES,
}
_TEXTS = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "json", "uuid", "inet6", "inet4"})
_BLOBS = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"})
_DIGITS_OF_DISPLAY = re.compile(r"^((?:small|medium|big)?int)\(\d+\)")
_WIDER = {"int": frozenset({"int", "bigint"}), "tinyint(1)": frozenset({"tinyint(1)", "smallint", "int", "bigint"})}


def sql_type(column: WireColumn) -> str:
    """The type of a column that is no key, as the servers print it."""
    kind = column.kind
    if isinstance(kind, Mapping):
        logical = kind.get("logicalType")
        if logical == "decimal":
            digits, decimals = int(kind["precision"]), int(kind.get("scale", 0))
            return f"decimal({digits},{decimals})" if digits <= DIGITS_MAX and decimals <= DECIMALS_MAX else TEXT
        if logical in _LOGICAL:
            return _LOGICAL[logical]
    return _SIMPLE.get(column.type_name, JSON)


def key_types(key: Sequence[WireColumn]) -> Mapping[str, str]:
    """The types of a primary key's columns, by name: texts share what the others leave of an index."""
    found = {column.name: sql_type(column) for column in key}
    free = KEY_BYTES_MAX - sum(_key_bytes(kind) for kind in found.values())
    shared = {name for name, kind in found.items() if kind in {TEXT, BLOB, JSON}}
    if not shared:
        return found
    share = max(0, free) // len(shared)
    characters = min(KEY_CHARACTERS_MAX, share // _UTF8_BYTES)
    return {
        name: kind if name not in shared else f"varbinary({share})" if kind == BLOB else f"varchar({characters})"
        for name, kind in found.items()
    }


def _key_bytes(kind: str) -> int:
    if kind.startswith("decimal"):
        return 4 * (DIGITS_MAX // 9 + 1)
    return _KEY_BYTES.get(kind, 0)


def printed(kind: str) -> str:
    """A type as information_schema has it, without what only says how a number is shown."""
    return _DIGITS_OF_DISPLAY.sub(r"\1", kind.lower())


def is_text(kind: str) -> bool:
    """Whether a column of this type holds the text of any value."""
    return kind.partition("(")[0] in _TEXTS - {"uuid", "inet6", "inet4"}


def is_blob(kind: str) -> bool:
    """Whether it holds bytes."""
    return kind.partition("(")[0] in _BLOBS


def does_fit(wanted: str, found: str) -> bool:
    """Whether an existing column may take the contract's values: the same type, a wider one, or a department's own kind of text."""
    if wanted == found or found in _WIDER.get(wanted, ()):
        return True
    base = found.partition("(")[0]
    if wanted == BLOB or wanted.startswith("varbinary"):
        return base in _BLOBS
    if wanted == TEXT or wanted.startswith(("varchar", "char")):
        return base in _TEXTS
    return base in {"text", "mediumtext", "longtext", "varchar", JSON} and (wanted != JSON or base != "varchar")
