"""The stream worker on a real broker: order, commits, growth, retries, rebalances, ends."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from schemas.change import Batch
from schemas.errors import Misconfigured, Transient
from schemas.feed import out_topic
from schemas.log.kafka import Kafka
from schemas.log.writer import Log
from streams.worker.app import StreamWorker
from streams.worker.worker import EXIT_CRASHED, EXIT_STALLED
from tests.stage import feeds
from tests.stage.until import until

WITHIN_SECONDS = 60


class Seen:
    """What one or several workers were given, by partition, in order."""

    def __init__(self) -> None:
        self.offsets: dict[tuple[str, int], list[int]] = defaultdict(list)
        self.numbers: list[int] = []
        self._lock = threading.Lock()

    def __call__(self, batches: Sequence[Batch]) -> None:
        with self._lock:
            for batch in batches:
                self.offsets[batch.topic, batch.partition] += [record.offset for record in batch.records]
                self.numbers += [int(record.value or b"-1") for record in batch.records]


@pytest.fixture
def log(kafka: Kafka) -> Iterator[Log]:
    writer = Log(kafka, client_id="tests", linger_ms=2)
    yield writer
    writer.close()


@pytest.fixture
def start(kafka: Kafka, unique: str, tmp_path: Path) -> Callable[..., object]:
    @contextmanager
    def worker(
        handle: Callable[[Sequence[Batch]], None],
        topics: Callable[[], frozenset[str]],
        name: str = "w0",
        **more: object,
    ) -> Iterator[threading.Thread]:
        """A worker in a thread of this process; on the way out it is stopped in order."""
        failures: list[BaseException] = []
        stop = threading.Event()

        def run() -> None:
            try:
                StreamWorker(
                    kafka=kafka,
                    group=unique,
                    topics=topics,
                    handle=handle,
                    data_dir=tmp_path / name,
                    instance_id=f"{unique}-{name}",
                    leave=lambda code: failures.append(AssertionError(f"it wanted to leave with {code}")),
                    **more,  # pyright: ignore[reportArgumentType]
                ).run(stop)
            except BaseException as error:  # noqa: BLE001 - raised below, in the test's own thread
                failures.append(error)

        thread = threading.Thread(target=run, name=f"worker-{name}")
        thread.start()
        try:
            yield thread
        finally:
            stop.set()
            thread.join(WITHIN_SECONDS)
            assert not thread.is_alive(), "the worker does not stop"
            if failures:
                raise failures[0]

    return worker


def test_every_partition_keeps_its_order_and_is_committed_to_its_end(kafka: Kafka, unique: str, log: Log, start):
    topics = frozenset({f"{unique}.a", f"{unique}.b"})
    feeds.create(kafka, *topics)
    for topic in topics:
        feeds.fill(log, topic, range(20_000))
    log.flush(30)
    ends, seen = feeds.end_offsets(kafka, sorted(topics)), Seen()
    with start(seen, lambda: topics):
        until(lambda: len(seen.numbers) >= 40_000, WITHIN_SECONDS, "all records")
    assert seen.offsets == {place: list(range(end)) for place, end in ends.items() if end}
    assert feeds.committed_offsets(kafka, unique) == {place: end for place, end in ends.items() if end}


def test_topic_added_while_running_is_read_from_its_first_record(kafka: Kafka, unique: str, log: Log, start):
    topics = [f"{unique}.a"]
    feeds.create(kafka, f"{unique}.a", f"{unique}.b")
    feeds.fill(log, f"{unique}.b", range(1_000_000, 1_000_500))  # stands there before anybody subscribes
    seen, written = Seen(), 0
    with start(seen, lambda: frozenset(topics)):

        def keeps_flowing() -> bool:
            nonlocal written
            feeds.fill(log, f"{unique}.a", range(written, written + 100))
            written += 100
            return len(seen.numbers) > 200

        until(keeps_flowing, WITHIN_SECONDS, "the first topic flows")
        topics.append(f"{unique}.b")
        until(lambda: keeps_flowing() and 1_000_499 in seen.numbers, WITHIN_SECONDS, "the second topic flows")
        feeds.fill(log, f"{unique}.b", range(1_000_500, 1_000_600))
        log.flush(30)
        wanted = {*range(written), *range(1_000_000, 1_000_600)}
        until(lambda: wanted.issubset(seen.numbers), WITHIN_SECONDS, "every record of both topics")
    assert len(seen.numbers) == len(wanted), "an orderly growth repeats nothing"
    ends = feeds.end_offsets(kafka, topics)
    assert feeds.committed_offsets(kafka, unique) == {place: end for place, end in ends.items() if end}


def test_a_worker_that_comes_back_wanting_fewer_topics_works_on_those(kafka: Kafka, unique: str, log: Log, start):
    a, b, c = (f"{unique}.{name}" for name in "abc")
    feeds.create(kafka, a, b, c)
    feeds.fill(log, a, range(100))
    feeds.fill(log, b, range(1_000, 1_100))
    log.flush(30)
    seen = Seen()
    with start(seen, lambda: frozenset({a, b})):
        until(lambda: len(seen.numbers) == 200, WITHIN_SECONDS, "both topics")
    feeds.fill(log, a, range(100, 200))
    feeds.fill(log, c, range(2_000, 2_100))
    log.flush(30)
    again = Seen()
    with start(again, lambda: frozenset({a, c})):  # the broker remembers it, and what it was assigned
        until(lambda: len(again.numbers) == 200, WITHIN_SECONDS, "what it wants now")
    assert sorted(again.numbers) == [*range(100, 200), *range(2_000, 2_100)]
    once_more = Seen()
    with start(once_more, lambda: frozenset({b})):  # of all that it was assigned nothing is left
        feeds.fill(log, b, range(1_100, 1_200))
        log.flush(30)
        until(lambda: len(once_more.numbers) == 100, WITHIN_SECONDS, "what it wants now, from where it was")
    assert sorted(once_more.numbers) == [*range(1_100, 1_200)]


def test_unwell_other_side_holds_the_order_and_loses_nothing(kafka: Kafka, unique: str, log: Log, start):
    topics = frozenset({f"{unique}.a"})
    feeds.create(kafka, *topics)
    feeds.fill(log, f"{unique}.a", range(5_000))
    log.flush(30)
    seen, tries = Seen(), []

    def handle(batches: Sequence[Batch]) -> None:
        tries.append([(batch.topic, batch.partition, batch.next_offset) for batch in batches])
        if len(tries) < 3:
            raise Transient("the other side restarts", retry_after_seconds=0.2)
        seen(batches)

    with start(handle, lambda: topics):
        until(lambda: len(seen.numbers) >= 5_000, WITHIN_SECONDS, "all records")
    assert tries[0] == tries[1] == tries[2]
    assert seen.offsets == {place: list(range(end)) for place, end in feeds.end_offsets(kafka, sorted(topics)).items()}


def test_aborted_records_are_not_seen(kafka: Kafka, unique: str, start):
    topics = frozenset({f"{unique}.a"})
    feeds.create(kafka, *topics, partitions=1)
    producer = Producer(kafka.client({"transactional.id": unique}))
    producer.init_transactions(30)
    for value, is_kept in ((b"1", True), (b"2", False), (b"3", True)):
        producer.begin_transaction()
        producer.produce(f"{unique}.a", value)
        producer.commit_transaction(30) if is_kept else producer.abort_transaction(30)
    seen = Seen()
    with start(seen, lambda: topics):
        until(lambda: 3 in seen.numbers, WITHIN_SECONDS, "the last committed record")
    assert seen.numbers == [1, 3]


def test_three_workers_share_the_partitions_and_lose_nothing_as_they_come_and_go(
    kafka: Kafka, unique: str, log: Log, start
):
    topics = frozenset({f"{unique}.a", f"{unique}.b"})
    feeds.create(kafka, *topics)
    each, written = [Seen(), Seen(), Seen()], 0

    def flows() -> None:
        nonlocal written
        for topic in topics:
            feeds.fill(log, topic, range(written, written + 50))
        written += 50

    def works(*who: int) -> Callable[[], bool]:
        before = [len(each[index].numbers) for index in who]

        def now() -> bool:
            flows()
            return all(len(each[index].numbers) > count for index, count in zip(who, before, strict=True))

        return now

    with start(each[0], lambda: topics, "w0"):
        until(works(0), WITHIN_SECONDS, "one works")
        with start(each[1], lambda: topics, "w1"), start(each[2], lambda: topics, "w2"):
            until(works(0, 1, 2), WITHIN_SECONDS, "three work")
        until(works(0), WITHIN_SECONDS, "one works on alone")
        log.flush(30)
        ends = feeds.end_offsets(kafka, sorted(topics))

        def all_offsets() -> dict[tuple[str, int], set[int]]:
            return {place: set().union(*(seen.offsets.get(place, []) for seen in each)) for place in ends}

        until(
            lambda: all(len(all_offsets()[place]) == end for place, end in ends.items()), WITHIN_SECONDS, "all records"
        )
    for seen in each:
        for offsets in seen.offsets.values():  # a worker may see a record again, but never one before its turn
            new = [offset for index, offset in enumerate(offsets) if offset not in offsets[:index]]
            assert new == sorted(new)


def test_group_in_retry_is_left_to_the_partitions_next_owner(kafka: Kafka, unique: str, log: Log, start):
    topics = frozenset({f"{unique}.a"})
    feeds.create(kafka, *topics)
    feeds.fill(log, f"{unique}.a", range(1_000))
    log.flush(30)
    tried, is_well, seen = threading.Event(), threading.Event(), Seen()

    def unwell(batches: Sequence[Batch]) -> None:
        tried.set()
        if not is_well.is_set():
            raise Transient("not yet", retry_after_seconds=0.5)
        seen(batches)

    with start(unwell, lambda: topics, "w0"):
        assert tried.wait(WITHIN_SECONDS)
        second = Seen()
        with start(second, lambda: topics, "w1"):
            until(lambda: second.numbers, WITHIN_SECONDS, "the second worker has taken over its share")
            assert not seen.numbers
            committed = feeds.committed_offsets(kafka, unique)
            mine = set(feeds.end_offsets(kafka, sorted(topics))) - set(second.offsets)
            assert not mine.intersection(committed), "what was never handled is not committed"
            is_well.set()
            whole = {*range(1_000)}
            until(lambda: whole == {*seen.numbers, *second.numbers}, WITHIN_SECONDS, "all records")


def test_instance_id_in_use_is_refused(kafka: Kafka, unique: str, start):
    topics = frozenset({f"{unique}.a"})
    feeds.create(kafka, *topics)
    with start(Seen(), lambda: topics) as thread:
        until(lambda: list_groups(kafka, unique), WITHIN_SECONDS, "the group exists")
        with pytest.raises(Misconfigured, match="already runs"), start(Seen(), lambda: topics):
            pass
        assert thread.is_alive()


def list_groups(kafka: Kafka, group: str) -> bool:
    admin = AdminClient(kafka.client({}))  # held: what it promised dies with it
    listed = admin.list_consumer_groups().result(30)
    return any(found.group_id == group for found in listed.valid)


def test_no_topic_of_its_own_is_made(kafka: Kafka, unique: str, log: Log, start):
    topics = frozenset({f"{unique}.a"})
    feeds.create(kafka, *topics)
    feeds.fill(log, f"{unique}.a", range(10))
    seen = Seen()
    with start(seen, lambda: topics):
        until(lambda: len(seen.numbers) == 10, WITHIN_SECONDS, "all records")
    assert {name for name in AdminClient(kafka.client({})).list_topics(timeout=30).topics if unique in name} == topics


class Forwarder:
    """tests/chaos/forwarder.py as a child process."""

    def __init__(self, kafka: Kafka, group: str, directory: Path, *topics: str, **options: object) -> None:
        directory.mkdir(exist_ok=True)
        self._topics = directory / "topics"
        self.follow(*topics)
        known = {"kafka": kafka.environment(), "group": group, "topics": str(self._topics), "data_dir": str(directory)}
        self._argv = [
            sys.executable,
            "-m",
            "tests.chaos.forwarder",
            json.dumps({**known, "instance_id": "w0", **options}),
        ]
        self._output = directory / "log"

    def follow(self, *topics: str) -> None:
        self._topics.write_text("\n".join(topics))

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        with self._output.open("ab") as output, subprocess.Popen(self._argv, stdout=output, stderr=output) as process:
            try:
                yield process
            finally:
                process.kill()

    @property
    def said(self) -> str:
        return self._output.read_text()


def copied(kafka: Kafka, topic: str) -> list[int]:
    return [int(m.value()) for messages in feeds.read_all(kafka, [out_topic(topic)]).values() for m in messages]


def test_failure_ends_the_process_before_anything_is_acknowledged(kafka: Kafka, unique: str, log: Log, tmp_path: Path):
    topic = f"{unique}.a"
    feeds.create(kafka, topic, out_topic(topic), partitions=1)
    feeds.fill(log, topic, range(100))
    log.flush(30)
    failing = Forwarder(kafka, unique, tmp_path / "w", topic, fail_at="50")
    with failing.running() as process:
        assert process.wait(WITHIN_SECONDS) == EXIT_CRASHED, failing.said
    assert re.search(r"RuntimeError at .*tests/chaos/forwarder\.py:\d+", failing.said)
    assert feeds.committed_offsets(kafka, unique) == {}
    with Forwarder(kafka, unique, tmp_path / "w", topic).running():
        until(lambda: set(copied(kafka, topic)) == {*range(100)}, WITHIN_SECONDS, "all records")


def test_stall_ends_the_process(kafka: Kafka, unique: str, log: Log, tmp_path: Path):
    topic = f"{unique}.a"
    feeds.create(kafka, topic, out_topic(topic), partitions=1)
    feeds.fill(log, topic, range(10))
    log.flush(30)
    hanging = Forwarder(kafka, unique, tmp_path / "w", topic, hang_at="5", stall_seconds=3)
    with hanging.running() as process:
        assert process.wait(WITHIN_SECONDS) == EXIT_STALLED, hanging.said
    assert feeds.committed_offsets(kafka, unique) == {}


def test_idle_worker_is_not_taken_for_stalled(kafka: Kafka, unique: str, log: Log, tmp_path: Path):
    topic = f"{unique}.a"
    feeds.create(kafka, topic, out_topic(topic), partitions=1)
    idle = Forwarder(kafka, unique, tmp_path / "w", topic, stall_seconds=8)
    with idle.running() as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(14)
        feeds.fill(log, topic, range(10))
        log.flush(30)
        until(lambda: len(copied(kafka, topic)) == 10, WITHIN_SECONDS, "it still works")


def test_orderly_stop_under_load_repeats_nothing(kafka: Kafka, unique: str, log: Log, tmp_path: Path):
    topic = f"{unique}.a"
    feeds.create(kafka, topic, out_topic(topic))
    forwarder, written = Forwarder(kafka, unique, tmp_path / "w", topic), 0

    def more() -> None:
        nonlocal written
        feeds.fill(log, topic, range(written, written + 500))
        written += 500

    def copies() -> int:
        more()
        return sum(feeds.end_offsets(kafka, [out_topic(topic)]).values())

    for _ in range(3):
        enough = copies() + 3_000
        with forwarder.running() as process:
            until(lambda enough=enough: copies() > enough, WITHIN_SECONDS, "it copies under load")
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0, forwarder.said
    log.flush(30)
    with forwarder.running():
        until(lambda: len(copied(kafka, topic)) >= written, WITHIN_SECONDS, "all records")
        assert sorted(copied(kafka, topic)) == [*range(written)]


def test_killed_worker_is_back_at_once_and_finds_a_topic_that_came_meanwhile(
    kafka: Kafka, unique: str, log: Log, tmp_path: Path
):
    topic, later = f"{unique}.a", f"{unique}.b"
    feeds.create(kafka, topic, out_topic(topic), later, out_topic(later))
    feeds.fill(log, topic, range(100))
    log.flush(30)
    forwarder = Forwarder(kafka, unique, tmp_path / "w", topic)
    with forwarder.running():
        until(lambda: len(copied(kafka, topic)) == 100, WITHIN_SECONDS, "it works")
    forwarder.follow(topic, later)  # the broker still holds the killed member's assignment, without this topic
    feeds.fill(log, later, range(200, 300))
    feeds.fill(log, topic, range(100, 200))
    log.flush(30)
    with forwarder.running():
        until(lambda: {*range(200)} == set(copied(kafka, topic)), 9, "its partitions, well before the session ends")
        until(lambda: {*range(200, 300)} == set(copied(kafka, later)), 30, "the new topic")
