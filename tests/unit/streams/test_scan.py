from __future__ import annotations

from typing import Any

import pytest

from schemas.contract import Contract
from schemas.errors import Rejected
from schemas.wire.codec import Codec
from schemas.wire.envelope import value_schema
from schemas.wire.scan import PATTERNS_MAX, Extras, Mark, Scanner, Shape
from schemas.wire.varint import long_bytes, read_long
from tests.unit.streams.test_egress import envelope_of

CONTRACT = Contract.parse(
    {
        "type": "record",
        "name": "T",
        "gov": {"key": ["id"]},
        "fields": [{"name": "id", "type": "string"}, {"name": "note", "type": ["null", "string"]}],
    },
    "civil.marriage",
)
SCHEMA = value_schema(CONTRACT)
CODEC = Codec(lambda _: SCHEMA)
ROW = {"id": "1", "note": None}


def walked(scanner: Scanner, envelope: dict[str, Any]) -> tuple[str, bytes, bytes]:
    """The op, the bytes of source, and those between op and unchanged."""
    message = CODEC.encode(1, envelope)
    op, _, _, src, op_at, end, extras = scanner.scan(message)
    assert extras is None
    assert message[end:] == b"\0\0"
    return chr(op), message[src:op_at], message[op_at + 2 : end]


def test_tail_is_found_whatever_pattern_was_learned_before() -> None:
    scanner = Scanner(Shape.of(SCHEMA), [0, 1, 2])
    alike: dict[tuple[Any, ...], set[bytes]] = {}
    for number in range(4 * PATTERNS_MAX):
        source = {
            "name": f"civil.s{number % 19}",
            "snapshot": ("true", None, "last")[number % 3],
            "ts_ms": 1_480_000_000_000 << (number % 5),
            "gtid": None if number % 2 else f"0-1-{number}",
        }
        transaction = {"id": "x" * (number * 3), "total_order": number, "data_collection_order": -number}
        op = "cru"[number % 3]
        before = ROW if op == "u" else None
        envelope = envelope_of(op, before, ROW, source=source, transaction=transaction if number % 4 else None)
        fresh = walked(Scanner(Shape.of(SCHEMA), [0, 1, 2]), envelope)
        for _ in range(2):
            assert walked(scanner, envelope) == fresh
        assert fresh[0] == op
        alike.setdefault(tuple(source.values()), set()).add(fresh[1])
    assert all(len(found) == 1 for found in alike.values())


def test_extras_are_read_even_where_they_end_like_none() -> None:
    scanner = Scanner(Shape.of(SCHEMA), [])
    CODEC.encode(1, envelope_of("c", None, ROW))
    mark = {"code": "", "columns": [], "normalised": None}
    message = CODEC.encode(1, envelope_of("u", None, ROW, dq=[mark], unchanged=["note"]))
    for _ in range(2):
        scanner.scan(CODEC.encode(1, envelope_of("c", None, ROW)))
        assert message.endswith(b"\0\0\0")
        assert scanner.scan(message)[6] == Extras(("note",), (Mark("", ()),))


def test_schema_that_is_no_envelope_is_rejected() -> None:
    for fields in (
        [],
        SCHEMA["fields"][:-1],
        [*SCHEMA["fields"][:3], {"name": "op", "type": "long"}, *SCHEMA["fields"][4:]],
    ):
        with pytest.raises(Rejected, match="envelope"):
            Shape.of({**SCHEMA, "fields": fields})


def test_unknown_op_is_rejected() -> None:
    with pytest.raises(Rejected) as caught:
        Scanner(Shape.of(SCHEMA), []).scan(CODEC.encode(1, envelope_of("m", None, None)))
    assert caught.value.reason == "unknown_op"


@pytest.mark.parametrize("number", [0, -1, 1, 63, 64, -64, -65, 8191, 8192, (1 << 63) - 1, -(1 << 63)])
def test_varints_come_back(number: int) -> None:
    assert read_long(long_bytes(number), 0) == (number, len(long_bytes(number)))
