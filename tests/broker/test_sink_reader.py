"""Reading ranges and tails of real topics."""

from __future__ import annotations

import re
import threading
from contextlib import closing

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from schemas.errors import ContractBroken, Transient
from schemas.log.kafka import Kafka
from schemas.log.range import read_range, tail
from schemas.log.writer import Log
from tests.stage.feeds import create, fill
from tests.stage.until import until


def test_a_range_is_exact_and_may_end_behind_the_topic(kafka: Kafka, unique: str) -> None:
    topic = f"out.{unique}.police.person"
    create(kafka, topic, partitions=1)
    log = Log(kafka, client_id="test")
    fill(log, topic, range(5000))
    log.flush(30)
    log.close()
    for start, end in ((0, 5000), (17, 18), (4990, 9999), (5000, 5001)):
        offsets = [record.offset for batch in read_range(kafka, topic, 0, start, end) for record in batch.records]
        assert offsets == list(range(start, min(end, 5000)))
    with pytest.raises(ContractBroken, match="no longer"):
        list(read_range(kafka, topic, 0, 6000, 6001))


def test_a_tail_shows_what_comes_and_joins_no_group(kafka: Kafka, unique: str) -> None:
    topic = f"out.{unique}.police.person"
    create(kafka, topic, partitions=3)
    log, stop = Log(kafka, client_id="test"), threading.Event()
    fill(log, topic, range(100))
    log.flush(30)
    seen: list[bytes | None] = []

    def follow() -> None:
        for batches in tail(kafka, [topic], stop, from_beginning=True):
            seen.extend(record.value for batch in batches for record in batch.records)

    thread = threading.Thread(target=follow)
    thread.start()
    until(lambda: len(seen) == 100, 20, "what is there")
    fill(log, topic, range(100, 200))
    log.flush(30)
    log.close()
    until(lambda: len(seen) == 200, 20, "what comes")
    stop.set()
    thread.join(10)
    assert sorted(int(value or b"") for value in seen) == list(range(200))
    with pytest.raises(Transient, match="no such topic"):
        next(tail(kafka, [f"{topic}.none"], threading.Event()))


def test_whoever_follows_a_topic_that_was_made_anew_is_told(kafka: Kafka, unique: str) -> None:
    topic, admin = f"{unique}.followed", AdminClient(kafka.client({}))
    create(kafka, topic, partitions=1)
    with closing(Log(kafka, client_id="test")) as log:
        for number in range(50):
            log.append(topic, b"%d" % number, b"%d" % number)
        log.flush(30)
    stop = threading.Event()
    guard = threading.Timer(60, stop.set)
    guard.start()
    try:
        followed = tail(kafka, [topic], stop, from_beginning=True)
        count = 0
        while count < 50:
            count += sum(len(batch.records) for batch in next(followed))
        admin.delete_topics([topic])[topic].result(30)
        until(lambda: topic not in admin.list_topics(timeout=30).topics, 30, "it is gone")
        until(lambda: is_made(kafka, topic), 30, "it is made anew")
        with pytest.raises(Transient, match=re.escape(f"tail: {topic} [0]")):
            list(followed)
    finally:
        guard.cancel()
        stop.set()


def is_made(kafka: Kafka, topic: str) -> bool:
    try:
        create(kafka, topic, partitions=1)
    except KafkaException:  # what is being deleted cannot be made yet
        return False
    return True
