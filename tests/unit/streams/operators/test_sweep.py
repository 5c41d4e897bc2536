"""Ticks and truncates that concern very many subjects: in slices, whatever is killed between them, with the same events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from schemas.change import Op
from schemas.position import Position
from streams.engine import folding
from streams.engine.effects import Effects
from streams.engine.folding import Folding
from streams.engine.inbox.message import COUNT, unpack
from streams.engine.time import sweep
from streams.engine.time.sweep import CURSOR
from streams.operators.flow import Flow, Fold, Input, Outcome, Subject
from tests.stage.demo_flow import FLOW
from tests.stage.rehearsal import Rehearsal, days, micros

SUBJECTS = 11


class Killed(Rehearsal):
    """A rehearsal whose folding is killed behind every slice that is not the last of its batch, and opened again."""

    slices: list[int]

    def __init__(self, flow: Flow) -> None:
        super().__init__(flow)
        self.slices = []

    def take_batch(self, batch: list[tuple[int, bytes, bytes]]) -> Iterator[Effects]:
        position = batch[0][0]
        while left := [message for message in batch if message[0] >= position]:
            effects, position = next(iter(self.folding.apply(left)))
            self.slices.append(len(effects.rows))
            yield effects
            if position <= batch[-1][0]:
                self.folding = Folding([self.flow], self.store)


def life(city: Rehearsal) -> Rehearsal:
    """Rows, timers that come due together, a truncate, and what came after it."""
    for number in range(SUBJECTS):
        city.insert("police.resident", citizen_id=str(number), name="甲", hukou_region=f"4401{number % 3}")
        city.insert("police.vehicle", vin=f"V{number}", owner_id=str(number), first_registered=days("2016-01-01"))
        city.insert("police.vehicle", vin=f"W{number}", owner_id=str(number), first_registered=days("2016-03-01"))
    city.tick("2016-02-15")
    city.tick("2016-05-01")
    city.take([city.change("police.resident", None, None, Op.TRUNCATE)])
    city.insert("police.resident", citizen_id="1", name="乙", hukou_region="44010")
    city.tick("2016-05-02")
    return city


def events(city: Rehearsal) -> list[tuple[object, ...]]:
    """The events in order; their positions are higher where sums took more messages, and grow as ever (invariant 2)."""
    newest: dict[tuple[str, str], Position] = {}
    for change in city.history:
        place = (change.feed, change.row_id)
        assert place not in newest or newest[place] < change.position
        newest[place] = change.position
    assert CURSOR not in city.store.entries()
    return [(change.feed, change.row_id, change.before, change.after, change.reason) for change in city.history]


@pytest.fixture
def sliced(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    def to(subjects: int) -> None:
        monkeypatch.setattr(sweep, "SLICE_SUBJECTS", subjects)
        monkeypatch.setattr(folding, "SLICE_SUBJECTS", subjects)

    return to


@pytest.mark.parametrize("subjects", [1, 2, 5, SUBJECTS, SUBJECTS + 1])
def test_slices_make_the_events_of_one_piece_in_their_order(subjects: int, sliced: Callable[[int], None]) -> None:
    whole = life(Rehearsal(FLOW))
    sliced(subjects)
    city = life(Rehearsal(FLOW))
    assert events(city) == events(whole)
    assert city.store.entries().keys() == whole.store.entries().keys()


@pytest.mark.parametrize("subjects", [1, 2, 5])
def test_a_kill_behind_any_slice_changes_nothing(subjects: int, sliced: Callable[[int], None]) -> None:
    whole = life(Rehearsal(FLOW))
    sliced(subjects)
    city = Killed(FLOW)
    life(city)
    assert len(city.slices) > 3 * SUBJECTS // subjects
    assert events(city) == events(whole)
    assert city.store.entries().keys() == whole.store.entries().keys()


def test_rows_of_a_tick_bear_the_commit_that_moved_the_clock_in_every_slice(sliced: Callable[[int], None]) -> None:
    sliced(2)
    city = Killed(FLOW)
    city.now = "2016-01-02"
    for number in range(SUBJECTS):
        city.insert("police.vehicle", vin=f"V{number}", owner_id="1", first_registered=days("2016-01-01"))
    city.now = "2016-02-16"
    city.tick("2016-02-15")
    assert [change.committed_at_ms for change in city.changes_of("demo.old")] == [
        micros("2016-02-16") // 1000
    ] * SUBJECTS


def test_no_slice_is_larger_than_the_bound(sliced: Callable[[int], None]) -> None:
    sliced(4)
    city = Killed(FLOW)
    for number in range(SUBJECTS):
        city.insert("police.vehicle", vin=f"V{number}", owner_id="1", first_registered=days("2016-01-01"))
    city.slices.clear()
    city.tick("2016-02-15")
    assert [count for count in city.slices if count] == [4, 4, 3]
    assert len(city.rows("demo.old")) == SUBJECTS


def test_who_asks_to_be_woken_at_once_waits_for_the_next_tick_in_slices_too(sliced: Callable[[int], None]) -> None:
    folded: list[str] = []

    def restless(subject: Subject) -> Outcome:
        folded.append(f"{subject.id}@{subject.now}")
        outcome = Outcome()
        outcome.wake(subject.now if subject.now else 1)
        return outcome

    flow = replace(
        FLOW,
        inputs=[Input(feed="police.vehicle", subjects=lambda row: [f"vehicle:{row['vin']}"])],
        folds={"vehicle": Fold(restless)},
    )

    def seen(city: Rehearsal) -> list[str]:
        folded.clear()
        for number in range(5):
            city.insert("police.vehicle", vin=f"V{number}", owner_id="1", first_registered=days("2016-01-01"))
        for moment in (10, 20, 30):
            city.tick(moment)
        return folded[:]

    whole = seen(Rehearsal(flow))
    assert len(whole) == 5 + 3 * 5
    sliced(2)
    assert seen(Rehearsal(flow)) == whole
    assert seen(Killed(flow)) == whole


def test_sums_of_slices_are_those_of_one_piece(sliced: Callable[[int], None]) -> None:
    """What slices tell of sums comes in more messages; they add up to the same."""
    sliced(2)
    city = Killed(FLOW)
    told: list[int] = []
    keep = city.keep

    def noting(effects: Effects) -> None:
        told.extend(m[2] for m in (unpack(message.value) for message in effects.messages) if m[0] == COUNT)
        keep(effects)

    city.keep = noting
    life(city)
    assert sum(told) == 1
    assert city.rows("demo.region")["44010"]["people"] == 1
