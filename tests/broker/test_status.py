from __future__ import annotations

import time
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from ops.metrics.exporter import Exporter
from ops.metrics.hop_metrics import DeliveryMetrics
from ops.metrics.page import serve
from ops.settings import Settings
from ops.watch.health import OK, STUCK
from ops.watch.lag import STREAMS_GROUP, LagReader, delivery_group
from ops.watch.status import status
from schemas.agreement.directory import Directory, FeedEntry, GrantEntry
from schemas.agreement.grant import Grant
from schemas.contract import Contract
from schemas.feed import out_topic
from schemas.log.kafka import Kafka
from schemas.log.topics import TopicSpec, ensure_control_topics, ensure_topics


def city(unique: str) -> Directory:
    feed = f"{unique}.resident"
    record = {
        "type": "record",
        "name": "Resident",
        "gov": {"provider": unique, "key": ["id"]},
        "fields": [{"name": "id", "type": "string"}],
    }
    entry = FeedEntry(
        contract=Contract.parse(record, feed), version=1, key_schema_id=1, value_schema_id=2, partitions=2
    )
    grants = {}
    for subscriber in (f"{unique}a", f"{unique}b"):
        grant = Grant(grant_id=f"{subscriber}.{feed}", subscriber=subscriber, feed=feed, columns=("id",), purpose="p")
        grants[grant.grant_id] = GrantEntry(grant=grant, key_schema_id=3, value_schema_id=4, version=1)
    return Directory(feeds={feed: entry}, grants=grants)


def write(kafka: Kafka, topic: str, timestamp_ms: int, count: int) -> None:
    producer = Producer(kafka.client({}))
    for number in range(count):
        producer.produce(topic, b"v", str(number).encode(), 0, timestamp=timestamp_ms)
    assert producer.flush(20) == 0


def commit(kafka: Kafka, group: str, topic: str, offset: int) -> None:
    member = Consumer(kafka.client({"group.id": group}))
    member.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
    member.close()


def test_one_subscriber_that_stands_still_is_found_beside_one_that_has_everything(
    kafka: Kafka, unique: str, tmp_path: Path
) -> None:
    directory = city(unique)
    (feed,) = directory.feeds
    still, done = (out_topic(grant_id) for grant_id in sorted(directory.grants))
    ensure_control_topics(kafka)
    ensure_topics(kafka, dict.fromkeys((feed, still, done), TopicSpec(partitions=2)))
    long_ago = int(time.time() * 1000) - 120_000
    for topic in (still, done):
        write(kafka, topic, long_ago, 5)
    commit(kafka, delivery_group(f"{unique}a", "main"), still, 2)
    commit(kafka, delivery_group(f"{unique}b", "main"), done, 5)
    exporter = Exporter()
    page = serve(tmp_path, "delivery", exporter)
    DeliveryMetrics(exporter).delivered(f"{unique}b.{feed}", 5, 50, [0.01] * 5)
    try:
        settings = Settings(directory=tmp_path, kafka=kafka, registry="", hub_database="")
        report = status(settings, directory)
    finally:
        page.close()
    assert report.notices == ()
    lane_a, lane_b = report.subscriptions
    assert (lane_a.health, lane_a.lag_records, lane_a.delivered) == (STUCK, 3, 0)
    assert lane_a.lag_seconds == pytest.approx(120, abs=20)
    assert (lane_b.health, lane_b.lag_records, lane_b.delivered) == (OK, 0, 5)
    assert report.feeds[0].lag_records == 0
    assert [process.state for process in report.processes] == ["up"]
    assert not report.is_well


def test_a_city_of_feeds_is_asked_for_its_lag_in_a_moment(kafka: Kafka, unique: str) -> None:
    feeds = [f"{unique}.table{number}" for number in range(139)]
    ensure_topics(kafka, dict.fromkeys(feeds, TopicSpec(partitions=1)))
    for feed in feeds[:20]:
        write(kafka, feed, int(time.time() * 1000) - 10_000, 1)
    reader = LagReader(kafka)
    groups = {
        STREAMS_GROUP + unique: feeds,
        **{delivery_group(f"{unique}{number}", "main"): feeds for number in range(8)},
    }
    reader.read(groups)
    started = time.monotonic()
    lags = reader.read(groups)
    took_seconds = time.monotonic() - started
    reader.close()
    assert all(lags[group][feeds[0]].seconds == pytest.approx(10, abs=30) for group in groups)
    assert all(lags[group][feeds[-1]].records == 0 for group in groups)
    assert took_seconds < 2


def test_the_newest_record_of_a_feed_is_found_whatever_its_partition(kafka: Kafka, unique: str) -> None:
    filled, empty = f"{unique}.a", f"{unique}.b"
    ensure_topics(kafka, dict.fromkeys((filled, empty), TopicSpec(partitions=2)))
    write(kafka, filled, 1_700_000_000_000, 2)
    write(kafka, filled, 1_600_000_000_000, 1)
    reader = LagReader(kafka)
    assert reader.newest_at_ms([filled, empty, f"{unique}.unknown"]) == {filled: 1_700_000_000_000}
    reader.close()
