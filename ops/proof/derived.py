"""Derived: the rows that stand in a flow's feed, as a database would give them, for the comparison (compare.py).

A table of the mesh's own making has no other place to be read from, so the feed itself is the source here: decoded whole,
folded by key, the last record counting, as the log has it. Not by position: so that a flow whose positions went back is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from schemas.change import Batch
from schemas.contract import AvroType, Contract
from schemas.wire.codec import Codec

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MIDNIGHT = datetime(1970, 1, 1)  # noqa: DTZ001 - for what has no zone
_FIRST_DAY = date(1970, 1, 1)


def standing(contract: Contract, batches: Iterable[Batch], codec: Codec) -> list[dict[str, Any]]:
    """The rows that are there after all records of the feed, column to value. Raises Rejected for one that cannot be read."""
    newest: dict[bytes, bytes | None] = {}
    for batch in batches:
        newest |= {record.key or b"": record.value for record in batch.records}
    read = {field.name: _reader(field.branches[0]) for field in contract.fields}
    rows: list[dict[str, Any]] = []
    for value in newest.values():
        row = codec.decode(value)["after"] if value is not None else None
        if row is not None:
            rows.append({name: None if row[name] is None else read[name](row[name]) for name in read})
    return rows


def _reader(kind: AvroType) -> Callable[[Any], Any]:  # noqa: C901, PLR0911 - one line per type
    """From a raw Avro value that is not null to what a database driver gives for it."""
    if isinstance(kind, list):
        return _nullable(_reader(next(branch for branch in kind if branch != "null")))
    if not isinstance(kind, Mapping):
        return lambda value: value
    match kind.get("logicalType") or kind["type"]:
        case "decimal":
            scale = kind.get("scale", 0)
            return lambda raw: Decimal(int.from_bytes(raw, "big", signed=True)).scaleb(-scale)
        case "date":
            return lambda days: _FIRST_DAY + timedelta(days=days)
        case "timestamp-micros":
            return lambda micros: _EPOCH + timedelta(microseconds=micros)
        case "local-timestamp-micros":
            return lambda micros: _MIDNIGHT + timedelta(microseconds=micros)
        case "time-micros":
            return lambda micros: (_MIDNIGHT + timedelta(microseconds=micros)).time()
        case "array":
            item = _nullable(_reader(kind["items"]))
            return lambda values: [item(value) for value in values]
        case "map":
            inner = _nullable(_reader(kind["values"]))
            return lambda values: {name: inner(value) for name, value in values.items()}
        case "record":
            fields = {field["name"]: _nullable(_reader(field["type"])) for field in kind["fields"]}
            return lambda values: {name: read(values[name]) for name, read in fields.items()}
        case _:
            return lambda value: value


def _nullable(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else read(value)
