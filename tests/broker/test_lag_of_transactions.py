"""Lag on a topic that is written in transactions: what stands at its end are marks that no reader ever gets."""

from __future__ import annotations

import time
from contextlib import closing

from confluent_kafka import Consumer, Producer, TopicPartition

from ops.watch.lag import LagReader
from ops.watch.open_transactions import OPEN_SECONDS, OpenTransactions
from schemas.incident import MemoryIncidents
from schemas.log.kafka import Kafka
from schemas.log.transaction import TransactionWriter
from tests.stage import feeds


def test_a_group_that_has_read_all_is_not_behind(kafka: Kafka, unique: str) -> None:
    topic = f"{unique}.topic"
    feeds.create(kafka, topic, partitions=1)
    with closing(TransactionWriter(kafka, f"{unique}-0")) as writer:
        for number in range(3):
            writer.write([(topic, b"k", b"%d" % number, 0, None)], (topic, b"last", b"x", 0, None))
    with closing(Consumer(kafka.client({"group.id": unique, "enable.auto.commit": False}))) as consumer:
        consumer.commit(
            offsets=[TopicPartition(topic, 0, 8)], asynchronous=False
        )  # behind the last record, not the last mark
    with closing(LagReader(kafka)) as lags:
        lag = lags.read({unique: [topic]})[unique][topic]
    assert lag.seconds == 0
    assert not lag.is_passed


def test_a_transaction_that_does_not_end_holds_readers_up_and_is_said(kafka: Kafka, unique: str) -> None:
    topic = f"{unique}.topic"
    feeds.create(kafka, topic, partitions=1)
    with closing(TransactionWriter(kafka, f"{unique}-0")) as writer:
        writer.write([(topic, b"k", b"0", 0, None)], (topic, b"last", b"x", 0, None))
    open_one = Producer(kafka.client({"transactional.id": f"{unique}-1"}))
    open_one.init_transactions(30)
    open_one.begin_transaction()
    open_one.produce(topic, b"1", b"k", 0)
    open_one.flush(30)
    with closing(Consumer(kafka.client({"group.id": unique, "enable.auto.commit": False}))) as consumer:
        consumer.commit(offsets=[TopicPartition(topic, 0, 3)], asynchronous=False)
    with closing(LagReader(kafka, lambda: time.time() + OPEN_SECONDS)) as lags:
        incidents = MemoryIncidents()
        watch = OpenTransactions(incidents, "streams", kafka)
        held = lags.read({unique: [topic]})[unique]
        assert held[topic].records == 1
        assert held[topic].seconds > OPEN_SECONDS - 1
        assert held[topic].held_up == {0: 3}
        watch.look(held)
        (incident,) = incidents.present().values()
        assert f"--topic {topic} --partition 0 --start-offset 3" in incident.fix
        open_one.commit_transaction(30)
        passed = lags.read({unique: [topic]})[unique]
        assert passed[topic].held_up == {}
        watch.look(passed)
        assert not incidents.present()
