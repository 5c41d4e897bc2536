"""The key of a row as a person gives it: by column, as JSON, composite; what does not fit is told without its value."""

from __future__ import annotations

from typing import Any

import pytest

from ops.grants.explaining.explanation import Look, verdict_of
from ops.grants.explaining.row_key import key_given
from schemas.contract import Contract
from schemas.errors import Misconfigured

MICROS = {"type": "long", "logicalType": "timestamp-micros"}
DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 2}
DATE = {"type": "int", "logicalType": "date"}


def contract(**fields: Any) -> Contract:
    listed = [{"name": name, "type": kind} for name, kind in fields.items()]
    return Contract.parse({"type": "record", "name": "T", "gov": {"key": list(fields)}, "fields": listed}, "aic.t")


@pytest.mark.parametrize(
    ("fields", "given", "expected"),
    [
        ({"ent_id": "string"}, ["ent_id=E1=x"], {"ent_id": "E1=x"}),
        ({"ent_id": "string"}, ["E1"], {"ent_id": "E1"}),
        ({"ent_id": "string"}, ['{"ent_id": "E1"}'], {"ent_id": "E1"}),
        ({"id": "long"}, ["id=-7"], {"id": -7}),
        ({"a": "string", "b": "int"}, ["b=2", "a=x"], {"a": "x", "b": 2}),
        ({"a": "string", "b": "int"}, ['{"b": 2, "a": "x"}'], {"a": "x", "b": 2}),
        ({"day": DATE}, ["day=2026-11-30"], {"day": 20787}),
        ({"at": MICROS}, ["at=1970-01-01T08:00:00.000001+08:00"], {"at": 1}),
        ({"sum": DECIMAL}, ["sum=-1.28"], {"sum": b"\x80"}),
        ({"sum": DECIMAL}, ["sum=1.28"], {"sum": b"\x00\x80"}),
        ({"flag": "boolean"}, ["flag=TRUE"], {"flag": True}),
    ],
)
def test_a_key_is_read_by_the_types_of_its_columns(fields: dict[str, Any], given: list[str], expected: Any) -> None:
    assert key_given(contract(**fields), given) == expected


@pytest.mark.parametrize(
    ("fields", "given", "said"),
    [
        ({"id": "int"}, ["id=canary"], "the value of id is no int"),
        ({"id": "int"}, ["id=1.5"], "the value of id is no int"),
        ({"a": "string", "b": "int"}, ["a=canary"], "the key of aic.t is a, b"),
        ({"a": "string", "b": "int"}, ["canary"], "names no column"),
        ({"a": "string"}, ["b=canary"], "the key of aic.t is a"),
        ({"a": "string"}, ["{canary"], "is no JSON"),
        ({"day": DATE}, ["day=canary"], "no date"),
        ({"at": MICROS}, ["at=2026-11-30T08:00"], "no timestamp-micros"),
        ({"sum": DECIMAL}, ["sum=1.285"], "no decimal"),
        ({"flag": "boolean"}, ["flag=canary"], "no boolean"),
    ],
)
def test_what_is_no_key_is_refused_without_its_value(fields: dict[str, Any], given: list[str], said: str) -> None:
    with pytest.raises(Misconfigured, match=said) as refused:
        key_given(contract(**fields), given)
    assert refused.value.fix
    assert "canary" not in str(refused.value)


def test_the_verdict_is_the_first_step_that_speaks_against_then_what_is_open() -> None:
    yes = Look(name="feed", standing="yes", told="there")
    no = [Look(name=name, standing="no", told=name) for name in ("filter", "topic")]
    unsure = Look(name="grant", standing="open", told="suspended")
    assert verdict_of([yes, unsure, *no]) == ("It is not at the subscriber: filter.", False)
    assert verdict_of([yes, unsure])[1] is None
    assert verdict_of([yes]) == ("It is at the subscriber, as it is in the feed now.", True)
