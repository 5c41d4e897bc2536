from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

from ops.embedded.kafka import EmbeddedKafka
from ops.watch.lag import LagReader, delivery_group
from schemas.errors import Misconfigured, Transient
from schemas.feed import AUDIT, CONTROL, PROGRESS
from schemas.log.kafka import Kafka
from schemas.log.rights.access import Access, allow_read, allow_write, create_scram_user, withdraw_read
from schemas.log.topics import TopicSpec, ensure_control_topics, ensure_topics
from tests.stage.kafka_text import written
from tests.stage.until import until

ROOT = Path(__file__).parent.parent.parent
PASSWORD = "a-password-of-some-length"


@pytest.fixture
def admin(kafka: Kafka) -> AdminClient:
    return AdminClient(kafka.client({}))


@pytest.fixture
def lag_reader(kafka: Kafka) -> Iterator[Callable[[float], LagReader]]:
    readers: list[LagReader] = []

    def make(now: float) -> LagReader:
        readers.append(LagReader(kafka, lambda: now))
        return readers[-1]

    yield make
    for reader in readers:
        reader.close()


def config_of(admin: AdminClient, topic: str) -> dict[str, str]:
    (future,) = admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)]).values()
    return {name: entry.value for name, entry in future.result().items()}


def write(kafka: Kafka, topic: str, partition: int, timestamps_ms: list[int], **config: Any) -> None:
    producer = Producer(kafka.client({**config}))
    failures: list[Any] = []
    for number, timestamp in enumerate(timestamps_ms):
        producer.produce(
            topic,
            b"v",
            f"k{number}".encode(),
            partition,
            on_delivery=lambda error, _message: failures.append(error) if error else None,
            timestamp=timestamp,
        )
    assert producer.flush(20) == 0
    if failures:
        raise KafkaException(failures[0])


def consumer(kafka: Kafka, group: str, **config: Any) -> Consumer:
    settings = kafka.client(
        {
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    return Consumer({**settings, "log_level": 0, **config})


def commit(kafka: Kafka, group: str, topic: str, partition: int, offset: int) -> None:
    member = consumer(kafka, group)
    member.commit(offsets=[TopicPartition(topic, partition, offset)], asynchronous=False)
    member.close()


def test_topics_come_into_being_as_asked_and_a_second_time_changes_nothing(
    kafka: Kafka, unique: str, admin: AdminClient
) -> None:
    specs = {
        f"{unique}.state": TopicSpec(partitions=3, tombstone_ms=1000 * 3600),
        f"dlq.{unique}.state": TopicSpec(partitions=1, is_compacted=False),
        f"{unique}.events": TopicSpec(partitions=1, is_compacted=False, retention_ms=60_000, min_insync_replicas=1),
    }
    first = ensure_topics(kafka, specs)
    assert set(first.created) == set(specs)
    assert first.corrected == ()
    known = admin.list_topics(timeout=10).topics
    assert {topic: len(known[topic].partitions) for topic in specs} == {t: spec.partitions for t, spec in specs.items()}
    state, events = config_of(admin, f"{unique}.state"), config_of(admin, f"{unique}.events")
    assert (state["cleanup.policy"], state["delete.retention.ms"]) == ("compact", "3600000")
    assert (events["cleanup.policy"], events["retention.ms"]) == ("delete", "60000")
    assert config_of(admin, f"dlq.{unique}.state")["retention.ms"] == "-1"
    second = ensure_topics(kafka, specs)
    assert (second.created, second.corrected) == ((), ())


def test_another_partition_count_is_refused_before_anything_is_created(
    kafka: Kafka, unique: str, admin: AdminClient
) -> None:
    feed = f"{unique}.feed"
    ensure_topics(kafka, {feed: TopicSpec(partitions=2)})
    with pytest.raises(Misconfigured, match="has 2 partitions, and 4 are asked for") as refused:
        ensure_topics(kafka, {f"{unique}.new": TopicSpec(), feed: TopicSpec(partitions=4)})
    assert "replay" in refused.value.fix
    known = admin.list_topics(timeout=10).topics
    assert f"{unique}.new" not in known
    assert len(known[feed].partitions) == 2


def test_a_topic_that_would_forget_old_rows_is_put_right(kafka: Kafka, unique: str, admin: AdminClient) -> None:
    feed = f"{unique}.feed"
    admin.create_topics([NewTopic(feed, num_partitions=1, replication_factor=1)])[feed].result()
    until(lambda: feed in admin.list_topics(timeout=10).topics, 30, "the topic is known")
    assert config_of(admin, feed)["cleanup.policy"] == "delete"
    assert ensure_topics(kafka, {feed: TopicSpec(partitions=1)}).corrected == (feed,)
    until(lambda: config_of(admin, feed)["cleanup.policy"] == "compact", 30, "the topic is compacted")


def test_more_replicas_than_brokers_is_explained(kafka: Kafka, unique: str) -> None:
    with pytest.raises(Misconfigured, match="no more replicas than there are brokers"):
        ensure_topics(kafka, {f"{unique}.feed": TopicSpec(replication_factor=3)})


def test_control_topics_have_one_compacted_partition(kafka: Kafka, admin: AdminClient) -> None:
    ensure_control_topics(kafka)
    assert ensure_control_topics(kafka).created == ()
    known = admin.list_topics(timeout=10).topics
    for topic in CONTROL:
        assert len(known[topic].partitions) == 1
        assert config_of(admin, topic)["cleanup.policy"] == ("delete" if topic == AUDIT else "compact")
    for topic in PROGRESS:  # of which a day would be gigabytes
        config = config_of(admin, topic)
        assert (config["min.compaction.lag.ms"], config["segment.bytes"]) == ("0", str(1 << 20))


def test_brokers_that_do_not_answer_are_transient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("schemas.log.admin.WITHIN_SECONDS", 1.0)
    with pytest.raises(Transient, match="its address in MESH_KAFKA"):
        ensure_topics(Kafka("127.0.0.1:1"), {"a.b": TopicSpec()})


def as_user(kafka_sasl: str, user: str) -> Kafka:
    return Kafka(kafka_sasl, user=user, password=PASSWORD)


def reads(kafka_sasl: str, user: str, group: str, topic: str) -> str:
    """ "read" when a record of the topic comes through the group, else the name of what the broker refused."""
    member = consumer(as_user(kafka_sasl, user), group)
    try:
        member.subscribe([topic])
        for _ in range(100):
            message = member.poll(0.2)
            if message is not None:
                error = message.error()
                return error.name() if error else "read"
        return "nothing"
    finally:
        member.close()


def test_a_subscriber_reads_its_own_topics_in_its_own_groups_and_nothing_else(
    kafka: Kafka, kafka_sasl: str, unique: str
) -> None:
    mine, other = f"out.{unique}.aic.enterprise", f"out.{unique}x.aic.enterprise"
    ensure_topics(kafka, {mine: TopicSpec(partitions=1), other: TopicSpec(partitions=1)})
    for topic in (mine, other):
        write(kafka, topic, 0, [1])
    create_scram_user(kafka, unique, PASSWORD)
    assert allow_read(kafka, unique, [mine], f"sub.{unique}.") == Access(is_enforced=True)
    group = delivery_group(unique, "own")
    until(lambda: reads(kafka_sasl, unique, group, mine) == "read", 30, "the subscriber reads its own topic")
    assert reads(kafka_sasl, unique, group, other) == "TOPIC_AUTHORIZATION_FAILED"
    assert reads(kafka_sasl, unique, f"sub.{unique}x.own", mine) == "GROUP_AUTHORIZATION_FAILED"
    with pytest.raises(KafkaException) as refused:
        write(as_user(kafka_sasl, unique), mine, 0, [1])
    assert refused.value.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
    assert withdraw_read(kafka, unique, [mine]) == Access(is_enforced=True)
    until(
        lambda: reads(kafka_sasl, unique, group, mine) == "TOPIC_AUTHORIZATION_FAILED", 30, "the right to read is gone"
    )


def test_an_agency_writes_under_its_prefix_only(kafka: Kafka, kafka_sasl: str, unique: str) -> None:
    mine, other = f"{unique}.table", f"{unique}x.table"
    ensure_topics(kafka, {mine: TopicSpec(partitions=1), other: TopicSpec(partitions=1)})
    create_scram_user(kafka, unique, PASSWORD)
    assert allow_write(kafka, unique, f"{unique}.").is_enforced

    def written(topic: str) -> bool:
        try:
            write(as_user(kafka_sasl, unique), topic, 0, [1])
        except KafkaException as error:
            assert error.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED  # noqa: PT017 - any other is a failure
            return False
        return True

    until(lambda: written(mine), 30, "the agency writes to its own topic")
    assert not written(other)


def test_names_and_passwords_that_would_weaken_a_right_are_refused(kafka: Kafka) -> None:
    with pytest.raises(Misconfigured, match=re.escape("sub.tax.")):
        allow_read(kafka, "tax", ["out.tax.a.b"], "sub.tax")
    with pytest.raises(Misconfigured):
        allow_write(kafka, "police", "police")
    with pytest.raises(Misconfigured):
        allow_read(kafka, "*", ["out.tax.a.b"], "sub.tax.")
    with pytest.raises(Misconfigured):
        create_scram_user(kafka, "tax", "short")


def test_lag_counts_records_and_the_age_of_the_oldest_unread_one(
    kafka: Kafka, unique: str, lag_reader: Callable[[float], LagReader]
) -> None:
    topic, group, now = f"{unique}.feed", delivery_group(unique, "main"), time.time()
    ms = int(now * 1000)
    ensure_topics(kafka, {topic: TopicSpec(partitions=2)})
    write(kafka, topic, 0, [ms - 90_000, ms - 60_000, ms - 1_000])
    reader = lag_reader(now)
    nothing_read = reader.read({group: [topic]})[group][topic]
    assert nothing_read.records == 3
    assert nothing_read.seconds == pytest.approx(90, abs=0.1)
    commit(kafka, group, topic, 0, 1)
    one_read = reader.read({group: [topic], f"{unique}.other": [topic, f"{unique}.missing"]})
    assert one_read[group][topic].records == 2
    assert one_read[group][topic].seconds == pytest.approx(60, abs=0.1)
    assert one_read[group][topic].confirmed == nothing_read.confirmed + 1
    assert one_read[f"{unique}.other"][topic] == nothing_read
    assert f"{unique}.missing" not in one_read[f"{unique}.other"]
    commit(kafka, group, topic, 0, 3)
    all_read = reader.read({group: [topic]})[group][topic]
    assert (all_read.records, all_read.seconds, all_read.is_passed) == (0, 0, False)


def test_lag_is_told_of_a_broker_that_just_started(tmp_path: Path) -> None:
    ask = (
        "import sys; from ops.watch.lag import LagReader; from tests.stage.kafka_text import read\n"
        "reader = LagReader(read(sys.argv[1]))\n"
        "print(reader.read({f'sub.s{n}.main': ['t'] for n in range(20)})['sub.s7.main']['t'].records)"
    )
    kafka = EmbeddedKafka(tmp_path / "kafka")
    kafka.start()
    try:
        ensure_topics(kafka.entered_by(), {"t": TopicSpec(partitions=2)})
        # In a process of its own: what this attacks ends the process.
        ran = subprocess.run(
            [sys.executable, "-c", ask, written(kafka.entered_by())],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        kafka.stop()
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "0\n", "")


def test_records_that_went_before_a_group_read_them_are_told(
    kafka: Kafka, unique: str, admin: AdminClient, lag_reader: Callable[[float], LagReader]
) -> None:
    topic, group, now = f"{unique}.feed", delivery_group(unique, "main"), time.time()
    ensure_topics(kafka, {topic: TopicSpec(partitions=1, is_compacted=False)})
    write(kafka, topic, 0, [int(now * 1000) - 5_000] * 6)
    commit(kafka, group, topic, 0, 2)
    for future in admin.delete_records([TopicPartition(topic, 0, 4)]).values():
        future.result()
    lag = lag_reader(now).read({group: [topic]})[group][topic]
    assert lag.is_passed
    assert lag.records == 2


def test_the_first_record_of_a_topic_is_dated_over_all_its_partitions(
    kafka: Kafka, unique: str, lag_reader: Callable[[float], LagReader]
) -> None:
    filled, empty = f"{unique}.filled", f"{unique}.empty"
    ensure_topics(kafka, {filled: TopicSpec(partitions=2), empty: TopicSpec(partitions=1)})
    write(kafka, filled, 0, [5_000, 1_000])
    write(kafka, filled, 1, [4_000])
    assert lag_reader(time.time()).first_at_ms([filled, empty, f"{unique}.missing"]) == {filled: 4_000}


def test_an_unreachable_broker_leaves_lag_transient() -> None:
    reader = LagReader(Kafka("127.0.0.1:1"), within_seconds=1)
    with pytest.raises(Transient):
        reader.read({"mesh.streams": ["a.b"]})
    reader.close()
