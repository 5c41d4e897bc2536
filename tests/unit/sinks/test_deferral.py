"""How a refused run is taken apart, and what waits behind a change that waits."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.change import Batch, Record
from schemas.errors import Rejected
from sinks.lane.deferral.bisection import RefusedRun, bisect, halves
from sinks.lane.deferral.deferred_changes import DeferredChanges
from sinks.sink import NotYet

TOPIC = "out.a.b"
EARLY = NotYet(TOPIC, "sql_23503", "its parent is missing")


def run(*keys: str, first: int = 0, partition: int = 0) -> Batch:
    records = [Record(first + number, key.encode(), b"v", None, 0) for number, key in enumerate(keys)]
    return Batch(topic=TOPIC, partition=partition, records=records)


def offsets(batches: Sequence[Batch]) -> list[int]:
    return [record.offset for batch in batches for record in batch.records]


def test_halves_keep_the_order() -> None:
    first, second = halves([run("a", "b", "c", "d", "e")])
    assert offsets([*first, *second]) == [0, 1, 2, 3, 4]
    several = [run("a"), run("b", partition=1), run("c", partition=2)]
    first, second = halves(several)
    assert [*first, *second] == several


def test_each_bad_change_is_found_alone_and_in_order() -> None:
    bad, tried = {2, 5, 6}, list[list[int]]()

    def attempt(batches: Sequence[Batch]) -> RefusedRun | None:
        tried.append(offsets(batches))
        return RefusedRun(batches, Rejected("bad")) if bad.intersection(tried[-1]) else None

    whole = RefusedRun([run(*"abcdefgh")], Rejected("bad"))
    found = [(batch.records[0].offset, len(tried)) for batch, _ in bisect(whole, attempt)]
    assert [offset for offset, _ in found] == [2, 5, 6]
    taken = [offset for each in tried if not bad.intersection(each) for offset in each]
    assert taken == [0, 1, 3, 4, 7]
    assert found[0][1] < found[1][1] < found[2][1], "nothing further is tried before a bad one was given out"


def test_later_changes_of_a_key_queue_behind_the_one_that_waits() -> None:
    changes = DeferredChanges()
    changes.add(run("a", first=3), EARLY, now=10.0)
    rest = changes.queue_behind(run("a", "b", "a", first=4))
    assert rest is not None
    assert offsets([rest]) == [5]
    assert changes.queue_behind(run("a", first=7)) is None
    assert changes.queue_behind(run("a", partition=1)) is not None, "another partition's key is another key"
    assert (len(changes), changes.low_watermark((TOPIC, 0))) == (4, 3)


def test_the_first_of_a_key_has_its_time_and_then_the_next_one_has() -> None:
    changes = DeferredChanges()
    changes.add(run("a", first=3), EARLY, now=10.0)
    changes.queue_behind(run("a", first=4))
    (waiting,) = changes.batches(())
    first, second = (Batch(topic=TOPIC, partition=0, records=[record]) for record in waiting.records)
    wait = changes.wait_of(first)
    assert wait is not None
    assert (wait.since, changes.wait_of(second)) == (10.0, None)
    changes.remove(first)
    changes.begin_anew(first, 20.0)
    wait = changes.wait_of(second)
    assert wait is not None
    assert (wait.since, changes.low_watermark((TOPIC, 0))) == (20.0, 4)
    changes.remove(second)
    assert changes.low_watermark((TOPIC, 0)) is None
    changes.forget([(TOPIC, 0)])
    assert not changes
    assert changes.batches(()) == []
