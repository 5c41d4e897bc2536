"""JSON Schema of one row, as far as a contract is drafted from it: properties, their types and formats, titles, and the key.

| property | column |
|---|---|
| string; format date, date-time, uuid | string; date, moment, UUID |
| integer; boolean | long; boolean |
| number with `multipleOf` 0.01 and its like; without | decimal of 18 digits before the point; double |
| anything else | left out, with the reason |

JSON Schema has no key: `"x-key": [...]` names it; else a required property does whose name is one of a key's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from schemas.errors import Misconfigured

_FORMATS: Mapping[str, Any] = {
    "date": {"type": "int", "logicalType": "date"},
    "date-time": {"type": "long", "logicalType": "timestamp-micros"},
    "uuid": {"type": "string", "logicalType": "uuid"},
}
_PLAIN = {"string": "string", "integer": "long", "boolean": "boolean", "number": "double"}
_KEY_NAME = re.compile(r"(^|_)(id|no|code|key)$|编号|号码|代码|主键", re.IGNORECASE)
_DIGITS = 18


@dataclass(frozen=True, slots=True)
class SchemaColumn:
    """One property that can be a column; `type` is Avro's."""

    name: str
    type: Any
    doc: str


@dataclass(slots=True, kw_only=True)
class SchemaTable:
    """What the schema says. `is_key_found`: nobody said the key, and a name did."""

    doc: str
    columns: list[SchemaColumn] = field(default_factory=list[SchemaColumn])
    left_out: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    key: Sequence[str] = ()
    is_key_found: bool = False


def read_schema(path: Path) -> SchemaTable:
    """Read one. Raises Misconfigured for what is no JSON Schema of an object with properties."""
    try:
        schema: Any = json.loads(path.read_text("utf-8-sig"), parse_float=Decimal)
    except (OSError, ValueError, RecursionError):
        schema = None
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    if not isinstance(properties, Mapping) or not properties:
        fix = 'write {"type": "object", "properties": {…}, "required": […], "x-key": […]}; rows go into a .jsonl file'
        raise Misconfigured(f"schema {path.name}", "is no JSON Schema of an object with properties", fix=fix)
    table = SchemaTable(doc=_doc(schema))
    for name, told in properties.items():
        kind = _type_of(told)
        if isinstance(kind, _LeftOut):
            table.left_out.append((name, kind.reason))
        else:
            table.columns.append(SchemaColumn(name, kind, _doc(told)))
    names = [column.name for column in table.columns]
    said = [name for name in _list(schema.get("x-key")) if name in names]
    required = [name for name in names if name in _list(schema.get("required"))]
    found = [name for name in required if _KEY_NAME.search(name)][:1]
    table.key, table.is_key_found = said or found, not said
    return table


@dataclass(frozen=True, slots=True)
class _LeftOut:
    reason: str


def _type_of(told: Any) -> Any:
    kinds = [kind for kind in _list(told.get("type")) if kind != "null"] if isinstance(told, Mapping) else []
    if len(kinds) != 1 or kinds[0] not in _PLAIN:
        return _LeftOut("its type is not one of string, integer, number and boolean")
    if kinds[0] == "string":
        return _FORMATS.get(str(told.get("format")), "string")
    step = told.get("multipleOf")
    if kinds[0] == "number" and step is not None:
        scale = -int(Decimal(str(step)).normalize().as_tuple().exponent)
        if 0 <= scale <= _DIGITS:
            return {"type": "bytes", "logicalType": "decimal", "precision": _DIGITS + scale, "scale": scale}
    return _PLAIN[kinds[0]]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _doc(told: Any) -> str:
    text = told.get("title") or told.get("description") or ""
    return text if isinstance(text, str) else ""
