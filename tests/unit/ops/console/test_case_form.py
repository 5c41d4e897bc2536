"""The words of a decision as a form has them: those of `mesh queue decide`, or what is missing."""

from __future__ import annotations

import pytest

from ops.console.cases.form import Form, columns_of
from schemas.agreement.directory import Directory, FeedEntry
from schemas.errors import Misconfigured
from streams.flows.person import FLOW as PERSON
from tests.stage.rehearsal import city_contracts


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"outcome": "note", "row": "2"}, ["note"]),
        ({"outcome": "prefer", "row": "police.resident"}, ["prefer", "police.resident"]),
        ({"outcome": "answer", "verdict": "PASS", "until": "2016-11-08"}, ["answer", "PASS"]),
        ({"outcome": "extend", "until": "2016-11-08"}, ["extend", "2016-11-08"]),
        ({"outcome": "correct", "row": "1", "column": "name", "value": "a=b"}, ["correct", "1", "name=a=b"]),
        ({"outcome": "correct", "row": "1", "column": "name"}, ["correct", "1", "name="]),
    ],
)
def test_what_was_filled_in_reads_as_the_command_has_it(fields: dict[str, str], words: list[str]) -> None:
    assert Form(fields).words() == words


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, "names no outcome"),
        ({"outcome": "undo"}, "names no outcome"),
        ({"outcome": "prefer"}, "says no row"),
        ({"outcome": "answer"}, "says no verdict"),
        ({"outcome": "extend"}, "says no until"),
        ({"outcome": "correct", "row": "1", "value": "44010619500101011X"}, "says no column"),
    ],
)
def test_what_is_missing_is_said_without_a_value(fields: dict[str, str], problem: str) -> None:
    with pytest.raises(Misconfigured, match=problem) as refused:
        Form(fields).words()
    assert "4401" not in f"{refused.value}{refused.value.fix}"


def test_nothing_is_decided_without_a_reason() -> None:
    with pytest.raises(Misconfigured, match="--reason"):
        Form({"reason": " "}).officer()
    assert Form({"reason": "核对"}).officer().reason == "核对"


def test_what_may_be_corrected_is_what_the_flow_reads_and_no_key() -> None:
    contract = city_contracts()["police.resident"]
    entry = FeedEntry(contract=contract, version=1, key_schema_id=1, value_schema_id=2, partitions=1)
    found = columns_of(
        PERSON, ["police.resident", "nobody.knows", "police.resident"], Directory(feeds={contract.feed: entry})
    )
    assert list(found) == ["police.resident"]
    assert "birth_date" in (names := [each.name for each in found["police.resident"]])
    assert "citizen_id" not in names
