"""Which decimals a column may hold that its field does not (C-8)."""

from __future__ import annotations

from typing import Any

import pytest

from producers.postgresql.value.decimal import outgrown, unheld
from producers.postgresql.value.type import PgType
from schemas.contract import Contract, Field

NUMERIC = PgType(name="numeric")


def decimal(precision: int, scale: int) -> dict[str, Any]:
    return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}


def field(kind: Any, **properties: Any) -> Field:
    fields = [{"name": "id", "type": "int"}, {"name": "c", "type": kind, **properties}]
    return Contract.parse({"type": "record", "name": "Row", "gov": {"key": ["id"]}, "fields": fields}, "a.t").by_name[
        "c"
    ]


def typmod(precision: int, scale: int) -> int:
    return (precision << 16 | scale & 0x7FF) + 4


@pytest.mark.parametrize(
    ("digits", "fits"),
    [
        *(((6, 2), True), ((5, 1), True), ((12, 4), False), ((7, 2), False), ((6, 3), False), ((4, 0), True)),
        *(((5, 0), False), ((2, -2), True), ((3, -2), False), ((2, 5), False), ((1, 2), True)),
    ],
)
def test_a_decimal_fits_where_its_digits_on_both_sides_of_the_point_do(digits: tuple[int, int], fits: bool) -> None:
    of = ["null", decimal(6, 2)]
    assert (outgrown(NUMERIC, typmod(*digits), field(of)) is None) == fits
    arrays = field(["null", {"type": "array", "items": of}])
    assert (outgrown(PgType(name="_numeric", element=NUMERIC), typmod(*digits), arrays) is None) == fits


def test_a_numeric_without_limits_is_a_change_where_its_field_was_drafted_from_one_with_limits() -> None:
    drafted = field(["null", decimal(6, 2)], **{"pg.typmod": typmod(6, 2)})
    assert "without limits" in (outgrown(NUMERIC, -1, drafted) or "")
    assert outgrown(NUMERIC, -1, field(["null", decimal(6, 2)])) is None
    widened = field(["null", decimal(38, 10)], **{"pg.typmod": typmod(6, 2)})
    assert outgrown(NUMERIC, -1, widened) is None


def test_a_field_with_a_text_branch_holds_every_value() -> None:
    assert unheld(NUMERIC, typmod(30, 9), field(["null", decimal(6, 2), "string"])) is None
    assert unheld(NUMERIC, typmod(30, 9), field(["null", decimal(6, 2)])) is not None
