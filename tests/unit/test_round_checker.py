"""The checker of the chaos rounds is checked: each fault that a feed or a subscriber could have is planted, and found by its name."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.chaos.rounds import checker
from tests.chaos.rounds.checker import Past, Told, Violation, compare
from tests.chaos.rounds.columns import Key, Row

Feed = list[Told]
Held = list[tuple[Key, Row]]
SEEDS = range(5)
VICTIM, OTHER, DELETED, EMPTIED = ("天河", 1), ("越秀", 2), ("天河", 3), ("海珠", 4)


def row(key: Key, **values: Any) -> dict[str, Any]:
    return {"district": key[0], "id": key[1], "name": f"名 {key[1]}", "alias": f"a{key[1]}", "note": None, **values}


def position(number: int) -> str:
    return f'["0001","{number:016X}","00000001"]'


def a_feed(chance: random.Random) -> Feed:
    """A copy, a truncate, then changes of many rows in a random order of keys; the victim has a past to be confused with."""
    feed = [Told(key, position(1), row(key, name="旧"), is_copy=True) for key in (VICTIM, EMPTIED)]
    feed.append(Told((), position(5), None))
    versions = [row(VICTIM, name="first"), row(VICTIM, name="second"), row(VICTIM, note="長" * 99)]
    lives: dict[Key, list[Row | None]] = {VICTIM: [*versions], OTHER: [row(OTHER)], DELETED: [row(DELETED), None]}
    lives |= {("番禺", n): [row(("番禺", n), alias=str(chance.random()))] for n in range(10, 40)}
    at = 10
    while any(lives.values()):
        key = chance.choice([key for key, left in lives.items() if left])
        at += 1
        feed.append(Told(key, position(at), lives[key].pop(0)))
    return feed


def folded(feed: Feed) -> tuple[Past, dict[Key, Row]]:
    past = Past()
    past.take(feed)
    return past, past.rows()


def without(held: Held, key: Key) -> Held:
    return [(each, values) for each, values in held if each != key]


def put(held: Held, key: Key, **values: Any) -> Held:
    """The row of the key with other values."""
    return [(each, {**found, **values} if each == key else found) for each, found in held]


PLANTED: dict[str, tuple[str, Key, Callable[[Held], Held]]] = {
    "a row is skipped": (checker.SKIPPED, VICTIM, lambda held: without(held, VICTIM)),
    "a row is there twice": (checker.DOUBLED, VICTIM, lambda held: [*held, (VICTIM, dict(held)[VICTIM])]),
    "a row is doubled with other values": (checker.DOUBLED, OTHER, lambda held: [(OTHER, row(OTHER, name="x")), *held]),
    "a value is changed": (checker.CHANGED, OTHER, lambda held: put(held, OTHER, name="名 2 ")),
    "a deleted row is back": (checker.RESURRECTED, DELETED, lambda held: [*held, (DELETED, row(DELETED))]),
    "a row has another key's values": (checker.OF_ANOTHER_KEY, OTHER, lambda held: put(held, OTHER, **others(held))),
    "a late version wins": (checker.LATE_WON, VICTIM, lambda held: put(held, VICTIM, name="second", note=None)),
    "NULL for a value": (checker.NULL_FOR_VALUE, OTHER, lambda held: put(held, OTHER, name=None)),
    "a value for NULL": (checker.VALUE_FOR_NULL, OTHER, lambda held: put(held, OTHER, note="")),
    "a truncate is ignored": (checker.TRUNCATE_IGNORED, EMPTIED, lambda held: [*held, (EMPTIED, row(EMPTIED))]),
    "columns are swapped": (checker.SWAPPED, OTHER, lambda held: put(held, OTHER, name="a2", alias="名 2")),
    "a row is invented": (checker.INVENTED, ("?", 99), lambda held: [*held, (("?", 99), row(("?", 99)))]),
}


def others(held: Held) -> dict[str, Any]:
    return {name: value for name, value in dict(held)["番禺", 17].items() if name not in {"district", "id"}}


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_found_where_nothing_is_wrong(seed: int) -> None:
    past, right = folded(a_feed(random.Random(seed)))
    assert VICTIM in right
    assert DELETED not in right
    assert EMPTIED not in right
    assert compare(right, list(right.items()), past) == []
    assert past.faults == []


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("planted", PLANTED)
def test_each_fault_that_is_planted_is_found_by_its_name_and_no_other(planted: str, seed: int) -> None:
    past, right = folded(a_feed(random.Random(seed)))
    what, key, plant = PLANTED[planted]
    found = compare(right, plant(list(right.items())), past)
    assert [(each.what, each.key) for each in found] == [(what, key)]


SPOILT: dict[str, tuple[str, Callable[[Feed, int], Feed]]] = {
    "a record is skipped": (checker.SKIPPED, lambda feed, at: feed[:at] + feed[at + 1 :]),
    "a record is another key's": (
        checker.SKIPPED,
        lambda feed, at: [*feed[:at], Told(("番禺", 1000), feed[at].position, feed[at].after), *feed[at + 1 :]],
    ),
    "a value is changed on the way": (checker.CHANGED, lambda feed, at: spoilt(feed, at, name="?")),
    "a value is lost on the way": (checker.NULL_FOR_VALUE, lambda feed, at: spoilt(feed, at, name=None)),
    "columns are swapped on the way": (checker.SWAPPED, lambda feed, at: spoilt(feed, at, name="a2", alias="名 2")),
}


def spoilt(feed: Feed, at: int, **values: Any) -> Feed:
    change = feed[at]
    assert change.after is not None
    return [*feed[:at], Told(change.key, change.position, {**change.after, **values}), *feed[at + 1 :]]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("planted", SPOILT)
def test_a_feed_that_is_spoilt_on_the_way_is_not_its_table(planted: str, seed: int) -> None:
    feed = a_feed(random.Random(seed))
    table = folded(feed)[1]
    what, spoil = SPOILT[planted]
    past, rows = folded(spoil(feed, next(at for at, told in enumerate(feed) if told.key == OTHER)))
    assert what in {each.what for each in compare(table, list(rows.items()), past)}


def test_a_change_that_is_sent_again_is_no_fault_and_one_that_differs_is() -> None:
    past = Past()
    past.take([Told(OTHER, position(2), row(OTHER)), Told(OTHER, position(2), row(OTHER))])
    assert past.faults == []
    past.take([Told(OTHER, position(2), row(OTHER, name="another"))])
    assert past.faults == [Violation(checker.TWO_AT_ONE_POSITION, OTHER)]


def test_a_delete_or_a_truncate_that_the_feed_lacks_is_seen_by_its_table() -> None:
    whole = [Told(OTHER, position(1), row(OTHER)), Told(OTHER, position(2), None)]
    table = folded(whole)[1]
    past, rows = folded(whole[:1])
    assert [each.key for each in compare(table, list(rows.items()), past)] == [OTHER]
    emptied = [Told(OTHER, position(1), row(OTHER)), Told((), position(2), None)]
    table = folded(emptied)[1]
    past, rows = folded(emptied[:1])
    assert [each.key for each in compare(table, list(rows.items()), past)] == [OTHER]
