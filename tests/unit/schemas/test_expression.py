from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.contract import Contract
from schemas.errors import Misconfigured
from schemas.expression.expression import NESTING_MAX, TEXT_MAX, parse
from schemas.expression.predicate import predicate

FIELDS: list[dict[str, Any]] = [
    {"name": "ent_id", "type": "string"},
    {"name": "uscc", "type": ["null", "string"]},
    {"name": "status", "type": ["null", "string"]},
    {"name": "reg_region", "type": ["null", "string"]},
    {"name": "staff", "type": ["null", "int"]},
    {
        "name": "capital",
        "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 2}, "string"],
    },
    {"name": "paid", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 4}]},
    {"name": "score", "type": ["null", "double"]},
    {"name": "is_open", "type": ["null", "boolean"]},
    {"name": "birth_date", "type": ["null", {"type": "int", "logicalType": "date"}, "string"]},
    {"name": "opened", "type": ["null", {"type": "long", "logicalType": "time-micros"}]},
    {"name": "updated_at", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}]},
    {"name": "seen_at", "type": ["null", {"type": "long", "logicalType": "local-timestamp-micros"}]},
    {"name": "photo", "type": ["null", "bytes"]},
]
CONTRACT = Contract.parse(
    {"type": "record", "name": "Enterprise", "gov": {"key": ["ent_id"]}, "fields": FIELDS}, "aic.enterprise"
)


def decimal(unscaled: int) -> bytes:
    return unscaled.to_bytes(unscaled.bit_length() // 8 + 1, "big", signed=True)


def holds(text: str, **row: Any) -> bool:
    return predicate(parse(text), CONTRACT)(row)


@pytest.mark.parametrize(
    ("text", "row", "expected"),
    [
        ("status == 'ACTIVE'", {"status": "ACTIVE"}, True),
        ("status == 'ACTIVE'", {"status": None}, False),
        ("status != 'ACTIVE'", {"status": None}, True),
        ("status == null", {"status": None}, True),
        ("status == null", {"status": ""}, False),
        ("null != status", {"status": "x"}, True),
        ("status == 'it''s'", {"status": "it's"}, True),
        ("reg_region in ['440106','440104']", {"reg_region": "440104"}, True),
        ("reg_region in ['440106','440104']", {"reg_region": None}, False),
        ("reg_region in ['440106', null]", {"reg_region": None}, True),
        ("!(reg_region in ['440106'])", {"reg_region": "440104"}, True),
        ("starts_with(reg_region, '4401')", {"reg_region": "440104"}, True),
        ("starts_with(reg_region, '4401')", {"reg_region": None}, False),
        ("staff > 3", {"staff": 4}, True),
        ("staff > 3", {"staff": None}, False),
        ("!(staff > 3)", {"staff": None}, True),
        ("3 < staff", {"staff": 4}, True),
        ("staff >= 3.5", {"staff": 4}, True),
        ("staff == 3.5", {"staff": 3}, False),
        ("staff in [1, 2.5, -3]", {"staff": -3}, True),
        ("capital >= 100.5", {"capital": decimal(10050)}, True),
        ("capital > 100.5", {"capital": decimal(10050)}, False),
        ("capital > 100.499", {"capital": decimal(10050)}, True),
        ("capital == 100.505", {"capital": decimal(10050)}, False),
        ("capital in [1, 100.50]", {"capital": decimal(10050)}, True),
        ("capital < 0", {"capital": decimal(-1)}, True),
        ("capital < 1", {"capital": "NaN"}, False),
        ("capital >= 1", {"capital": "NaN"}, False),
        ("capital == 1", {"capital": "NaN"}, False),
        ("capital != 1", {"capital": "NaN"}, True),
        ("capital == null", {"capital": "NaN"}, False),
        ("capital == paid", {"capital": decimal(150), "paid": decimal(15000)}, True),
        ("paid > capital", {"capital": decimal(150), "paid": decimal(15001)}, True),
        ("paid > capital", {"capital": "NaN", "paid": decimal(15001)}, False),
        ("paid == capital", {"capital": None, "paid": None}, True),
        ("paid == capital", {"capital": decimal(1), "paid": None}, False),
        ("capital > staff", {"capital": decimal(401), "staff": 4}, True),
        ("score < 0.5", {"score": 0.25}, True),
        ("score == 0.1", {"score": 0.1}, True),
        ("score > staff", {"score": 4.5, "staff": 4}, True),
        ("is_open", {"is_open": True}, True),
        ("is_open", {"is_open": None}, False),
        ("!is_open", {"is_open": None}, True),
        ("is_open == false", {"is_open": False}, True),
        ("birth_date < '2000-01-01'", {"birth_date": 10956}, True),
        ("birth_date < '2000-01-01'", {"birth_date": 10957}, False),
        ("birth_date < '2000-01-01'", {"birth_date": "infinity"}, False),
        ("opened == '08:30:00'", {"opened": 30_600_000_000}, True),
        ("updated_at >= '1970-01-02T08:00:00+08:00'", {"updated_at": 86_400_000_000}, True),
        ("updated_at >= '1970-01-02T00:00:00Z'", {"updated_at": 86_399_999_999}, False),
        ("seen_at == '1970-01-02T00:00:00.000001'", {"seen_at": 86_400_000_001}, True),
        ("photo == null", {"photo": None}, True),
        ("uscc == null || valid_uscc(uscc)", {"uscc": "91440199MA00000155"}, True),
        ("uscc == null || valid_uscc(uscc)", {"uscc": "91440199MA00000156"}, False),
        ("uscc == null || valid_uscc(uscc)", {"uscc": None}, True),
        ("valid_uscc(uscc)", {"uscc": None}, False),
        ("valid_citizen_id(uscc)", {"uscc": "440199750815012"}, True),
        ("status == 'A' && staff > 1 || is_open", {"status": "B", "staff": 0, "is_open": True}, True),
        ("status == 'A' && (staff > 1 || is_open)", {"status": "B", "staff": 0, "is_open": True}, False),
        ("true", {}, True),
        ("!true || false", {}, False),
        ("status == '张三'", {"status": "张三"}, True),
    ],
)
def test_truth(text: str, row: dict[str, Any], expected: bool) -> None:
    assert holds(text, **row) is expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "needed"),
        ("status = 'A'", "character 7"),
        ("status == 'A", "unreadable"),
        ("status == 'A' status", "does not end"),
        ('status == "A"', "unreadable"),
        ("statsu == 'A'", "no column statsu"),
        ("staff == 'A'", "text constant"),
        ("status == 5", "number constant"),
        ("status < null", "orders by null"),
        ("status", "as a condition"),
        ("1 == 1", "two constants"),
        ("5", "where a condition"),
        ("birth_date < '2000-13-01'", "no date"),
        ("updated_at < '2000-01-01'", "no timestamp"),
        ("seen_at < '2000-01-01T00:00:00Z'", "no local"),
        ("photo == 'x'", "null only"),
        ("status == staff", "compares status"),
        ("starts_with(staff, 'x')", "no text"),
        ("starts_with(status, 5)", "no text"),
        ("exec(status)", "calls exec"),
        ("valid_uscc('x')", "a constant"),
        ("__import__('os')", "a constant"),
        ("status.lower == 'a'", "unreadable"),
        ("status in []", "needed"),
        ("status in [uscc]", "lists the column"),
        ("'a' in ['a']", "before `in`"),
        ("12abc == staff", "unreadable"),
        ("in == 5", "needed"),
    ],
)
def test_faults_are_misconfigured_with_their_place(text: str, said: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        predicate(parse(text), CONTRACT)
    assert said in str(caught.value)
    assert caught.value.fix


def test_length_and_nesting_are_bounded() -> None:
    for text in ("(" * (NESTING_MAX + 1) + "true" + ")" * (NESTING_MAX + 1), "x" * (TEXT_MAX + 1), "1," * 3000):
        with pytest.raises(Misconfigured):
            parse(text)
    assert predicate(parse("!" * 101 + "true"), CONTRACT)({}) is False


def test_columns_are_those_that_are_read() -> None:
    assert parse("uscc == null || starts_with(reg_region, '4') && is_open").columns == {"uscc", "reg_region", "is_open"}


@given(st.text(max_size=60))
def test_any_text_parses_or_is_misconfigured(text: str) -> None:
    with contextlib.suppress(Misconfigured):
        predicate(parse(text), CONTRACT)


@given(st.text(), st.text(), st.sampled_from(["==", "!=", "<", "<=", ">", ">="]))
def test_text_constants_compare_as_text_whatever_they_hold(value: str, constant: str, operator: str) -> None:
    quoted = constant.replace("'", "''")
    expected = {
        "==": value == constant,
        "!=": value != constant,
        "<": value < constant,
        "<=": value <= constant,
        ">": value > constant,
        ">=": value >= constant,
    }
    assert holds(f"status {operator} '{quoted}'", status=value) is expected[operator]
