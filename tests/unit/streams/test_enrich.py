from __future__ import annotations

from typing import Any

import pytest

from schemas.contract import Contract
from schemas.errors import Rejected
from schemas.wire.codec import Codec
from schemas.wire.envelope import value_schema
from schemas.wire.scan import Scanner, Shape
from streams.egress.enrich import Enrichment
from tests.unit.streams.test_egress import envelope_of

CITIZEN = "440199199001010017"  # male, HANDBOOK §5.2


def contract_of(fields: dict[str, Any], *rules: dict[str, Any]) -> Contract:
    entries = [{"name": name, "type": ["null", gov.pop("type", "string")], "gov": gov} for name, gov in fields.items()]
    key = {"name": "id", "type": "string"}
    record = {"type": "record", "name": "T", "gov": {"key": ["id"], "rules": list(rules)}, "fields": [key, *entries]}
    return Contract.parse(record, "disabled.card")


def marks_of(contract: Contract, without: frozenset[str] = frozenset(), **row: Any) -> list[tuple[Any, ...]]:
    schema = value_schema(contract)
    shape = Shape.of(schema)
    enrichment = Enrichment(contract, shape, without)
    scanner = Scanner(shape, enrichment.boundaries)
    check = enrichment.build(scanner)
    after = {field.name: row.get(field.name) for field in contract.fields} | {"id": "1"}
    message = Codec(lambda _: schema).encode(1, envelope_of("c", None, after))
    spans = scanner.scan(message)
    assert spans[2] is not None
    first = check(message, spans[2], spans[3])
    assert check(message, spans[2], spans[3]) == first  # the second time from memory
    return [tuple(mark) for mark in first]


def test_contract_without_checks_costs_nothing() -> None:
    contract = contract_of({"name": {}})
    assert not Enrichment(contract, Shape.of(value_schema(contract)))


@pytest.mark.parametrize(
    ("row", "marks"),
    [
        ({"citizen_id": None}, []),
        ({"citizen_id": CITIZEN}, []),
        ({"citizen_id": CITIZEN, "sex": "1"}, []),
        ({"citizen_id": CITIZEN, "sex": "2"}, [("SEQ", ("citizen_id",), None)]),
        ({"citizen_id": CITIZEN[:-1] + "8"}, [("CHECK", ("citizen_id",), None)]),
        ({"citizen_id": f" {CITIZEN} "}, [("NORMALISED", ("citizen_id",), CITIZEN)]),
        ({"citizen_id": "440199750815012"}, [("UPGRADED", ("citizen_id",), "440199197508150124")]),
        ({"citizen_id": "440199960229997"}, [("AMBIGUOUS_CENTURY", ("citizen_id",), None)]),
    ],
)
def test_citizen_id_is_marked_with_what_its_validator_says(row: dict[str, Any], marks: list[Any]) -> None:
    contract = contract_of({"citizen_id": {"element": "citizen_id"}, "sex": {}})
    assert marks_of(contract, **row) == marks


@pytest.mark.parametrize(
    ("row", "marks"),
    [
        ({"card_no": f"{CITIZEN}42", "kind": 4, "level": 2, "citizen_id": CITIZEN}, []),
        ({"card_no": f"{CITIZEN}42", "kind": 5, "level": 2}, [("MISMATCH", ("card_no",), None)]),
        ({"card_no": f"{CITIZEN}92"}, [("KIND", ("card_no",), None)]),
    ],
)
def test_disability_card_agrees_with_what_the_row_declares(row: dict[str, Any], marks: list[Any]) -> None:
    contract = contract_of(
        {"card_no": {"element": "disability_card"}, "citizen_id": {}, "kind": {"type": "int"}, "level": {"type": "int"}}
    )
    assert marks_of(contract, **row) == marks


@pytest.mark.parametrize(
    ("element", "good", "bad"),
    [
        ("uscc", "91440199MA00000155", "91440199MA00000156"),
        ("org_code", "MA0000015", "MA0000016"),
        ("registration_no", "440199000000014", "440199000000015"),
    ],
)
def test_numbers_of_organisations(element: str, good: str, bad: str) -> None:
    contract = contract_of({"number": {"element": element}})
    assert marks_of(contract, number=good) == []
    assert marks_of(contract, number=bad) == [("CHECK", ("number",), None)]


def test_vocabulary_of_texts_and_of_numbers() -> None:
    contract = contract_of({"status": {"values": {"A": "x"}}, "sex": {"type": "int", "values": {"1": "m", "2": "f"}}})
    assert marks_of(contract, status="A", sex=2) == []
    assert marks_of(contract, status=None, sex=None) == []
    assert marks_of(contract, status="B", sex=3) == [("VALUES", ("status",), None), ("VALUES", ("sex",), None)]


def test_rules_warn_or_reject_and_are_left_out_where_a_column_was_not_sent() -> None:
    warn = {"name": "dated", "expr": "status == 'A' || since != null", "onFailure": "WARN"}
    fatal = {"name": "known", "expr": "status != null", "onFailure": "DLQ"}
    contract = contract_of({"status": {}, "since": {}}, warn, fatal)
    assert marks_of(contract, status="A") == []
    assert marks_of(contract, status="B") == [("dated", ("status", "since"), None)]
    assert marks_of(contract, frozenset({"since"}), status="B") == []
    with pytest.raises(Rejected) as caught:
        marks_of(contract)
    assert caught.value.reason == "rule_known"
    assert caught.value.fix
