"""How a column compares, by its Avro type.

Types are Avro's own, so that comparing is exact and nothing is decoded further than it must be: text compares as text or as its
UTF-8 bytes (whose order is the same), dates and times as integers, decimals as unscaled integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import NamedTuple

from schemas.contract import AvroType

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = {"millis": 1_000, "micros": 1_000_000, "nanos": 1_000_000_000}


class Verbatim:
    """What a lossless column has where its typed branch could not hold the value: equal to nothing, ordered with nothing."""

    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = None  # type: ignore[assignment]  # it is never a key

    def __lt__(self, other: object) -> bool:
        return False

    __le__ = __gt__ = __ge__ = __lt__

    def __mul__(self, other: object) -> Verbatim:
        return self


VERBATIM = Verbatim()


class ColumnKind(NamedTuple):
    """How a column compares: `kind` is text, number, float, decimal, boolean, date, time, timestamp, local or opaque.

    `scale` is a decimal's scale, or a time's units in a second.
    """

    kind: str
    scale: int = 0


def branches_of(avro_type: AvroType) -> list[AvroType]:
    """The branches of a type, one if it is no union."""
    return list(avro_type) if isinstance(avro_type, Sequence) and not isinstance(avro_type, str) else [avro_type]


def kind_of(avro_type: AvroType) -> ColumnKind:
    """How a column of this Avro type compares, by its first branch that is not null."""
    first = next((branch for branch in branches_of(avro_type) if branch != "null"), "null")
    base, logical, scale = first, None, 0
    if isinstance(first, Mapping):
        base, logical, scale = first.get("type"), first.get("logicalType"), int(first.get("scale", 0))
    if base in ("bytes", "fixed"):
        return ColumnKind("decimal", scale) if logical == "decimal" else ColumnKind("opaque")
    if base in ("int", "long"):
        if logical == "date":
            return ColumnKind("date")
        name, _, unit = (logical or "").rpartition("-")
        kinds = {"time": "time", "timestamp": "timestamp", "local-timestamp": "local"}
        return ColumnKind(kinds[name], _UNITS[unit]) if name in kinds else ColumnKind("number")
    simple = {"string": "text", "boolean": "boolean", "float": "float", "double": "float"}
    return ColumnKind(simple.get(base, "opaque") if isinstance(base, str) else "opaque")


def moment(kind: str, units: int, text: str) -> int:
    """ISO 8601 text as Avro's integer. Raises ValueError; an instant needs an offset and a local one must have none."""
    if kind == "date":
        return date.fromisoformat(text).toordinal() - _EPOCH.toordinal()
    if kind == "time":
        at = time.fromisoformat(text)
        return (at.hour * 3600 + at.minute * 60 + at.second) * units + at.microsecond * units // 1_000_000
    moment = datetime.fromisoformat(text)
    if (moment.tzinfo is None) != (kind == "local"):
        raise ValueError("offset")
    since = moment.replace(tzinfo=UTC) - _EPOCH if kind == "local" else moment - _EPOCH
    return (since.days * 86400 + since.seconds) * units + since.microseconds * units // 1_000_000
