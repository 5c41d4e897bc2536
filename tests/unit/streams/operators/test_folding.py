from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from schemas.change import Op
from streams.engine.folding import Folding
from streams.operators.flow import Flow, Fold, Input, Outcome, Subject, Tell
from tests.stage.demo_flow import FLOW, contracts, person
from tests.stage.rehearsal import Rehearsal, days, micros


def test_a_row_that_moves_to_another_subject_leaves_the_former() -> None:
    city = Rehearsal(FLOW)
    city.insert("police.resident", citizen_id="1", name="甲", hukou_region="440106")
    city.insert("police.vehicle", vin="V", owner_id="1", first_registered=days("2016-01-01"))
    assert city.rows("demo.person")["1"]["vehicles"] == 1
    city.update("police.vehicle", {"vin": "V"}, owner_id="2")
    assert city.rows("demo.person")["1"]["vehicles"] == 0


def test_counts_follow_a_move_and_a_delete() -> None:
    city = Rehearsal(FLOW)
    for number in "123":
        city.insert("police.resident", citizen_id=number, name="甲", hukou_region="440106")
    assert not city.rows("demo.region"), "a group is folded at ticks"
    city.tick("2016-11-01")
    assert city.rows("demo.region")["440106"]["people"] == 3
    city.update("police.resident", {"citizen_id": "1"}, hukou_region="440103")
    city.delete("police.resident", {"citizen_id": "2"})
    city.tick("2016-11-02")
    assert {key: row["people"] for key, row in city.rows("demo.region").items()} == {"440106": 1, "440103": 1}


def test_a_timer_fires_once_by_event_time_and_is_withdrawn_with_its_reason() -> None:
    city = Rehearsal(FLOW)
    city.insert("police.vehicle", vin="V", owner_id="1", first_registered=days("2016-01-01"))
    city.tick("2016-01-31")
    assert not city.rows("demo.old")
    city.tick("2016-02-01")
    city.tick("2016-02-02")
    assert len(city.changes_of("demo.old")) == 1
    city.delete("police.vehicle", {"vin": "V"})
    assert [change.reason for change in city.changes_of("demo.old")] == [None, "RETRACTED"]


def test_an_unfit_row_waits_in_the_queue_until_it_is_mended() -> None:
    city = Rehearsal(FLOW)
    city.insert("police.vehicle", vin="V", owner_id="1", first_registered=days("2016-01-01"))
    change = city.change("police.resident", None, city.row("police.resident", {"citizen_id": "", "name": "甲"}))
    city.take([change])
    assert [item["kind"] for item in city.queue()] == ["NO_ID"]
    city.take([city.change("police.resident", change.after, None)])
    assert not city.queue()


def test_an_older_or_repeated_change_is_refused() -> None:
    city = Rehearsal(FLOW)
    first = city.insert("police.resident", citizen_id="1", name="甲", hukou_region="440106")
    city.update("police.resident", {"citizen_id": "1"}, name="乙")
    before = dict(city.store.entries())
    city.take([first])
    assert city.store.entries() == before
    assert city.rows("demo.person")["1"]["name"] == "乙"


def test_a_fold_that_fails_keeps_what_was_published_and_says_so() -> None:
    def broken(subject: Subject) -> Outcome:
        if any(fact.row and fact.row["name"] == "bad" for fact in subject.of("police.resident")):
            raise KeyError("x")
        return person(subject)

    flow = Flow(
        name="demo",
        inputs=FLOW.inputs,
        folds={**FLOW.folds, "person": Fold(broken)},
        outputs=FLOW.outputs,
        queue="demo.queue",
    )
    city = Rehearsal(flow)
    city.insert("police.resident", citizen_id="1", name="甲", hukou_region="440106")
    city.update("police.resident", {"citizen_id": "1"}, name="bad")
    assert [item["kind"] for item in city.queue()] == ["FOLD_FAILED"]
    assert city.rows("demo.person")["1"]["name"] == "甲"
    city.update("police.resident", {"citizen_id": "1"}, name="乙")
    assert not city.queue()
    assert city.rows("demo.person")["1"]["name"] == "乙"


def test_a_truncate_takes_every_row_of_its_feed() -> None:
    city = Rehearsal(FLOW)
    for number in "123":
        city.insert("police.resident", citizen_id=number, name="甲", hukou_region="440106")
    city.take([city.change("police.resident", None, None, Op.TRUNCATE)])
    assert not city.rows("demo.person")
    city.tick("2016-11-01")
    assert not city.rows("demo.region")


def test_what_it_publishes_fits_its_contracts() -> None:
    city = Rehearsal(FLOW, contracts())
    city.insert("police.resident", citizen_id="1", name="甲", hukou_region="440106")
    city.insert("police.resident", citizen_id="", name="乙")
    city.insert("police.vehicle", vin="V", owner_id="1", first_registered=days("2016-01-01"))
    city.tick("2016-11-01")
    assert all(city.rows(feed) for feed in FLOW.outputs)
    city.check_rows()


def test_a_patient_subject_is_read_once_however_often_news_comes() -> None:
    folded: list[int] = []

    def roster(subject: Subject) -> Outcome:
        folded.append(len(subject.of("police.resident")))
        outcome = Outcome()
        if subject.now < micros("2016-11-20"):
            outcome.wake(micros("2016-11-20"))
        else:
            outcome.publish("demo.region", {"region": subject.id, "people": folded[-1]})
        return outcome

    flow = Flow(
        name="demo",
        inputs=[Input(feed="police.resident", subjects=lambda row: [f"region:{row['hukou_region']}"])],
        folds={"region": Fold(roster, at_tick=True, is_patient=True)},
        outputs={"demo.region": ["region"], "demo.queue": ["conflict_id"]},
        queue="demo.queue",
    )
    city = Rehearsal(flow)
    for day in range(1, 10):
        city.insert("police.resident", citizen_id=str(day), name="甲", hukou_region="440106")
        city.tick(f"2016-11-0{day}")
    assert folded == [1], "the first fold asked for the twentieth"
    city.tick("2016-11-20")
    assert city.rows("demo.region")["440106"]["people"] == 9
    city.delete("police.resident", {"citizen_id": "1"})
    city.tick("2016-11-21")
    assert folded == [1, 9, 8], "nothing asked for: news come at the next tick"


def test_an_update_of_what_does_not_travel_is_no_news_and_history_does_not_grow() -> None:
    folded: list[str] = []

    def counting(subject: Subject) -> Outcome:
        folded.append(subject.key)
        return person(subject)

    inputs = [replace(entry, keeps_history=True) for entry in FLOW.inputs]
    flow = replace(FLOW, inputs=inputs, folds={**FLOW.folds, "person": Fold(counting)})
    city = Rehearsal(flow)
    city.insert("police.vehicle", vin="V", owner_id="1", first_registered=days("2016-01-01"))
    city.now = "2016-10-31"
    city.insert("police.resident", citizen_id="1", name="甲", hukou_region="440106")
    folded.clear()
    for number in range(50):
        city.update("police.resident", {"citizen_id": "1"}, mobile=str(number))
    assert not folded
    fact = next(value for key, value in city.store.entries().items() if b"\0fpolice.resident" in key)
    assert len(fact) < 400
    city.update("police.resident", {"citizen_id": "1"}, name="乙")
    assert folded


def _asking(*, waits_for: str | None, folded: list[str]) -> Flow:
    """People called 甲 ask what their number owns; owners answer on a feed, and say nothing to others."""

    def asker(subject: Subject) -> Outcome:
        outcome = Outcome()
        if any(fact.row and fact.row["name"] == "甲" for fact in subject.of("police.resident")):
            outcome.tells.append(Tell(to=f"owner:{subject.id}", tag="asked", row={"by": subject.key}))
        return outcome

    def owner(subject: Subject) -> Outcome:
        folded.append(subject.id)
        outcome = Outcome()
        if subject.told("asked"):
            vehicles = len(subject.of("police.vehicle"))
            outcome.publish("demo.person", {"id": subject.id, "name": None, "vehicles": vehicles})
        return outcome

    return Flow(
        name="demo",
        inputs=[
            Input(feed="police.resident", subjects=lambda row: [f"person:{row['citizen_id']}"]),
            Input(feed="police.vehicle", subjects=lambda row: [f"owner:{row['owner_id']}"]),
        ],
        folds={"person": Fold(asker), "owner": Fold(owner, waits_for=waits_for)},
        outputs={"demo.person": ["id"], "demo.queue": ["conflict_id"]},
        queue="demo.queue",
    )


Event = Callable[[Rehearsal], object]


def _of_a_person(rng: random.Random, people: dict[str, str]) -> Event:
    number, name = rng.choice("12345"), rng.choice("甲乙乙乙")
    key = {"citizen_id": number}
    if number not in people:
        people[number] = name
        return lambda city: city.insert("police.resident", citizen_id=number, name=name)
    if rng.random() < 0.5:
        people[number] = name
        return lambda city: city.update("police.resident", key, name=name)
    del people[number]
    return lambda city: city.delete("police.resident", key)


def _of_a_vehicle(rng: random.Random, owned: set[str]) -> Event:
    vin, owner = rng.choice("ABCDEFG"), rng.choice("12345")
    if vin not in owned:
        owned.add(vin)
        return lambda city: city.insert("police.vehicle", vin=vin, owner_id=owner)
    if rng.random() < 0.6:
        return lambda city: city.update("police.vehicle", {"vin": vin}, owner_id=owner)
    owned.remove(vin)
    return lambda city: city.delete("police.vehicle", {"vin": vin})


def _restart(city: Rehearsal) -> None:
    city.folding = Folding([city.flow], city.store)


@pytest.mark.parametrize("seed", range(20))
def test_a_subject_that_waits_to_be_asked_answers_as_if_it_had_always_been_folded(seed: int) -> None:
    rng, folded, eager = random.Random(seed), list[str](), list[str]()
    waiting = Rehearsal(_asking(waits_for="asked", folded=folded))
    always = Rehearsal(_asking(waits_for=None, folded=eager))
    people, owned, asked = dict[str, str](), set[str](), set[str]()
    for _ in range(60):
        kind = rng.random()
        event = _restart if kind < 0.1 else _of_a_person(rng, people) if kind < 0.4 else _of_a_vehicle(rng, owned)
        event(waiting)
        event(always)
        asked |= {number for number, name in people.items() if name == "甲"}
        assert waiting.rows("demo.person") == always.rows("demo.person"), f"seed {seed}"
    assert set(folded) <= asked, "nobody else is folded at all"
    assert len(eager) > len(folded)


def _gathering() -> Flow:
    """Owners are folded at ticks: of what their number owns, of who asks, and of what they said before; a city counts them."""

    def asker(subject: Subject) -> Outcome:
        outcome = Outcome()
        if named := [fact.row["name"] for fact in subject.of("police.resident") if fact.row]:
            outcome.tells.append(Tell(to=f"owner:{subject.id}", tag="named", row={"name": named[0]}))
            outcome.counts["owner:1", named[0]] = 1
        return outcome

    def owner(subject: Subject) -> Outcome:
        outcome = Outcome()
        vehicles = len(subject.of("police.vehicle")) + sum(subject.counts.values())
        outcome.memory = {"most": max(vehicles, subject.memory.get("most", 0))}
        if subject.told("named"):
            name = f"{subject.told('named')[0]['name']}{outcome.memory['most']}"
            outcome.publish("demo.person", {"id": subject.id, "name": name, "vehicles": vehicles})
        if vehicles > 1:
            outcome.wake(subject.now + 3 * 86_400_000_000)
        return outcome

    return replace(
        _asking(waits_for=None, folded=[]), folds={"person": Fold(asker), "owner": Fold(owner, at_tick=True)}
    )


@pytest.mark.parametrize("seed", range(20))
def test_a_subject_kept_in_memory_between_ticks_is_as_one_that_is_read_anew(seed: int) -> None:
    rng = random.Random(seed)
    kept, anew = Rehearsal(_gathering()), Rehearsal(_gathering())
    people, owned, day = dict[str, str](), set[str](), 0
    for _ in range(80):
        kind = rng.random()
        if kind < 0.25:
            day += rng.randrange(1, 4)
            date = f"2016-11-{1 + day % 28:02}" if day < 28 else f"2016-12-{1 + day % 28:02}"
            kept.tick(date)
            anew.tick(date)
        else:
            event = _of_a_person(rng, people) if kind < 0.6 else _of_a_vehicle(rng, owned)
            event(kept)
            event(anew)
        _restart(anew)
        assert kept.store.entries() == anew.store.entries(), f"seed {seed}"
    assert kept.rows("demo.person")
    events = [(change.row_id, change.before, change.after, change.committed_at_ms) for change in kept.history]
    assert events == [(change.row_id, change.before, change.after, change.committed_at_ms) for change in anew.history]


def test_what_time_alone_brings_about_follows_from_the_commit_that_moved_the_clock() -> None:
    city = Rehearsal(FLOW, now="2016-01-01")
    city.insert("police.vehicle", vin="V", owner_id="1", first_registered=days("2016-01-01"))
    city.now = "2016-02-15"
    city.tick("2016-02-15")
    [old] = city.history
    assert (old.feed, old.committed_at_ms) == ("demo.old", micros("2016-02-15") // 1000)
    city.now = "2016-02-20"
    city.insert("police.vehicle", vin="W", owner_id="1", first_registered=days("2016-02-19"))
    city.update("police.vehicle", {"vin": "W"}, first_registered=days("2016-01-02"))
    assert city.history[-1].committed_at_ms == micros("2016-02-20") // 1000, "here the fact came when time had passed"
    city.delete("police.vehicle", {"vin": "V"})
    assert city.history[-1].committed_at_ms == micros("2016-02-20") // 1000


def test_a_moment_that_had_passed_before_a_fold_asked_for_it_follows_from_the_fact() -> None:
    def late(subject: Subject) -> Outcome:
        outcome = Outcome(memory={"is_known": True})
        if subject.memory:
            outcome.publish("demo.old", {"vin": subject.id})
        else:
            outcome.wake(subject.now)
        return outcome

    city = Rehearsal(replace(FLOW, folds={**FLOW.folds, "vehicle": Fold(late)}), now="2016-03-01")
    city.tick("2016-03-01")
    city.insert("police.vehicle", vin="V", owner_id="1", first_registered=days("2016-01-01"))
    city.now = "2016-03-05"
    city.tick("2016-03-05")
    [old] = city.history
    assert old.committed_at_ms == micros("2016-03-01") // 1000, "time has not brought it about"
