from __future__ import annotations

import json
from typing import Any

import pytest

from ops.show.tail import HIDDEN, View, readable, tail
from schemas.change import Batch, Record
from schemas.contract import Contract
from schemas.wire.codec import Codec
from schemas.wire.envelope import key_schema, value_schema

CONTRACT = Contract.parse(
    {
        "type": "record",
        "name": "Enterprise",
        "doc": "企业|note",
        "gov": {"provider": "aic", "key": ["citizen_id"]},
        "fields": [
            {"name": "citizen_id", "type": "string", "confluent:tags": ["PII", "DIRECT_ID"]},
            {"name": "name", "type": ["null", "string"], "default": None, "confluent:tags": ["PII"]},
            {"name": "founded", "type": ["null", {"type": "int", "logicalType": "date"}], "default": None},
            {
                "name": "capital",
                "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 2}],
                "default": None,
            },
            {"name": "seen", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}], "default": None},
            {
                "name": "local",
                "type": ["null", {"type": "long", "logicalType": "local-timestamp-micros"}],
                "default": None,
            },
        ],
    },
    "aic.enterprise",
)
SCHEMAS = {1: key_schema(CONTRACT), 2: value_schema(CONTRACT)}
CODEC = Codec(SCHEMAS.__getitem__)
COMMITTED_AT_MS = 1_772_366_400_123
ROW = {
    "citizen_id": "440106198001011234",
    "name": "陈静",
    "founded": 20_000,
    "capital": (123_450).to_bytes(3, "big", signed=True),
    "seen": COMMITTED_AT_MS * 1000,
    "local": 1,
}


def record(op: str, before: dict[str, Any] | None, after: dict[str, Any] | None, **more: Any) -> Record:
    source = dict.fromkeys(("db", "schema", "snapshot", "txId", "lsn", "file", "pos", "gtid"))
    envelope = {
        "before": before,
        "after": after,
        "source": {
            **source,
            "version": "1",
            "connector": "postgresql",
            "name": "aic.main",
            "ts_ms": COMMITTED_AT_MS,
            "db": "aic",
            "sequence": '["0000","000000000000000A","00000001"]',
            "table": "enterprise",
        },
        "op": op,
        "ts_ms": COMMITTED_AT_MS,
        "transaction": None,
        "unchanged": more.pop("unchanged", None),
        "dq": more.pop("marks", None),
    }
    key = CODEC.encode(1, {"citizen_id": (after or before or {})["citizen_id"]})
    headers = [(name, value.encode()) for name, value in more.items()]
    return Record(7, key, CODEC.encode(2, envelope), headers, COMMITTED_AT_MS)


def lines(*records: Record, reveal: bool = False, as_json: bool = False) -> list[str]:
    batch = Batch(topic="aic.enterprise", partition=1, records=records)
    return list(tail("aic.enterprise", [batch], CODEC, View(contract=CONTRACT, is_revealed=reveal), as_json=as_json))


def test_personal_columns_are_hidden_and_the_first_line_says_so() -> None:
    for as_json in (False, True):
        text = "\n".join(lines(record("c", None, ROW), as_json=as_json))
        assert ROW["citizen_id"] not in text
        assert "陈静" not in text
        assert HIDDEN in text
    assert (
        lines()[0]
        == "aic.enterprise 企业, commits in Asia/Shanghai time: hidden as PII: citizen_id, name; --reveal shows them"
    )


def test_reveal_shows_them_and_says_so() -> None:
    headline, line = lines(record("c", None, ROW), reveal=True)
    assert "personal data is shown" in headline
    assert "陈静" in line
    assert ROW["citizen_id"] in line


def test_values_read_as_people_write_them() -> None:
    (line,) = lines(record("c", None, ROW), as_json=True)
    after = json.loads(line)["after"]
    assert (after["founded"], after["capital"], after["seen"], after["local"]) == (
        "2024-10-04",
        "1234.50",
        "2026-03-01T12:00:00.123000Z",
        "1970-01-01T00:00:00.000001",
    )


def test_an_update_shows_what_changed_and_that_a_hidden_column_did() -> None:
    after = {**ROW, "name": "陈敬", "capital": b"\x01"}
    (_, line) = lines(record("u", ROW, after))
    assert line.startswith("20:00:00.123 p1@7       update")
    assert f"name: {HIDDEN} → {HIDDEN}" in line
    assert "capital: 1234.50 → 0.01" in line
    assert "founded" not in line


def test_an_unsent_column_is_not_shown_as_changed() -> None:
    (_, line) = lines(record("u", ROW, {**ROW, "capital": None, "founded": None}, unchanged=["capital"]))
    assert "capital" not in line
    assert "founded: 2024-10-04 → ∅" in line


def test_a_removal_says_why_and_a_tombstone_is_one() -> None:
    removed = record("d", ROW, None, reason="OUT_OF_SCOPE")
    _, first, second = lines(removed, removed._replace(value=None))
    assert "delete" in first
    assert "(OUT_OF_SCOPE)" in first
    assert "tombstone" in second
    assert f"citizen_id={HIDDEN}" in second


def test_marks_are_shown_but_not_the_identity_number_within() -> None:
    mark = {"code": "UPGRADED", "columns": ["citizen_id"], "normalised": "440106198001011234"}
    (line,) = lines(record("c", None, ROW, marks=[mark]), as_json=True)
    assert json.loads(line)["marks"] == [{**mark, "normalised": HIDDEN}]
    assert "[UPGRADED]" in lines(record("c", None, ROW, marks=[mark]))[1]
    (line,) = lines(record("c", None, ROW, marks=[mark]), as_json=True, reveal=True)
    assert json.loads(line)["marks"] == [mark]


def test_a_record_that_cannot_be_read_is_a_line_and_not_the_end() -> None:
    bad = Record(6, b"key", b"\x01 not framed", None, 0)
    _, first, second = lines(bad, record("r", None, ROW))
    assert "cannot be read: bad_magic" in first
    assert "snapshot" in second
    assert json.loads(lines(bad, as_json=True)[0])["unreadable"] == "bad_magic"


def test_control_characters_never_reach_the_terminal() -> None:
    hostile = {**ROW, "name": "a\x1b]0;x\x07\x9b2Jb\nc\u202e"}
    for as_json in (False, True):
        for line in lines(record("c", None, hostile), reveal=True, as_json=as_json):
            assert line.isprintable()
    (line,) = lines(record("c", None, hostile), reveal=True, as_json=True)
    assert json.loads(line)["after"]["name"] == hostile["name"]


@pytest.mark.parametrize(
    ("name", "raw", "read"),
    [
        ("founded", 2_147_483_647, 2_147_483_647),  # legal Avro, beyond year 9999
        ("founded", -1, "1969-12-31"),
        ("seen", -(2**62), -(2**62)),
        ("capital", b"\xff", "-0.01"),
        ("capital", "NaN", "NaN"),
        ("elsewhere", b"\x00\xff", "00ff"),
        ("elsewhere", True, True),
        ("elsewhere", [b"\x01"], ["01"]),
    ],
)
def test_values_at_the_ends_stay_readable(name: str, raw: Any, read: Any) -> None:
    assert readable(CONTRACT.by_name.get(name), raw) == read
