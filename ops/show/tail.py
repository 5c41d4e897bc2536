"""`mesh tail`: the changes of a feed or of an `out.` topic, a line each, as they come.

Columns tagged PII stay hidden unless asked for (SE-06), and the first line says so. Values come from other
people's databases: control characters are shown, never sent to the terminal (SE-09).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from math import isfinite
from typing import Any

from ops.command.terminal import SHANGHAI
from schemas.change import Batch, Change, Op, Record
from schemas.contract import AvroType, Contract, Field
from schemas.errors import Rejected
from schemas.wire.codec import Codec

HIDDEN = "•••"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECONDS_OF = {"timestamp-micros": 1, "timestamp-millis": 1000}


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What may be seen of a feed's changes, and how its values read. `is_masked`: no value is seen, whatever its tags."""

    contract: Contract
    is_revealed: bool = False
    is_masked: bool = False

    @property
    def hidden(self) -> frozenset[str]:
        """The columns that are not shown."""
        if self.is_revealed:
            return frozenset()
        return frozenset(field.name for field in self.contract.fields if self.is_masked or "PII" in field.tags)

    def row(self, values: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """A row or key as it may be shown: hidden values replaced, dates and decimals as text. A null stays a null."""
        if values is None:
            return None
        hidden = self.hidden
        return {
            name: HIDDEN if name in hidden and value is not None else readable(self.contract.by_name.get(name), value)
            for name, value in values.items()
        }

    def marks(self, change: Change) -> list[dict[str, Any]]:
        """The change's data-quality marks; a mark's canonical text is hidden with its columns."""
        hidden = self.hidden
        return [
            {**mark, "normalised": HIDDEN}
            if mark.get("normalised") and not hidden.isdisjoint(mark["columns"])
            else dict(mark)
            for mark in change.marks
        ]


def readable(field: Field | None, value: Any) -> Any:
    """A raw Avro value (schemas/wire/codec.py) as a person reads it; what its type cannot show stays as it is, bytes as hex."""
    return _readable(field.branches[0] if field else None, value)


def _readable(kind: AvroType, value: Any) -> Any:  # noqa: PLR0911 -- one arm per type
    """The same by the value's type, down into arrays, maps and records; None where no type is known."""
    if isinstance(kind, list):
        kind = next((branch for branch in kind if branch != "null"), None)
    about: Mapping[str, Any] = kind if isinstance(kind, Mapping) else {}
    logical = about.get("logicalType")
    match value:
        case bytes():
            if logical == "decimal":
                return str(Decimal(int.from_bytes(value, "big", signed=True)).scaleb(-about.get("scale", 0)))
            return value.hex()
        case list():
            return [_readable(about.get("items"), item) for item in value]
        case dict():
            types = {entry["name"]: entry["type"] for entry in about.get("fields", ())}
            return {name: _readable(types.get(name, about.get("values")), part) for name, part in value.items()}
        case float() if not isfinite(value):
            return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"  # noqa: PLR0124 - JSON has no such number
        case int() if not isinstance(value, bool):
            try:
                return _moment(logical, value)
            except OverflowError:  # outside the years 1 to 9999: legal in Avro, unknown to Python
                return value
        case _:
            return value


def _moment(kind: str | None, value: int) -> Any:
    if kind == "date":
        return (date(1970, 1, 1) + timedelta(days=value)).isoformat()
    if unit := _MICROSECONDS_OF.get((kind or "").removeprefix("local-")):
        zone = "" if (kind or "").startswith("local-") else "Z"
        return (_EPOCH + timedelta(microseconds=value * unit)).isoformat().replace("+00:00", zone)
    if kind == "time-micros":
        minutes, microseconds = divmod(value, 60_000_000)
        return f"{minutes // 60:02}:{minutes % 60:02}:{microseconds / 1_000_000:09.6f}"
    return value


def tail(topic: str, batches: Iterable[Batch], codec: Codec, view: View, *, as_json: bool = False) -> Iterator[str]:
    """The lines to print, in the order of `batches`; lines of text start with a headline, JSON lines are objects only.

    A record that cannot be read gets a line that says so; it ends nothing.
    """
    if not as_json:
        yield headline(topic, view)
    for batch in batches:
        for record in batch.records:
            yield _json_line(batch, record, codec, view) if as_json else _text_line(batch, record, codec, view)


def headline(topic: str, view: View) -> str:
    """The first line: the topic, its Chinese name, when its times are, and what is hidden."""
    name = f"{topic} {view.contract.doc}".strip() + ", commits in Asia/Shanghai time"
    if view.is_revealed:
        return f"{name}: personal data is shown (--reveal)"
    hidden = [field.name for field in view.contract.fields if field.name in view.hidden]
    return f"{name}: hidden as PII: {', '.join(hidden)}; --reveal shows them" if hidden else f"{name}: no PII columns"


def _json_line(batch: Batch, record: Record, codec: Codec, view: View) -> str:
    line: dict[str, Any] = {"topic": batch.topic, "partition": batch.partition, "offset": record.offset}
    try:
        change = codec.change(view.contract.feed, record)
        if change is None:
            line |= {"op": "tombstone", "key": view.row(codec.decode(record.key)) if record.key else None}
        else:
            line |= {
                "op": change.op.value,
                "key": view.row(change.key),
                "before": view.row(change.before),
                "after": view.row(change.after),
                "position": str(change.position),
                "committed_at": _committed_at(change),
                "transaction": change.transaction,
                "unchanged": list(change.unchanged),
                "marks": view.marks(change),
                "headers": dict(change.headers),
            }
    except Rejected as error:
        line["unreadable"] = error.reason
    text = json.dumps(line, ensure_ascii=False, default=str)
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


def _text_line(batch: Batch, record: Record, codec: Codec, view: View) -> str:
    place = f"p{batch.partition}@{record.offset}"
    try:
        change = codec.change(view.contract.feed, record)
        if change is None:
            key = view.row(codec.decode(record.key)) if record.key else None
            return f"{'':12} {place:<10} {'tombstone':<9} {_pairs(key or {})}"
    except Rejected as error:
        return f"{'':12} {place:<10} cannot be read: {error.reason}"
    reason = change.headers.get("reason")
    codes = [mark["code"] for mark in change.marks]
    parts = [
        f"{_time(change)} {place:<10} {_VERBS[change.op]:<9} {_pairs(view.row(change.key) or {})}",
        _what_changed(change, view),
        f"({shown(reason)})" if reason else "",
        f"[{', '.join(codes)}]" if codes else "",
    ]
    return "  ".join(part for part in parts if part)


_VERBS = {Op.CREATE: "insert", Op.UPDATE: "update", Op.DELETE: "delete", Op.READ: "snapshot", Op.TRUNCATE: "truncate"}


def _what_changed(change: Change, view: View) -> str:
    before, after = view.row(change.before) or {}, view.row(change.after) or {}
    if change.op is Op.UPDATE and change.before and change.after:
        # Compared as they are, shown as they may be: that a hidden column changed is seen, its value is not.
        names = [
            name for name in after if change.before.get(name) != change.after[name] and name not in change.unchanged
        ]
        return ", ".join(f"{name}: {shown(before.get(name))} → {shown(after[name])}" for name in names) or "same values"
    if change.op is Op.DELETE:
        return ""
    return _pairs({name: value for name, value in after.items() if name not in change.key and value is not None})


def _pairs(values: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={shown(value)}" for name, value in values.items())


def shown(value: Any) -> str:
    """A value on a terminal; control characters are shown, never sent."""
    if value is None:
        return "∅"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def _time(change: Change) -> str:
    """When the change was committed, as people here read it."""
    moment = _EPOCH + timedelta(milliseconds=change.committed_at_ms)
    return moment.astimezone(SHANGHAI).strftime("%H:%M:%S.%f")[:-3]


def _committed_at(change: Change) -> str:
    moment = _EPOCH + timedelta(milliseconds=change.committed_at_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
