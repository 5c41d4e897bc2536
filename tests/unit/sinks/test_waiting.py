"""The waiting room: order per key, barriers, tries that count, and offsets that are durable."""

from __future__ import annotations

import math

from schemas.change import Batch, Record
from schemas.errors import ContractBroken, Transient
from sinks.lane.waiting import UNWELL_KEYS, WaitingChange, WaitingRoom

TOPIC = "out.a.b"
UNWELL = Transient("answered 500")


def room_of(*keys: str, schedule: tuple[float, ...] = (1.0, 5.0), partition: int = 0) -> WaitingRoom:
    room = WaitingRoom(schedule)
    add(room, *keys, partition=partition)
    return room


def add(room: WaitingRoom, *keys: str, first: int = 0, partition: int = 0) -> None:
    """Records of these keys; "" is a truncate, "-" a tombstone."""
    records = [
        Record(first + number, key.encode(), None if key == "-" else b"v", None, 0) for number, key in enumerate(keys)
    ]
    room.add(Batch(topic=TOPIC, partition=partition, records=records))


def taken(room: WaitingRoom, now: float = 0.0, count: int = 1) -> list[list[WaitingChange]]:
    runs: list[list[WaitingChange]] = []
    while run := room.take(now, count):
        runs.append(run)
    return runs


def offsets(runs: list[list[WaitingChange]]) -> list[list[int]]:
    return [[entry.record.offset for entry in run] for run in runs]


def test_one_change_of_a_key_is_out_at_a_time() -> None:
    room = room_of("a", "b", "a", "c", "a")
    runs = taken(room)
    assert offsets(runs) == [[0], [1], [3]]
    room.accepted(runs[1], 1.0)
    assert taken(room) == []
    room.accepted(runs[0], 1.0)
    assert offsets(taken(room)) == [[2]]


def test_offsets_are_durable_up_to_the_first_that_is_not_settled() -> None:
    room = room_of("a", "b", "-", "c")
    first, second, third = taken(room)
    room.accepted(second, 1.0)
    assert list(room.durable()) == []
    room.accepted(first, 1.0)
    assert list(room.durable()) == [(TOPIC, 0, 3)]
    room.accepted(third, 1.0)
    assert list(room.durable()) == [(TOPIC, 0, 4)]
    assert list(room.durable()) == []
    assert (room.count, room.size_bytes) == (0, 0)


def test_a_truncate_is_a_barrier_in_its_partition_only() -> None:
    room = room_of("a", "b", "", "a", "c", "", "d")
    add(room, "x", partition=1)
    a, b, x = taken(room)
    assert offsets([a, b, x]) == [[0], [1], [0]]
    room.accepted(b, 1.0)
    assert taken(room) == []
    room.accepted(a, 1.0)
    (barrier,) = taken(room)
    assert offsets([barrier]) == [[2]]
    assert room.failed(barrier, UNWELL, 1.0) == []
    assert taken(room, 1.5) == []
    (barrier,) = taken(room, 2.0)
    room.accepted(barrier, 2.0)
    behind = taken(room)
    assert offsets(behind) == [[3], [4]]
    for run in behind:
        room.accepted(run, 3.0)
    assert offsets(taken(room)) == [[5]]


def test_a_truncate_is_alone_in_its_request() -> None:
    room = room_of("a", "b", "", "a", "b")
    (before,) = taken(room, count=10)
    room.accepted(before, 0.0)
    (barrier,) = taken(room, count=10)
    room.accepted(barrier, 0.0)
    assert offsets([before, barrier, *taken(room, count=10)]) == [[0, 1], [2], [3, 4]]


def test_the_key_of_a_change_that_is_not_taken_waits_and_others_overtake_it() -> None:
    room = room_of("a", "a", "b", "c")
    poison, b, c = taken(room)
    room.accepted(b, 0.5)
    assert room.failed(poison, UNWELL, 0.6) == []
    room.accepted(c, 0.7)
    assert (room.suspects(), room.count) == (1, 2)
    assert taken(room, 1.5) == []
    assert 0.09 < room.wait_seconds(1.5) < 0.11
    add(room, "d", first=4)
    assert offsets(taken(room, 1.5)) == [[4]]
    assert offsets(taken(room, 1.6)) == [[0]]


def test_a_change_whose_tries_are_used_up_is_given_back_and_its_key_goes_on() -> None:
    room = room_of("a", "a", "b")
    poison, b = taken(room)
    room.accepted(b, 0.1)
    now = 0.2
    for wait in (1.0, 5.0):
        assert room.failed(poison, UNWELL, now) == []
        now += wait
        (poison,) = taken(room, now)
    (used_up,) = room.failed(poison, UNWELL, now)
    assert used_up.record.offset == 0
    room.settle(used_up)
    assert list(room.durable()) == [(TOPIC, 0, 1)]
    assert offsets(taken(room, now)) == [[1]]


def test_tries_do_not_count_while_nothing_else_is_taken() -> None:
    room = room_of("a", schedule=(1.0,))
    now = 0.0
    for _ in range(50):
        (run,) = taken(room, now)
        assert room.failed(run, UNWELL, now) == []
        now += 1.0
    assert (room.attempts, room.suspects()) == (50, 0)


def test_an_unwell_receiver_is_asked_by_one_change_at_a_time_and_excuses_all_when_it_is_back() -> None:
    names = [f"k{number}" for number in range(20)]
    room = room_of(*names)
    runs = taken(room)
    for run in runs[:UNWELL_KEYS]:
        room.failed(run, UNWELL, 1.0)
    assert room.is_unwell
    for run in runs[UNWELL_KEYS:]:
        room.failed(run, UNWELL, 1.0)
    assert taken(room, 1.5) == []
    (probe,) = taken(room, 2.0)
    assert taken(room, 2.0) == []
    room.failed(probe, UNWELL, 2.0)
    (probe,) = taken(room, 100.0)
    room.accepted(probe, 100.0)
    assert len(taken(room, 100.0)) == 19
    assert room.suspects() == 0


def test_a_refusal_of_us_parks_all_unless_others_are_taken() -> None:
    refused = ContractBroken("webhook", "answered 403")
    room = room_of("a", "b", "c")
    a, b, c = taken(room)
    room.failed(a, refused, 0.1)
    assert room.is_unwell
    room.accepted(b, 0.2)
    room.failed(c, refused, 0.3)
    assert not room.is_unwell
    assert room.suspects() == 1


def test_what_was_refused_together_goes_one_by_one() -> None:
    room = room_of("a", "b", "a", "c")
    run, other = taken(room, count=3)
    assert offsets([run, other]) == [[0, 2, 1], [3]]
    room.apart(run)
    assert offsets(taken(room, count=3)) == [[0], [1]]
    room.accepted(other, 1.0)
    assert taken(room, count=3) == []


def test_what_is_no_longer_ours_leaves_and_its_answers_are_ignored() -> None:
    room = room_of("a", "b")
    add(room, "x", partition=1)
    a, b, x = taken(room)
    assert room.keep(lambda _topic, partition: partition == 1)
    assert room.count == 1
    room.accepted(a, 0.1)
    assert room.failed(b, UNWELL, 0.1) == []
    room.accepted(x, 0.2)
    assert list(room.durable()) == [(TOPIC, 1, 1)]
    assert room.wait_seconds(0.2) == math.inf
    add(room, "a", "b")
    assert offsets(taken(room, 0.3)) == [[0], [1]]


def test_a_receiver_that_asks_for_a_pause_gets_one() -> None:
    room = room_of("a", "b")
    room.pause(10.0)
    assert taken(room, 9.0) == []
    assert room.wait_seconds(4.0) == 6.0
    assert len(taken(room, 10.0)) == 2
