"""Records that retention took before the stream worker had read them: that partition stands still, loudly, until a person decides."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from ops.redelivery.gaps import Gaps
from schemas.agreement.agency import Agency, SourceConfig
from schemas.agreement.directory import Directory
from schemas.change import Batch
from schemas.incident import MemoryIncidents
from schemas.log.kafka import Kafka
from schemas.log.writer import Log
from streams.worker import run_thread
from streams.worker.app import StreamWorker
from streams.worker.run_thread import Lost
from tests.stage import feeds
from tests.stage.capturing import Schemas, contract
from tests.stage.until import until, until_none

WITHIN_SECONDS = 60


class Desk:
    """A stream worker, what it was given, and what it asks and says about gaps."""

    def __init__(self, kafka: Kafka, unique: str, folder: Path, *topics: str) -> None:
        self.kafka, self.group, self.folder, self.topics = kafka, unique, folder, topics
        entries = {topic: Schemas().entry(contract(topic, {"id": "int"}), partitions=1) for topic in topics}
        source = SourceConfig(name="main", kind="postgres")
        agency = topics[0].partition(".")[0]
        self.directory = Directory(
            agencies={agency: Agency(agency=agency, name=agency, sources=(source,))}, feeds=entries
        )
        self.incidents = MemoryIncidents()
        self.numbers: dict[str, list[int]] = {topic: [] for topic in topics}

    def take(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            self.numbers[batch.topic] += [int(record.value or b"-1") for record in batch.records]

    @contextmanager
    def working(self) -> Iterator[None]:
        lost: Lost = Gaps(self.group, lambda: self.directory, self.incidents)
        stop, failures = threading.Event(), list[BaseException]()

        def run() -> None:
            try:
                StreamWorker(
                    kafka=self.kafka,
                    group=self.group,
                    topics=lambda: frozenset(self.topics),
                    handle=self.take,
                    data_dir=self.folder,
                    lost=lost,
                    stall_seconds=20,
                    leave=failures.append,
                ).run(stop)
            except BaseException as error:  # noqa: BLE001 - raised below, in the test's own thread
                failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(60)
        assert not failures


def test_what_goes_under_a_running_worker_stops_its_partition_too(
    kafka: Kafka, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PACE_SECONDS_PER_PARTITION", "PACE_MOST_SECONDS"):
        monkeypatch.setattr(run_thread, name, 2.0)  # so that records go between two fetches
    cut = f"{unique}.cut"
    feeds.create(kafka, cut, partitions=1)
    desk = Desk(kafka, unique, tmp_path, cut)
    admin = AdminClient(kafka.client({}))
    with closing(Log(kafka, client_id="test")) as log, desk.working():
        feeds.fill(log, cut, [0])
        log.flush(30)
        until(lambda: desk.numbers[cut], WITHIN_SECONDS, "the first one")
        written = 1

        def removed() -> bool:
            nonlocal written
            feeds.fill(log, cut, [written])
            log.flush(30)
            written += 1
            admin.delete_records([TopicPartition(cut, 0, written)])[TopicPartition(cut, 0)].result(30)
            return bool(desk.incidents.present())

        until(removed, WITHIN_SECONDS, "the gap is told")
        read = list(desk.numbers[cut])
        (incident,) = desk.incidents.present().values()
        assert (incident.name, incident.state) == (cut, "stopped")
        feeds.fill(log, cut, [1_000])
        log.flush(30)

        def goes_on() -> bool:
            if desk.incidents.present():  # the last record may have been removed behind a gap that was told already
                desk.directory = replace(desk.directory, resyncs={f"{unique}.main": f"request {time.monotonic_ns()}"})
            return desk.numbers[cut][-1] == 1_000

        until(goes_on, WITHIN_SECONDS, "a request is the word to go on with what is left")
        until_none(desk.incidents.present, WITHIN_SECONDS, "the incident ends")
        assert desk.numbers[cut][: len(read)] == read


def test_a_gap_stops_its_partition_alone_until_the_feed_is_copied_anew(
    kafka: Kafka, unique: str, tmp_path: Path
) -> None:
    cut, whole = f"{unique}.cut", f"{unique}.whole"
    feeds.create(kafka, cut, whole, partitions=1)
    desk = Desk(kafka, unique, tmp_path, cut, whole)
    with closing(Log(kafka, client_id="test")) as log:
        for topic in (cut, whole):
            feeds.fill(log, topic, range(10))
        log.flush(30)
        with desk.working():
            until(lambda: all(len(seen) == 10 for seen in desk.numbers.values()), WITHIN_SECONDS, "the first ten")
        for topic in (cut, whole):
            feeds.fill(log, topic, range(10, 30))
        log.flush(30)
        admin = AdminClient(kafka.client({}))
        admin.delete_records([TopicPartition(cut, 0, 20)])[TopicPartition(cut, 0)].result(30)

        for _ in range(2):  # also after a restart
            with desk.working():
                until(desk.incidents.present, WITHIN_SECONDS, "the gap is told")
                feeds.fill(log, whole, [len(desk.numbers[whole]) + 100])
                log.flush(30)
                until(lambda: desk.numbers[whole][-1] >= 100, WITHIN_SECONDS, "the other feed flows")
            assert desk.numbers[cut] == list(range(10))
            (incident,) = desk.incidents.present().values()
            assert (incident.kind, incident.name, incident.state) == ("feed", cut, "stopped")
            assert "records 10 to 19 of partition 0 were removed" in incident.reason
            assert incident.fix == f"copy the feed anew: `mesh resync {unique}.main`"

        desk.incidents.end("feed", cut)
        with desk.working():
            until(desk.incidents.present, WITHIN_SECONDS, "the gap is told")
            desk.directory = replace(desk.directory, resyncs={f"{unique}.main": "asked for"})
            until(lambda: desk.numbers[cut] == [*range(10), *range(20, 30)], WITHIN_SECONDS, "what is left is read")
            until_none(desk.incidents.present, WITHIN_SECONDS, "the incident ends")
    assert feeds.committed_offsets(kafka, unique)[cut, 0] == 30
