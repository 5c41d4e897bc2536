"""What an officer's words come to for an item, and what they are refused with; no value of a row is told."""

from __future__ import annotations

from typing import Any, cast

import pytest

from ops.queue.items import HELD, REOPENED, SETTLED, UNDER_WAY, WAITS, Item, Queues
from ops.queue.wanted import Unfit, Wanted
from schemas.agreement.directory import Directory, FeedEntry
from schemas.decision import ANSWER, EXTEND, HOLD, LEAVE_OUT, NOTE, PREFER, UNDO, Decision
from schemas.errors import Misconfigured
from streams.flows.person import FLOW as PERSON
from streams.flows.quota import FLOW as QUOTA
from streams.operators.flow import Flow
from tests.stage.rehearsal import city_contracts, days, micros

NUMBER = "440199197508150017"
CONTRACTS = city_contracts()
DIRECTORY = Directory(
    feeds={
        feed: FeedEntry(contract=CONTRACTS[feed], version=1, key_schema_id=1, value_schema_id=2, partitions=1)
        for feed in ("police.resident", "edu.student")
    }
)


def item(kind: str = "NAME_CONFLICT", flow: Flow = PERSON, **more: Any) -> Item:
    row = {
        "conflict_id": "c1", "kind": kind, "subject_keys": [f"CITIZEN_ID:{NUMBER}"], "detail": "", "opened_at": micros("2016-10-31"),
        "claims": [{"feed": feed, "position": "p", "value": "张伟"} for feed in ("edu.student", "police.resident")],
        "state": "OPEN", "decided_by": None, "decision": None, **more.pop("row", {}),
    }  # fmt: skip
    return Item(**{"name": "ab" * 32, "flow": flow, "subject": f"person:{NUMBER}", "basis": "b", "row": row, **more})


def silent() -> Item:
    case = "case:2016100000001"
    row = {"conflict_id": f"{case}|ANSWER_OVERDUE|hrss|1", "claims": [], "subject_keys": [case]}
    return item("ANSWER_OVERDUE_HRSS", QUOTA, subject=case, row=row)


def decided(of: Item, *words: str) -> Decision:
    return Wanted.of(words).decision(of, DIRECTORY, by="officer", reason="r", at=1)


def test_who_is_preferred_leaves_out_the_others() -> None:
    made = decided(item(), "prefer", "police.resident")
    assert (made.outcome, made.claims, made.says, made.basis) == (PREFER, (0,), "prefer police.resident", "b")
    by_number = decided(item(), "leave-out", "1")
    assert (by_number.outcome, by_number.claims, by_number.says) == (LEAVE_OUT, (0,), "leave-out edu.student")


def test_a_correction_is_read_as_its_column_has_it_and_told_without_its_value() -> None:
    made = decided(item(), "correct", "police.resident", "birth_date=1975-08-16")
    assert (made.column, made.value, made.claims) == ("birth_date", days("1975-08-16"), (1,))
    assert made.says == "correct police.resident birth_date"
    assert "1975" not in repr(made)
    assert NUMBER not in repr(made)


def test_a_silent_answer_is_given_or_waited_for() -> None:
    assert (decided(silent(), "answer", "pass").verdict, decided(silent(), "answer", "PASS").says) == (
        "PASS",
        "answer PASS",
    )
    made = decided(silent(), "extend", "2016-11-08")
    assert (made.outcome, made.until, made.says) == (EXTEND, micros("2016-11-09"), "extend 2016-11-08"), "the whole day"


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        (("prefr", "police.resident"), "did you mean `prefer`?"),
        (("prefer",), "write: prefer <feed>"),
        (("note", "x"), "write: note"),
        (("correct", "police.resident", "name"), "write: correct <feed> <column>=<value>"),
        (("extend", "tomorrow"), "write it as 2026-12-31"),
    ],
)
def test_words_that_are_none_are_told_how_they_are_written(words: tuple[str, ...], fix: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        Wanted.of(words)
    assert refused.value.fix == fix


@pytest.mark.parametrize(
    ("of", "words", "why", "fix"),
    [
        (item(), ("prefer", "civil.marriage"), "cites no row of civil.marriage", "edu.student, police.resident"),
        (item(), ("answer", "PASS"), "cannot be decided by answer", "prefer"),
        (item("DEATH_UNCONFIRMED"), ("accept", "1"), "cannot be decided by accept", "note, dismiss, hold, prefer"),
        (item(), ("correct", "police.resident", "nam=x"), "reads no column nam ", "did you mean `name`?"),
        (item(), ("correct", "police.resident", f"citizen_id={NUMBER}"), "reads no column citizen_id", ""),
        (item(), ("correct", "police.resident", "birth_date=16.8.1975"), "is no date", "mesh tail"),
        (silent(), ("answer", "VALID"), "VALID is no answer in quota", "answer PASS, FAIL, NEED_INFO"),
        (silent(), ("extend", "2016-10-30"), "the day is over", "a later day"),
        (silent(), ("prefer", "1"), "cites no row", "note, dismiss, hold, answer, extend"),
        (item("FOLD_FAILED", row={"claims": []}), ("note",), "no decision mends that", "report it"),
        (item(subject=""), ("note",), "earlier version", "at its source"),
    ],
)  # fmt: skip
def test_what_an_item_cannot_be_is_said_with_what_it_can(of: Item, words: tuple[str, ...], why: str, fix: str) -> None:
    with pytest.raises(Unfit) as refused:
        decided(of, *words)
    assert why in refused.value.why
    assert fix in refused.value.fix
    assert not [value for value in (NUMBER, "张伟", "16.8.1975") if value in f"{refused.value.why} {refused.value.fix}"]


def test_the_state_of_an_item_is_what_the_flow_has_made_of_what_was_decided() -> None:
    made = decided(item(), "prefer", "police.resident")

    def state(decision: Decision | None, basis: str = "b", /, **row: Any) -> str:
        return item(decision=decision, basis=basis, row=row).state

    def undone(decision: Decision) -> Decision:
        return Decision.from_json({**decision.to_json(), "outcome": UNDO})

    assert state(None) == WAITS
    assert state(made) == UNDER_WAY
    assert state(made, state="RESOLVED", decision=made.says) == SETTLED
    assert state(undone(made), state="RESOLVED", decision=made.says) == UNDER_WAY
    assert state(undone(made)) == WAITS
    assert state(made, "other", decision=f"LAPSED {made.says}") == REOPENED
    assert state(made, decision=f"LAPSED {made.says}") == UNDER_WAY, "decided once more, upon what stands now"
    assert state(made, decision=f"WITHOUT_EFFECT {made.says}") == REOPENED
    assert state(decided(item(), "hold"), decision="hold") == HELD


def test_an_item_is_named_by_the_beginning_of_its_name() -> None:
    one, other = item(name="abcdef01"), item(name="abcdef02")
    found = Queues(items={each.name: each for each in (one, other)}, gone={}, directory=cast("Directory", None))
    assert found.item("abcdef01") is one
    for given, problem in (("abcdef", "several items' names"), ("abc", "is no item"), ("ffffff", "is no item")):
        with pytest.raises(Misconfigured, match=problem):
            found.item(given)
    gone = Queues(items={}, gone={"abcdef01": decided(one, NOTE)}, directory=cast("Directory", None))
    with pytest.raises(Misconfigured, match="is there no more") as refused:
        gone.item("abcdef01")
    assert "mesh queue undo abcdef01" in refused.value.fix


def test_the_causes_of_a_flow_are_named() -> None:
    found = Queues(items={"a": item(name="a")}, gone={}, directory=cast("Directory", None))
    assert [each.name for each in found.chosen("person", "NAME_CONFLICT")] == ["a"]
    assert [each.name for each in found.chosen(subject=f"CITIZEN_ID:{NUMBER}")] == ["a"]
    assert found.chosen(subject="CITIZEN_ID:x") == []
    with pytest.raises(Misconfigured, match="has no item now") as refused:
        found.chosen("quota", "NAME_CONFLICT")
    assert "mesh queue list" in refused.value.fix
    with pytest.raises(Misconfigured, match="flow persn"):
        found.chosen("persn")


def test_answer_and_hold_are_among_the_outcomes_of_what_is_silent() -> None:
    assert {ANSWER, HOLD} <= set(silent().outcomes)
