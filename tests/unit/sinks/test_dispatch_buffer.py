"""The waiting buffer: order per key, barriers, tries that count, and offsets that are durable."""

from __future__ import annotations

import math

from schemas.change import Batch, Record
from schemas.errors import ContractBroken, Transient
from sinks.lane.dispatch.breaker import OPEN_KEYS
from sinks.lane.dispatch.buffer import KeyOrderedBuffer
from sinks.lane.dispatch.buffered import BufferedChange

TOPIC = "out.a.b"
UNWELL = Transient("answered 500")


def buffer_of(*keys: str, schedule: tuple[float, ...] = (1.0, 5.0), partition: int = 0) -> KeyOrderedBuffer:
    buffer = KeyOrderedBuffer(schedule)
    add(buffer, *keys, partition=partition)
    return buffer


def add(buffer: KeyOrderedBuffer, *keys: str, first: int = 0, partition: int = 0) -> None:
    """Records of these keys; "" is a truncate, "-" a tombstone."""
    records = [
        Record(first + number, key.encode(), None if key == "-" else b"v", None, 0) for number, key in enumerate(keys)
    ]
    buffer.add(Batch(topic=TOPIC, partition=partition, records=records))


def taken(buffer: KeyOrderedBuffer, now: float = 0.0, count: int = 1) -> list[list[BufferedChange]]:
    runs: list[list[BufferedChange]] = []
    while run := buffer.take(now, count):
        runs.append(run)
    return runs


def offsets(runs: list[list[BufferedChange]]) -> list[list[int]]:
    return [[entry.record.offset for entry in run] for run in runs]


def test_one_change_of_a_key_is_out_at_a_time() -> None:
    buffer = buffer_of("a", "b", "a", "c", "a")
    runs = taken(buffer)
    assert offsets(runs) == [[0], [1], [3]]
    buffer.accepted(runs[1], 1.0)
    assert taken(buffer) == []
    buffer.accepted(runs[0], 1.0)
    assert offsets(taken(buffer)) == [[2]]


def test_offsets_are_durable_up_to_the_first_that_is_not_settled() -> None:
    buffer = buffer_of("a", "b", "-", "c")
    first, second, third = taken(buffer)
    buffer.accepted(second, 1.0)
    assert list(buffer.durable()) == []
    buffer.accepted(first, 1.0)
    assert list(buffer.durable()) == [(TOPIC, 0, 3)]
    buffer.accepted(third, 1.0)
    assert list(buffer.durable()) == [(TOPIC, 0, 4)]
    assert list(buffer.durable()) == []
    assert (buffer.count, buffer.size_bytes) == (0, 0)


def test_a_truncate_is_a_barrier_in_its_partition_only() -> None:
    buffer = buffer_of("a", "b", "", "a", "c", "", "d")
    add(buffer, "x", partition=1)
    a, b, x = taken(buffer)
    assert offsets([a, b, x]) == [[0], [1], [0]]
    buffer.accepted(b, 1.0)
    assert taken(buffer) == []
    buffer.accepted(a, 1.0)
    (barrier,) = taken(buffer)
    assert offsets([barrier]) == [[2]]
    assert buffer.failed(barrier, UNWELL, 1.0) == []
    assert taken(buffer, 1.5) == []
    (barrier,) = taken(buffer, 2.0)
    buffer.accepted(barrier, 2.0)
    behind = taken(buffer)
    assert offsets(behind) == [[3], [4]]
    for run in behind:
        buffer.accepted(run, 3.0)
    assert offsets(taken(buffer)) == [[5]]


def test_a_truncate_is_alone_in_its_request() -> None:
    buffer = buffer_of("a", "b", "", "a", "b")
    (before,) = taken(buffer, count=10)
    buffer.accepted(before, 0.0)
    (barrier,) = taken(buffer, count=10)
    buffer.accepted(barrier, 0.0)
    assert offsets([before, barrier, *taken(buffer, count=10)]) == [[0, 1], [2], [3, 4]]


def test_the_key_of_a_change_that_is_not_taken_waits_and_others_overtake_it() -> None:
    buffer = buffer_of("a", "a", "b", "c")
    poison, b, c = taken(buffer)
    buffer.accepted(b, 0.5)
    assert buffer.failed(poison, UNWELL, 0.6) == []
    buffer.accepted(c, 0.7)
    assert (buffer.suspects(), buffer.count) == (1, 2)
    assert taken(buffer, 1.5) == []
    assert 0.09 < buffer.wait_seconds(1.5) < 0.11
    add(buffer, "d", first=4)
    assert offsets(taken(buffer, 1.5)) == [[4]]
    assert offsets(taken(buffer, 1.6)) == [[0]]


def test_a_change_whose_tries_are_used_up_is_given_back_and_its_key_goes_on() -> None:
    buffer = buffer_of("a", "a", "b")
    poison, b = taken(buffer)
    buffer.accepted(b, 0.1)
    now = 0.2
    for wait in (1.0, 5.0):
        assert buffer.failed(poison, UNWELL, now) == []
        now += wait
        (poison,) = taken(buffer, now)
    (used_up,) = buffer.failed(poison, UNWELL, now)
    assert used_up.record.offset == 0
    buffer.settle(used_up)
    assert list(buffer.durable()) == [(TOPIC, 0, 1)]
    assert offsets(taken(buffer, now)) == [[1]]


def test_tries_do_not_count_while_nothing_else_is_taken() -> None:
    buffer = buffer_of("a", schedule=(1.0,))
    now = 0.0
    for _ in range(50):
        (run,) = taken(buffer, now)
        assert buffer.failed(run, UNWELL, now) == []
        now += 1.0
    assert (buffer.breaker.attempts, buffer.suspects()) == (50, 0)


def test_an_unwell_receiver_is_asked_by_one_change_at_a_time_and_excuses_all_when_it_is_back() -> None:
    names = [f"k{number}" for number in range(20)]
    buffer = buffer_of(*names)
    runs = taken(buffer)
    for run in runs[:OPEN_KEYS]:
        buffer.failed(run, UNWELL, 1.0)
    assert buffer.breaker.is_open
    for run in runs[OPEN_KEYS:]:
        buffer.failed(run, UNWELL, 1.0)
    assert taken(buffer, 1.5) == []
    (probe,) = taken(buffer, 2.0)
    assert taken(buffer, 2.0) == []
    buffer.failed(probe, UNWELL, 2.0)
    (probe,) = taken(buffer, 100.0)
    buffer.accepted(probe, 100.0)
    assert len(taken(buffer, 100.0)) == 19
    assert buffer.suspects() == 0


def test_a_refusal_of_us_parks_all_unless_others_are_taken() -> None:
    refused = ContractBroken("webhook", "answered 403")
    buffer = buffer_of("a", "b", "c")
    a, b, c = taken(buffer)
    buffer.failed(a, refused, 0.1)
    assert buffer.breaker.is_open
    buffer.accepted(b, 0.2)
    buffer.failed(c, refused, 0.3)
    assert not buffer.breaker.is_open
    assert buffer.suspects() == 1


def test_what_was_refused_together_goes_one_by_one() -> None:
    buffer = buffer_of("a", "b", "a", "c")
    run, other = taken(buffer, count=3)
    assert offsets([run, other]) == [[0, 2, 1], [3]]
    buffer.apart(run)
    assert offsets(taken(buffer, count=3)) == [[0], [1]]
    buffer.accepted(other, 1.0)
    assert taken(buffer, count=3) == []


def test_what_is_no_longer_ours_leaves_and_its_answers_are_ignored() -> None:
    buffer = buffer_of("a", "b")
    add(buffer, "x", partition=1)
    a, b, x = taken(buffer)
    assert buffer.keep(lambda _topic, partition: partition == 1)
    assert buffer.count == 1
    buffer.accepted(a, 0.1)
    assert buffer.failed(b, UNWELL, 0.1) == []
    buffer.accepted(x, 0.2)
    assert list(buffer.durable()) == [(TOPIC, 1, 1)]
    assert buffer.wait_seconds(0.2) == math.inf
    add(buffer, "a", "b")
    assert offsets(taken(buffer, 0.3)) == [[0], [1]]


def test_a_receiver_that_asks_for_a_pause_gets_one() -> None:
    buffer = buffer_of("a", "b")
    buffer.breaker.pause(10.0)
    assert taken(buffer, 9.0) == []
    assert buffer.wait_seconds(4.0) == 6.0
    assert len(taken(buffer, 10.0)) == 2
