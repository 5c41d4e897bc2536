"""What a lane holds between reading and writing."""

from __future__ import annotations

from schemas.change import Batch, Record
from sinks.lane.accumulator import BatchAccumulator
from sinks.sink import BatchingPolicy


def batch(first: int, count: int, topic: str = "out.a.b", size: int = 10) -> Batch:
    records = [Record(first + number, b"k", b"v" * size, None, 0) for number in range(count)]
    return Batch(topic=topic, partition=0, records=records)


def offsets(batches: list[Batch]) -> dict[str, list[int]]:
    return {batch.topic: [record.offset for record in batch.records] for batch in batches}


def test_a_drop_is_due_when_it_is_full_or_old() -> None:
    held = BatchAccumulator(BatchingPolicy(records_max=5, bytes_max=1_000, linger_seconds=60))
    held.add([batch(0, 3)], 100.0)
    assert held.room == (2, 970)
    assert not held.is_due(159.9)
    assert held.is_due(160.0)
    held.add([batch(3, 2)], 101.0)
    assert held.is_due(101.0)
    assert offsets(held.take()) == {"out.a.b": [0, 1, 2, 3, 4]}
    assert not held
    assert held.room == (5, 1_000)


def test_what_is_no_longer_ours_is_dropped_with_its_share_of_the_totals() -> None:
    held = BatchAccumulator(BatchingPolicy(records_max=100, bytes_max=1_000))
    held.add([batch(0, 3), batch(0, 4, "out.a.c")], 0.0)
    held.keep(lambda topic, _partition: topic == "out.a.c")
    assert held.room == (96, 960)
    assert offsets(held.take()) == {"out.a.c": [0, 1, 2, 3]}


def test_a_partition_that_went_and_came_back_is_held_once() -> None:
    held = BatchAccumulator(BatchingPolicy(records_max=100, bytes_max=1_000, linger_seconds=60))
    held.add([batch(5, 3)], 0.0)
    held.add([batch(5, 4)], 1.0)
    assert offsets(held.take()) == {"out.a.b": [5, 6, 7, 8]}
