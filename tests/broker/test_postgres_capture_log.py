"""The log's watermark: what it counts as acknowledged stands in the topic, and nothing after a lost record ever counts."""

from __future__ import annotations

import pytest

from schemas.errors import Misconfigured, Rejected
from schemas.log.kafka import Kafka
from schemas.log.writer import Bulk, Log, LogSetting
from tests.stage import feeds
from tests.stage.until import until


def test_the_watermark_is_the_whole_once_everything_is_acknowledged(kafka: Kafka, unique: str) -> None:
    feeds.create(kafka, unique)
    log = Log(kafka, client_id="test")
    lane = log.lane()
    lane.append_all((unique, b"%d" % n, b"v", -1, None) for n in range(5_000))
    assert lane.acknowledged() <= lane.appended == 5_000
    lane.append(unique, b"k", None, headers=[("name", b"value")])
    lane.seal()
    until(lambda: lane.acknowledged() == 5_001, 30, "everything is acknowledged")
    found = feeds.read_all(kafka, [unique])
    assert sum(map(len, found.values())) == 5_001
    log.close()


def test_one_key_has_the_partition_that_java_clients_give_it(kafka: Kafka, unique: str) -> None:
    feeds.create(kafka, unique, partitions=4)
    log = Log(kafka, client_id="test")
    keys = [b"21", b"foobar", b"a-little-bit-long-string", b"abc"]
    for key in keys:
        log.append(unique, key, b"v")
    log.flush(30)
    found = {
        message.key(): place[1] for place, messages in feeds.read_all(kafka, [unique]).items() for message in messages
    }
    murmur2 = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536, b"abc": 479470107}
    assert found == {key: (murmur2[key] & 0x7FFFFFFF) % 4 for key in keys}
    log.close()


def test_a_record_that_is_too_large_is_refused_and_the_lane_lives_on(kafka: Kafka, unique: str) -> None:
    feeds.create(kafka, unique)
    log = Log(kafka, client_id="test")
    with pytest.raises(Rejected, match="is larger"):
        log.append(unique, b"k", bytes(2_000_000))
    log.append(unique, b"k", b"small")
    log.flush(30)
    log.close()


def test_a_lost_record_freezes_its_own_lane_only(kafka: Kafka, unique: str) -> None:
    feeds.create(kafka, unique)
    log = Log(kafka, client_id="test", extra={"topic.metadata.propagation.max.ms": "500"})
    broken, sound = log.lane(), log.lane()
    broken.append(unique, b"k", b"before", partition=0)
    broken.seal()
    until(lambda: broken.acknowledged() == 1, 30, "the first record")
    broken.append(f"{unique}_missing", b"k", b"lost")
    broken.append(unique, b"k", b"after", partition=0)
    broken.seal()
    with pytest.raises(Misconfigured, match="does not exist"):
        broken.flush(30)
    assert broken.settle(30)
    assert broken.acknowledged() == 1
    with pytest.raises(Misconfigured):
        broken.append(unique, b"k", b"refused")
    sound.append(unique, b"k", b"sound")
    sound.flush(30)
    assert sound.acknowledged() == 1
    log.close()


def test_a_bulk_knows_of_its_records_when_it_is_flushed(kafka: Kafka, unique: str) -> None:
    feeds.create(kafka, unique)
    bulk = Bulk(LogSetting(kafka=kafka, client_id="test"))
    for count in (5_000, 10_000):
        bulk.append_all((unique, b"%d" % n, b"v", -1, None) for n in range(5_000))
        bulk.flush(30)
        assert bulk.acknowledged() == bulk.appended == count
    assert sum(map(len, feeds.read_all(kafka, [unique]).values())) == 10_000


def test_a_bulk_with_a_lost_record_is_never_flushed(kafka: Kafka, unique: str) -> None:
    feeds.create(kafka, unique)
    setting = LogSetting(kafka=kafka, client_id="test", extra={"topic.metadata.propagation.max.ms": "500"})
    bulk = Bulk(setting)
    bulk.append(f"{unique}_missing", b"k", b"lost")
    bulk.append(unique, b"k", b"after", partition=0)
    for _ in range(2):
        with pytest.raises(Misconfigured, match="does not exist"):
            bulk.flush(30)
    with pytest.raises(Misconfigured):
        bulk.append(unique, b"k", b"refused")
    assert bulk.acknowledged() == 0
    assert bulk.settle(30)
