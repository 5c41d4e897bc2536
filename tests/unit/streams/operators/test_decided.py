"""Decisions of officers about items of a queue, as facts of their subjects: whatever the order, the end is the same."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from schemas.change import Change, Record
from schemas.contract import Contract
from schemas.decision import ACCEPT, CORRECT, DISMISS, HOLD, LEAVE_OUT, NOTE, PREFER, UNDO, Decision
from streams.engine.folding import Folding
from streams.engine.inbox.decisions import decisions
from streams.operators.decided import may_be_decided
from streams.operators.flow import Flow, Fold, Input, Outcome, RejectedRow, Row, Subject, keyed
from streams.operators.merge import conflict, merge, sources
from tests.stage.demo_flow import QUEUE
from tests.stage.rehearsal import MemoryStore, Rehearsal, micros

A, B, C = "a.thing", "b.thing", "c.thing"
COLUMNS: dict[str, Any] = {"id": "string", "colour": ["null", "string"], "size": ["null", "long"]}
RULES = sources({name: [f"{feed}:{name}" for feed in (A, B, C)] for name in ("colour", "size")})
SEED = 20261130


def thing(subject: Subject) -> Outcome:
    """What three registers say of one thing; where they differ in a column it is a conflict, in sizes once colours agree."""
    outcome = Outcome()
    facts = subject.of(A, B, C)
    if not facts:
        return outcome
    merged = merge(facts, RULES)
    if merged.values["colour"] == "none":
        raise ValueError("there is no such colour")
    outcome.publish("town.thing", {"id": subject.id, **merged.values})
    for name in RULES:
        said = [fact for fact in facts if (fact.row or {})[name] is not None]
        if len({(fact.row or {})[name] for fact in said}) > 1:
            outcome.publish("town.queue", conflict(f"{name.upper()}_CONFLICT", [subject.key], said))
            break
    return outcome


def owner(row: Row) -> list[str]:
    if not row["id"]:
        raise RejectedRow("NO_ID")
    return [f"thing:{row['id']}"]


def flow(fold: Any = thing, *, at_tick: bool = False) -> Flow:
    return Flow(
        name="town",
        inputs=[Input(feed=A, subjects=owner), *(Input(feed=feed, subjects=keyed("thing", "id")) for feed in (B, C))],
        folds={"thing": Fold(fold, at_tick=at_tick)},
        outputs={"town.thing": ["id"], "town.queue": ["conflict_id"]},
        queue="town.queue",
    )


def contracts() -> dict[str, Contract]:
    found: dict[str, Contract] = {}
    for feed, key in {A: "id", B: "id", C: "id", "town.thing": "id", "town.queue": "conflict_id"}.items():
        columns = QUEUE if feed == "town.queue" else COLUMNS
        record = {
            "type": "record", "name": "Thing", "namespace": "t", "gov": {"provider": "town", "key": [key], "resource": feed},
            "fields": [{"name": name, "type": kind} for name, kind in columns.items()],
        }  # fmt: skip
        found[feed] = Contract.parse(record, feed)
    return found


CONTRACTS = contracts()


def rehearse(of: Flow | None = None) -> Rehearsal:
    return Rehearsal(of or flow(), CONTRACTS)


@pytest.fixture
def town() -> Iterator[Rehearsal]:
    made = rehearse()
    yield made
    made.check_rows()


def the_item(town: Rehearsal) -> Row:
    (item,) = town.queue()
    return item


def disputed(town: Rehearsal) -> str:
    """Two registers say another colour; the id of the item."""
    town.insert(A, id="1", colour="red", size=1)
    town.insert(B, id="1", colour="blue", size=1)
    return the_item(town)["conflict_id"]


def state(town: Rehearsal) -> tuple[dict[str, Row], dict[str, Row]]:
    return town.rows("town.thing"), town.rows("town.queue")


def marked(town: Rehearsal) -> tuple[str, str | None, str | None]:
    item = the_item(town)
    return item["state"], item["decided_by"], item["decision"]


# ── what a decision does ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_row_that_is_preferred_wins_and_an_undo_brings_back_what_was(town: Rehearsal) -> None:
    item = disputed(town)
    before = state(town)
    assert before[0]["1"]["colour"] == "red"
    town.decide(item, PREFER, claims=[0])
    assert town.rows("town.thing")["1"]["colour"] == "blue", "the other row counts no more"
    assert marked(town) == ("RESOLVED", "officer", "prefer")
    town.decide(item, UNDO)
    assert state(town) == before


def test_a_later_decision_takes_the_place_of_an_earlier_one(town: Rehearsal) -> None:
    item = disputed(town)
    town.decide(item, PREFER, claims=[0])
    town.decide(item, LEAVE_OUT, claims=[1])
    assert (town.rows("town.thing")["1"]["colour"], marked(town)[2]) == ("red", "leave-out")


@pytest.mark.parametrize(("outcome", "ends"), [(NOTE, "RESOLVED"), (DISMISS, "REJECTED"), (HOLD, "OPEN")])
def test_a_word_alone_settles_the_item_and_changes_nothing_else(town: Rehearsal, outcome: str, ends: str) -> None:
    item = disputed(town)
    things = town.rows("town.thing")
    town.decide(item, outcome)
    assert marked(town) == (ends, "officer", outcome)
    assert town.rows("town.thing") == things
    assert len(town.changes_of("town.thing")) == 1, "the row that came"


def test_a_value_may_be_corrected(town: Rehearsal) -> None:
    item = disputed(town)
    town.decide(item, CORRECT, claims=[0], column="colour", value="blue")
    assert (town.rows("town.thing")["1"]["colour"], marked(town)[0]) == ("blue", "RESOLVED")
    town.update(A, {"id": "1"}, size=2)
    assert marked(town) == ("OPEN", "officer", "LAPSED correct"), "the row that was corrected is another now"


def test_other_facts_open_the_item_again_and_it_says_so(town: Rehearsal) -> None:
    item = disputed(town)
    town.decide(item, PREFER, claims=[0])
    settled = state(town)[0]
    town.update(A, {"id": "1"}, colour="green")
    assert marked(town) == ("OPEN", "officer", "LAPSED prefer")
    assert town.rows("town.thing")["1"]["colour"] == "green", "nothing is left out that was not decided about"
    town.update(A, {"id": "1"}, colour="red")
    assert (marked(town)[0], state(town)[0]) == ("RESOLVED", settled), "it stands on what was decided upon again"


def test_a_conflict_that_goes_takes_its_item_and_the_effect_of_its_decision(town: Rehearsal) -> None:
    item = disputed(town)
    town.decide(item, PREFER, claims=[0])
    town.update(B, {"id": "1"}, colour="red")
    assert (town.queue(), town.rows("town.thing")["1"]["colour"]) == ([], "red")
    town.update(A, {"id": "1"}, colour="green")
    assert (marked(town)[0], town.rows("town.thing")["1"]["colour"]) == ("OPEN", "green")


def test_what_a_decision_brings_to_light_may_be_decided_too(town: Rehearsal) -> None:
    item = disputed(town)
    town.insert(C, id="1", colour="red", size=3)
    assert the_item(town)["decided_by"] is None
    town.decide(item := the_item(town)["conflict_id"], LEAVE_OUT, claims=[1])
    by_kind = {row["kind"]: row for row in town.queue()}
    assert (by_kind["COLOUR_CONFLICT"]["state"], by_kind["SIZE_CONFLICT"]["state"]) == ("RESOLVED", "OPEN")
    town.decide(by_kind["SIZE_CONFLICT"]["conflict_id"], LEAVE_OUT, claims=[0])
    assert {row["state"] for row in town.queue()} == {"RESOLVED"}
    assert town.rows("town.thing")["1"]["size"] == 3
    town.decide(item, UNDO)
    assert [(row["kind"], row["state"]) for row in town.queue()] == [("COLOUR_CONFLICT", "OPEN")]


def test_a_decision_that_mends_nothing_leaves_the_item_open(town: Rehearsal) -> None:
    item = disputed(town)
    town.insert(C, id="1", colour="green")
    item = the_item(town)["conflict_id"]
    town.decide(item, CORRECT, claims=[2], column="colour", value="white")
    assert marked(town) == ("OPEN", "officer", "WITHOUT_EFFECT correct")
    town.decide(item, PREFER, claims=[0, 2])
    assert (marked(town)[0], town.rows("town.thing")["1"]["colour"]) == ("RESOLVED", "blue")


def test_a_decision_with_which_a_fold_fails_is_not_applied_and_stops_nobody(
    town: Rehearsal, caplog: pytest.LogCaptureFixture
) -> None:
    item = disputed(town)
    things = town.rows("town.thing")
    town.decide(item, CORRECT, claims=[0], column="colour", value="none")
    assert marked(town) == ("OPEN", "officer", "NOT_APPLIED correct")
    assert town.rows("town.thing") == things
    assert "none" not in caplog.text


def test_a_row_that_nobody_can_use_is_left_out_until_it_is_another(town: Rehearsal) -> None:
    town.insert(A, id="", colour="red")
    item = the_item(town)
    assert (item["kind"], item["state"]) == ("NO_ID", "OPEN")
    town.decide(item["conflict_id"], LEAVE_OUT, claims=[0])
    assert marked(town) == ("RESOLVED", "officer", "leave-out")
    town.delete(A, {"id": ""})
    assert town.queue() == []


def test_only_what_the_item_is_about_may_be_decided(town: Rehearsal) -> None:
    disputed(town)
    of = flow()
    assert may_be_decided(of, "thing:1", the_item(town)) == (NOTE, DISMISS, HOLD, PREFER, LEAVE_OUT, CORRECT)
    assert ACCEPT not in may_be_decided(of, "thing:1", the_item(town)), (
        "its fold counts nothing against what speaks there"
    )
    assert may_be_decided(of, "!:a.thing|", {**the_item(town), "claims": [{}]}) == (NOTE, DISMISS, HOLD, LEAVE_OUT)
    assert may_be_decided(of, "thing:1", {**the_item(town), "kind": "FOLD_FAILED"}) == ()


# ── how it is taken ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_decision_told_twice_or_too_late_changes_nothing(town: Rehearsal) -> None:
    item = disputed(town)
    first, second = town.decision(item, PREFER, claims=[0]), town.decision(item, NOTE)
    town.take_decisions([first, second])
    before, changes = state(town), len(town.history)
    town._decided = 0  # as after a crash: the same records, read again
    town.take_decisions([first, second])
    assert (state(town), len(town.history)) == (before, changes)


def test_a_decision_that_comes_before_its_facts_waits_for_them() -> None:
    first = rehearse()
    item = disputed(first)
    made = first.decide(item, PREFER, claims=[0])
    again = rehearse()
    again.take_decisions([made])
    assert state(again) == ({}, {}), "of what is not known nothing is said"
    disputed(again)
    assert state(again) == state(first)


def test_a_record_that_is_no_decision_is_passed_over(town: Rehearsal, caplog: pytest.LogCaptureFixture) -> None:
    made = town.decision(disputed(town), NOTE)
    value = json.dumps(made.to_json()).encode()
    keys = [b"", b"[1]", b'["town", "nobody:1", "x"]', b'["town", "thing", "x"]', b'["gone", "thing:1", "x"]']
    records = [Record(number, key, value, None, 0) for number, key in enumerate(keys)]
    records += [Record(9, made.key.encode(), each, None, 0) for each in (b"", b"{}", b"no json")]
    told = list(decisions(records, {"town": town.flow}))
    assert len(told) == 1, "a record without a value takes a decision back"
    assert caplog.text.count("its item stays open") == 6


def test_a_subject_of_which_nothing_is_decided_is_folded_once() -> None:
    calls: list[int] = []

    def counting(subject: Subject) -> Outcome:
        calls.append(len(subject.facts))
        return thing(subject)

    town = rehearse(flow(counting))
    item = disputed(town)
    assert len(calls) == 2
    town.decide(item, PREFER, claims=[0])
    assert len(calls) == 4, "once without the decision, once with it"
    town.decide(item, UNDO)
    assert len(calls) == 5
    assert max(calls) == 2, "no fold sees a decision among its facts"


def test_a_subject_that_is_folded_at_ticks_takes_decisions_at_ticks() -> None:
    town = rehearse(flow(at_tick=True))
    town.insert(A, id="1", colour="red")
    town.insert(B, id="1", colour="blue")
    town.tick("2016-10-31")
    town.decide(the_item(town)["conflict_id"], PREFER, claims=[0])
    assert town.rows("town.thing")["1"]["colour"] == "red"
    town.tick("2016-11-01")
    assert (town.rows("town.thing")["1"]["colour"], the_item(town)["state"]) == ("blue", "RESOLVED")


def test_a_subject_that_waits_for_its_moment_does_not_let_an_officer_wait() -> None:
    def patient(subject: Subject) -> Outcome:
        outcome = thing(subject)
        outcome.wake(micros("2017-01-01"))
        return outcome

    of = flow(patient, at_tick=True)
    town = rehearse(replace(of, folds={"thing": Fold(patient, at_tick=True, is_patient=True)}))
    town.insert(A, id="1", colour="red")
    town.insert(B, id="1", colour="blue")
    town.tick("2016-10-31")
    town.decide(the_item(town)["conflict_id"], PREFER, claims=[0])
    town.tick("2016-11-01")
    assert the_item(town)["state"] == "RESOLVED"


# ── whatever the order ───────────────────────────────────────────────────────────────────────────────────────────────


def lived(rng: random.Random) -> tuple[Rehearsal, list[Change], list[Decision]]:
    """A random life of some things, decided about on the way: what was committed and what was decided, in order."""
    town = rehearse()
    changes: list[Change] = []
    made: list[Decision] = []
    for _ in range(40):
        if rng.random() < 0.6 or not town.queue():
            feed, name = rng.choice((A, B, C)), str(rng.randrange(3))
            row = {"colour": rng.choice(("red", "blue", None)), "size": rng.choice((1, 2, None))}
            if name not in town._tables.get(feed, {}):
                changes.append(town.insert(feed, id=name, **row))
            elif rng.random() < 0.2:
                changes.append(town.delete(feed, {"id": name}))
            else:
                changes.append(town.update(feed, {"id": name}, **row))
            continue
        item = rng.choice(town.queue())
        outcome = rng.choice((NOTE, DISMISS, HOLD, PREFER, LEAVE_OUT, CORRECT, UNDO, UNDO))
        more: dict[str, Any] = {}
        if outcome in {PREFER, LEAVE_OUT, CORRECT}:
            more["claims"] = [rng.randrange(len(item["claims"]))]
        if outcome == CORRECT:
            more |= {"column": "colour", "value": "red"}
        made.append(town.decide(item["conflict_id"], outcome, **more))
    return town, changes, made


@pytest.mark.parametrize("seed", range(SEED, SEED + 30))
def test_any_interleaving_of_rows_and_decisions_ends_alike(seed: int) -> None:
    rng = random.Random(seed)
    first, changes, made = lived(rng)
    for _ in range(5):
        again = rehearse()
        streams: list[list[Any]] = [[each for each in changes if each.feed == feed] for feed in (A, B, C)]
        streams.append(list(made))
        while left := [stream for stream in streams if stream]:
            one = rng.choice(left).pop(0)
            again.take_decisions([one]) if isinstance(one, Decision) else again.take([one])
        assert state(again) == state(first), f"seed {seed}"


@pytest.mark.parametrize("seed", range(SEED, SEED + 10))
def test_folded_anew_from_what_compaction_leaves_it_is_the_same(seed: int) -> None:
    first, changes, made = lived(random.Random(seed))
    again = rehearse()
    newest = {(each.feed, each.key["id"]): each for each in changes}
    again.take(newest.values())
    last = {each.key: (number, each) for number, each in enumerate(made, 1)}
    for number, each in last.values():
        again._decided = number - 1
        again.take_decisions([each])
    shown = [
        {name: {**row, "claims": [], "opened_at": 0} for name, row in state(one)[1].items()} for one in (first, again)
    ]
    assert state(again)[0] == state(first)[0], f"seed {seed}"
    assert shown[0] == shown[1], f"seed {seed}"


@pytest.mark.parametrize("seed", range(SEED, SEED + 10))
def test_undone_it_is_as_though_nothing_had_been_decided(seed: int) -> None:
    first, changes, made = lived(random.Random(seed))
    undone = {each.item for each in made}
    for item in sorted(undone):
        last = [each for each in made if each.item == item][-1]
        first.take_decisions([Decision.from_json({**last.to_json(), "outcome": UNDO})])
    never = rehearse()
    never.take(changes)
    assert state(first) == state(never), f"seed {seed}"


@pytest.mark.parametrize("seed", range(SEED, SEED + 5))
def test_a_task_that_forgets_everything_between_batches_says_the_same(seed: int) -> None:
    rng = random.Random(seed)
    first, changes, made = lived(rng)
    again = rehearse()
    for one in [*changes, *made]:
        again.folding = Folding([again.flow], again.store)
        again.take_decisions([one]) if isinstance(one, Decision) else again.take([one])
    assert isinstance(again.store, MemoryStore)
    assert state(again) == state(first)
