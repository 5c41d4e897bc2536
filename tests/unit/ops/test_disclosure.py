"""Whom a disclosure is about: what is asked for, by which columns somebody may be named, and how that stands at a subscriber."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest

from ops.disclosure.asked import Asked, forms, identifying
from ops.settings import Connections
from ops.trust.subject_key import SubjectKey
from schemas.contract import Contract
from schemas.errors import Misconfigured

FIELDS: list[dict[str, Any]] = [
    {"name": "id", "type": "string"},
    {"name": "owner", "type": ["null", "string"], "confluent:tags": ["PII", "L4"]},
    {"name": "uscc", "type": ["null", "string"]},
    {"name": "code", "type": ["null", "string"], "gov": {"element": "org_code"}},
    {"name": "number", "type": ["null", "int"], "confluent:tags": ["PII"]},
    {"name": "note", "type": ["null", "string"], "confluent:tags": ["L1"]},
]


def test_somebody_is_named_by_keys_personal_columns_and_data_elements_of_text() -> None:
    contract = Contract.parse({"type": "record", "name": "R", "gov": {"key": ["id"]}, "fields": FIELDS}, "aic.t")
    assert identifying(contract) == ["id", "owner", "uscc", "code"]


@pytest.mark.parametrize(
    ("identifier", "feed", "pairs"),
    [
        ("", "", []),
        ("A", "", []),
        ("440103198001011234", "aic.t", ["id=1"]),
        ("", "aic.t", []),
        ("", "", ["id=1"]),
        ("", "aic.t", ["id"]),
        ("", "no feed", ["id=440103198001011234"]),
    ],
)
def test_what_names_nobody_or_two_is_refused_without_being_quoted(identifier: str, feed: str, pairs: list[str]) -> None:
    with pytest.raises(Misconfigured) as refusal:
        Asked.of(identifier, feed, pairs)
    assert "440103198001011234" not in str(refusal.value)


def test_a_question_has_one_hash_however_it_is_written_and_shows_nobody(tmp_path: Any) -> None:
    key = SubjectKey(Connections(tmp_path))
    one, other = Asked.of("", "aic.t", ["a=1", "b=2"]), Asked.of("", "aic.t", ["b=2", "a=1"])
    assert key.hash(*one.parts()) == key.hash(*other.parts())
    assert key.hash("a", "bc") != key.hash("ab", "c")
    assert SubjectKey(Connections(tmp_path), key.id).hash("x") == key.hash("x"), "the key is made once"
    assert "440103198001011234" not in repr(Asked.of("440103198001011234", "", []))
    with pytest.raises(Misconfigured, match="another one than was agreed"):
        SubjectKey(Connections(tmp_path), "0" * 16)
    with pytest.raises(Misconfigured):
        SubjectKey(Connections(tmp_path / "elsewhere"), key.id)
    assert not (tmp_path / "elsewhere" / "connections").exists(), "none is made where one was agreed"


def test_a_value_is_looked_for_as_it_is_and_as_a_mask_makes_it() -> None:
    key = b"k" * 32

    def hashed(value: bytes) -> str:
        return hmac.digest(key, value, hashlib.sha256).hex()

    assert forms("穗A", None) == {"穗A"}
    assert forms("穗A", key) == {"穗A", hashed("穗A".encode())}
    assert forms("7", key) == {"7", hashed(b"7"), hashed(b"\x0e")}, "a number is hashed as Avro writes it"
