from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from schemas.change import Batch, Record
from schemas.errors import ContractBroken, Misconfigured, Transient
from schemas.log.kafka import Kafka
from streams.worker.app import application
from streams.worker.pins import check_pins, fingerprint
from streams.worker.prefix import Prefix, Unconfirmed
from streams.worker.transport import RunConsumer
from streams.worker.worker import EXIT_CRASHED, EXIT_STOPPED, Attempt, Watch, exit_code, join_runs, sole_owner

PLACE = ("police.resident", 0)


def opened(*ends: int) -> Prefix:
    prefix = Prefix()
    for end in ends:
        prefix.open(PLACE, end)
    return prefix


def test_in_flight_record_at_the_committed_head_is_not_skipped():
    prefix = opened(2585, 2586, 2587, 2588, 2589)  # FA-03: stock 0.15.3 commits 2590 here
    for end in (2586, 2587, 2588, 2589):
        assert prefix.finish(PLACE, end)
    assert prefix.due() == {}
    prefix.finish(PLACE, 2585)
    assert prefix.due() == {PLACE: 2590}


def test_new_group_does_not_commit_over_its_first_records():
    prefix = opened(4, 6)  # FA-03: with nothing committed yet stock 0.15.3 commits 7 here
    prefix.finish(PLACE, 6)
    assert prefix.due() == {}


def test_work_that_goes_on_without_a_position_being_taken_is_counted():
    unconfirmed = Unconfirmed()
    assert unconfirmed.seconds(0) == 0
    for now in range(0, 200, 10):
        unconfirmed.finished(now)
    assert unconfirmed.seconds(195) == 195
    unconfirmed.confirmed(196)
    assert unconfirmed.seconds(200) == 4
    assert unconfirmed.seconds(500) == 0, "nothing is finished any more: the broker may be away"
    unconfirmed.finished(500)
    assert unconfirmed.seconds(505) == 5, "and what was before that is no reason"


class ClosedTransport:
    """A writer of uvloop whose connection was lost a moment ago."""

    def write(self, _: bytes) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

    def close(self) -> None:
        """It is."""


def test_a_connection_that_was_closed_under_way_is_broken_like_any_other():
    """The RuntimeError ended aiokafka's search for the coordinator, and with it all commits (F-1)."""

    async def send_on_a_closed_one() -> None:
        connection: Any = AIOKafkaConnection("127.0.0.1", 1)
        connection._writer, connection._reader = ClosedTransport(), asyncio.StreamReader()
        connection._versions = {MetadataRequest.API_KEY: (0, 1)}
        connection._read_task = asyncio.create_task(asyncio.sleep(0))
        with pytest.raises(KafkaConnectionError):
            connection.send(MetadataRequest([]))
        assert not connection.connected()

    asyncio.run(send_on_a_closed_one())


@given(st.data(), st.lists(st.integers(1, 50), min_size=1, max_size=20))
def test_what_is_due_is_the_finished_prefix_whatever_the_order(data: st.DataObject, lengths: list[int]):
    ends, at = [], -1
    for length in lengths:
        at += length
        ends.append(at)
    prefix, finished = opened(*ends), set()
    for end in data.draw(st.permutations(ends)):
        prefix.finish(PLACE, end)
        finished.add(end)
        whole = [end for index, end in enumerate(ends) if finished.issuperset(ends[: index + 1])]
        assert prefix.due() == ({PLACE: whole[-1] + 1} if whole else {})
    assert prefix.is_idle


def test_failed_commit_stays_due():
    prefix = opened(9, 19)
    prefix.finish(PLACE, 9)
    due = prefix.due()
    prefix.finish(PLACE, 19)
    prefix.committed(due)  # the broker has 10; 20 became due while it answered
    assert prefix.due() == {PLACE: 20}
    prefix.committed(prefix.due())
    assert prefix.due() == {}


def test_acknowledgement_of_a_past_assignment_is_ignored():
    prefix = opened(9)
    prefix.forget()
    assert not prefix.finish(PLACE, 9)
    prefix.open(PLACE, 4)
    assert not prefix.finish(PLACE, 9)
    assert prefix.due() == {}


def test_changed_library_is_refused_with_what_to_do():
    method = "faust.transport.consumer:Consumer.commit"
    check_pins("faust-streaming", "0.15.3", {method: fingerprint(method) or ""})
    with pytest.raises(Misconfigured, match=r"nowhere:Gone\.away, .*Consumer\.commit differ") as refused:
        check_pins("faust-streaming", "0.15.3", {method: "0" * 16, "faust.nowhere:Gone.away": "0" * 16})
    assert "faust-streaming==0.15.3" in refused.value.fix


async def hand_on(directory: Path, change: Callable[[RunConsumer], None]) -> tuple[int, int]:
    """Hand a run of epoch 1 to a consumer whose flow is off; count what was delivered before and after `change`."""
    consumer = cast("RunConsumer", application(Kafka("127.0.0.1:1"), "g", directory, None).consumer)
    delivered = []

    async def deliver(message: object) -> None:
        delivered.append(message)

    consumer.callback = deliver
    consumer.epoch = 1
    consumer.stop_flow()
    handing = asyncio.create_task(consumer._hand_on(1, {TP(*PLACE): ([Record(0, None, None, None, 0)], 0)}))
    for _ in range(5):
        await asyncio.sleep(0)
    before = len(delivered)
    change(consumer)
    consumer.resume_flow()
    await handing
    consumer._thread.thread_loop.close()
    return before, len(delivered)


def test_record_read_behind_the_rewind_waits_for_the_flow(tmp_path: Path):
    # A fetch that was under way during the rebalance brings it once only: dropped here, it would be lost.
    assert asyncio.run(hand_on(tmp_path, lambda consumer: None)) == (0, 1)


def test_record_of_a_past_assignment_is_dropped_since_it_comes_again(tmp_path: Path):
    assert asyncio.run(hand_on(tmp_path, lambda consumer: setattr(consumer, "epoch", 2))) == (0, 0)


def run(topic: str, partition: int, *offsets: int) -> Batch:
    return Batch(topic=topic, partition=partition, records=[Record(offset, None, None, None, 0) for offset in offsets])


def test_runs_of_a_partition_become_one_batch_in_order():
    joined = join_runs([run("a.a", 0, 1, 2), run("a.b", 0, 7), run("a.a", 1, 3), run("a.a", 0, 3, 5)])
    shapes = [(batch.topic, batch.partition, [record.offset for record in batch.records]) for batch in joined]
    assert shapes == [("a.a", 0, [1, 2, 3, 5]), ("a.b", 0, [7]), ("a.a", 1, [3])]


def test_unwell_other_side_gets_the_same_group_again():
    seen = []

    def handle(batches: object) -> None:
        seen.append(batches)
        if len(seen) < 3:
            raise Transient("not now", retry_after_seconds=0.0)

    group = [run("a.a", 0, 1)]
    assert Attempt(handle, give_up_seconds=60, alive=lambda: None)(group)
    assert seen == [group] * 3


def test_a_group_that_is_tried_for_long_is_told_of_until_it_was_handled():
    told: list[str] = []
    answers = iter([Transient("not now", retry_after_seconds=0.0)] * 2 + [None])

    def handle(batches: object) -> None:
        if error := next(answers):
            raise error

    def held_up(error: Transient | None) -> None:
        told.append("well" if error is None else error.problem)

    attempt = Attempt(handle, give_up_seconds=60, alive=lambda: None, held_up=held_up, held_up_after_seconds=0)
    assert attempt([])
    assert told == ["not now", "not now", "well"]
    answers = iter([None])
    assert attempt([])
    assert told == ["not now", "not now", "well"], "what is well is not said again"


def test_retries_end():
    def handle(batches: object) -> None:
        raise Transient("never")

    with pytest.raises(Transient):
        Attempt(handle, give_up_seconds=0, alive=lambda: None)([])


def test_abandoned_group_is_tried_no_more():
    tries = []

    def handle(batches: object) -> None:
        tries.append(batches)
        attempt.abandon()
        raise Transient("not now")

    attempt = Attempt(handle, give_up_seconds=60, alive=lambda: None)
    assert not attempt([])
    assert len(tries) == 1


def test_agreement_that_broke_asks_for_a_human():
    assert exit_code(ContractBroken("a.a-value", "a column is gone")) == EXIT_STOPPED
    assert exit_code(KeyError("x")) == EXIT_CRASHED


def test_stall_is_noticed():
    stalled = threading.Event()
    watch = Watch(0.05, stalled.set)
    watch.start()
    assert stalled.wait(10)
    watch.stop()


def test_instance_id_has_one_living_owner(tmp_path: Path):
    with sole_owner(tmp_path, "streams-0"):
        with pytest.raises(Misconfigured, match="already runs"), sole_owner(tmp_path, "streams-0"):
            pass
        with sole_owner(tmp_path, "streams-1"):
            pass
    with sole_owner(tmp_path, "streams-0"):
        pass
