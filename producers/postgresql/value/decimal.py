"""Which decimals a column may hold, and whether a contract's field holds them all.

PostgreSQL lets a numeric grow (`ALTER … TYPE numeric(12,4)`) where the contract's decimal has its digits fixed: each value beyond
them would be a dead letter, one by one, for as long as nobody looks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from producers.postgresql.value.type import PgType
from schemas.contract import AvroType, Field


def digits_of(typmod: int) -> tuple[int, int] | None:
    """Precision and scale of a numeric, whose scale may be negative or beyond the precision; None for one without limits."""
    if typmod < 4:
        return None
    return (typmod - 4) >> 16 & 0xFFFF, ((typmod - 4 & 0x7FF) ^ 0x400) - 0x400


def outgrown(pg: PgType, typmod: int, field: Field) -> str | None:
    """In words, which decimals of a column, or of its arrays' elements, a field's decimal does not hold; None where it holds all.

    A field with a text branch holds those too, see `unheld`. Of a column without limits nothing is known beforehand, unless the
    field still is what was drafted from one with limits.
    """
    while pg.element is not None:
        pg = pg.element
    kind = _decimal(field.branches[0])
    if pg.name != "numeric" or kind is None:
        return None
    precision, scale = kind["precision"], kind.get("scale", 0)
    held = f"decimal({precision},{scale})"
    now = digits_of(typmod)
    if now is None:
        is_as_drafted = digits_of(int(field.properties.get("pg.typmod", -1))) == (precision, scale)
        return f"a numeric without limits holds values that {held} does not" if is_as_drafted else None
    digits, places = now
    if max(places, 0) <= scale and digits - places <= precision - scale:
        return None
    return f"numeric({digits},{places}) holds values that {held} does not"


def unheld(pg: PgType, typmod: int, field: Field) -> str | None:
    """As `outgrown`, of the field with all its branches."""
    return None if field.is_lossless else outgrown(pg, typmod, field)


def _decimal(kind: AvroType) -> Mapping[str, Any] | None:
    """The decimal that a type is, or is an array of."""
    while isinstance(kind, Mapping) and kind["type"] == "array":
        items = kind["items"]
        kind = next((each for each in items if each != "null"), "null") if isinstance(items, list) else items
    return kind if isinstance(kind, Mapping) and kind.get("logicalType") == "decimal" else None
