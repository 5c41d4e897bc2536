"""A topic grows while writers are at work: they write to its new partitions at once, and to none that is not there."""

from __future__ import annotations

from contextlib import closing

import pytest

from schemas.errors import Transient
from schemas.log.kafka import Kafka
from schemas.log.lane import NoTopic
from schemas.log.topics import grow_topics
from schemas.log.transaction import TransactionWriter
from schemas.log.writer import Log
from tests.stage import feeds


@pytest.fixture
def topic(kafka: Kafka, unique: str) -> str:
    feeds.create(kafka, unique, partitions=2)
    return unique


def values(kafka: Kafka, topic: str) -> dict[int, list[bytes | None]]:
    return {place[1]: [record.value() for record in found] for place, found in feeds.read_all(kafka, [topic]).items()}


def test_a_log_writes_to_partitions_that_came_while_it_was_open(kafka: Kafka, topic: str) -> None:
    with closing(Log(kafka, client_id="test", linger_ms=0)) as log:
        lane = log.lane()
        lane.append(topic, b"k", b"before", partition=1)
        lane.flush(30)
        grow_topics(kafka, topic, 4)
        lane.append(topic, b"k", b"one", partition=3)
        lane.append_all([(topic, b"k", b"two", 2, None), (topic, b"k", b"three", 3, None)])
        lane.flush(30)
        with pytest.raises(NoTopic):
            lane.append(topic, b"k", b"nowhere", partition=4)
    assert values(kafka, topic) == {0: [], 1: [b"before"], 2: [b"two"], 3: [b"one", b"three"]}


def test_a_task_writes_to_partitions_that_came_while_it_was_open(kafka: Kafka, topic: str) -> None:
    with closing(TransactionWriter(kafka, topic)) as writer:
        writer.write([(topic, b"k", b"before", 1, None)], (topic, b"k", b"last", 0, None))
        grow_topics(kafka, topic, 4)
        writer.write([(topic, b"k", b"one", 3, None)], (topic, b"k", b"two", 2, None))
        with pytest.raises(Transient):
            writer.write([(topic, b"k", b"nowhere", 4, None)], (topic, b"k", b"two", 2, None))
    found = values(kafka, topic)
    assert (found[2], found[3]) == ([b"two"], [b"one"])
