"""Lag on a topic that is written in transactions: what stands at its end are marks that no reader ever gets."""

from __future__ import annotations

from contextlib import closing

from confluent_kafka import Consumer, TopicPartition

from ops.lag import LagReader
from producers.transaction import TransactionWriter
from tests import feeds


def test_a_group_that_has_read_all_is_not_behind(kafka: str, unique: str) -> None:
    topic = f"{unique}.topic"
    feeds.create(kafka, topic, partitions=1)
    with closing(TransactionWriter(kafka, f"{unique}-0")) as writer:
        for number in range(3):
            writer.write([(topic, b"k", b"%d" % number, 0, None)], (topic, b"last", b"x", 0, None))
    with closing(Consumer({"bootstrap.servers": kafka, "group.id": unique, "enable.auto.commit": False})) as consumer:
        consumer.commit(
            offsets=[TopicPartition(topic, 0, 8)], asynchronous=False
        )  # behind the last record, not the last mark
    with closing(LagReader(kafka)) as lags:
        lag = lags.read({unique: [topic]})[unique][topic]
    assert lag.seconds == 0
    assert not lag.is_passed
