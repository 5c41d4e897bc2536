"""Row key: the key of one row as a person gives it, `ent_id=E1` or JSON, and as the wire has it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from schemas.contract import AvroType, Contract, Field
from schemas.errors import Misconfigured

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def key_given(contract: Contract, given: Sequence[str]) -> dict[str, Any]:
    """The key, raw Avro values by column. Raises Misconfigured where it is none of this feed, naming no value."""
    example = " ".join(f"--key {name}=<value>" for name in contract.key)
    told: dict[str, Any] = {}
    for text in given:
        if text.lstrip().startswith("{"):
            told |= _object(contract, text, example)
        elif "=" in text:
            name, _, value = text.partition("=")
            told[name.strip()] = value
        elif len(contract.key) == 1:
            told[contract.key[0]] = text
        else:
            raise Misconfigured("--key", f"names no column of {contract.feed}", fix=f"write `{example}`")
    if set(told) != set(contract.key):
        problem = f"the key of {contract.feed} is {', '.join(contract.key)}"
        raise Misconfigured("--key", problem, fix=f"write {example}, or all of it as JSON")
    return {name: value_given(contract.by_name[name], told[name]) for name in contract.key}


def _object(contract: Contract, text: str, example: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text, parse_float=Decimal)
    except ValueError:
        raise Misconfigured("--key", "is no JSON", fix=f"write {example}, or an object in single quotes") from None
    if not isinstance(found, dict):
        raise Misconfigured("--key", f"is no object of the columns {', '.join(contract.key)}", fix=f"write {example}")
    return found


def value_given(field: Field, value: Any, setting: str = "--key") -> Any:
    """A value as a person gives it, raw Avro. Raises Misconfigured, naming no value."""
    branch = field.branches[0]
    kind = branch.get("type") if isinstance(branch, Mapping) else branch
    read = _LOGICAL.get(field.logical_type or "") or _PLAIN.get(str(kind))
    if read is None:
        fix = "text, whole numbers, amounts, dates and times can be"
        raise Misconfigured(setting, f"{field.name} is of a type that cannot be written here", fix=fix)
    try:
        return read(value, branch)
    except (ValueError, TypeError, KeyError, ArithmeticError):
        fix = "write it as `mesh tail` shows it; a time with its zone"
        raise Misconfigured(setting, f"the value of {field.name} is no {field.logical_type or kind}", fix=fix) from None


def _whole(value: Any, _: AvroType) -> int:
    if isinstance(value, bool):
        raise TypeError
    return int(str(value))


def _truth(value: Any, _: AvroType) -> bool:
    return {"true": True, "false": False}[str(value).lower()]


def _text(value: Any, _: AvroType) -> str:
    if not isinstance(value, str | int | Decimal) or isinstance(value, bool):
        raise TypeError
    return str(value)


def _decimal(value: Any, branch: AvroType) -> bytes:
    scaled = Decimal(str(value)).scaleb(branch.get("scale", 0))
    number = int(scaled)
    if number != scaled:
        raise ValueError
    return number.to_bytes(((number if number >= 0 else ~number).bit_length() // 8) + 1, "big", signed=True)


def _date(value: Any, _: AvroType) -> int:
    return (date.fromisoformat(str(value)) - _EPOCH.date()).days


def _moment(value: Any, branch: AvroType) -> int:
    when = datetime.fromisoformat(str(value))
    if branch["logicalType"].startswith("local-"):
        when = when.replace(tzinfo=UTC)
    if when.tzinfo is None:
        raise ValueError
    since = when - _EPOCH
    micros = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    return micros if branch["logicalType"].endswith("micros") else micros // 1000


def _uuid(value: Any, _: AvroType) -> str:
    return str(uuid.UUID(str(value)))


_PLAIN: Mapping[str, Callable[[Any, AvroType], Any]] = {
    "string": _text,
    "int": _whole,
    "long": _whole,
    "boolean": _truth,
}
_LOGICAL: Mapping[str, Callable[[Any, AvroType], Any]] = {
    "decimal": _decimal,
    "date": _date,
    "uuid": _uuid,
    **dict.fromkeys(
        ("timestamp-micros", "timestamp-millis", "local-timestamp-micros", "local-timestamp-millis"), _moment
    ),
}
