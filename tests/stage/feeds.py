"""Feeds for tests of hops: topics on the real broker, numbered records in them, and what stands in a topic by now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic

from schemas.log.kafka import Kafka
from schemas.log.writer import Log
from tests.stage.until import until


def create(kafka: Kafka, *topics: str, partitions: int = 4) -> None:
    """Create topics, and return once every partition has its leader."""
    admin = AdminClient(kafka.client({}))
    wanted = [NewTopic(topic, num_partitions=partitions, replication_factor=1) for topic in topics]
    for created in admin.create_topics(wanted).values():
        created.result(30)

    def is_led() -> bool:
        try:
            return bool(end_offsets(kafka, topics))
        except (KafkaException, KeyError):  # the broker knows of topics before it leads them, and not all at once
            return False

    until(is_led, 30, f"leaders of {', '.join(topics)}")


def fill(log: Log, topic: str, numbers: Iterable[int], keys: int = 97) -> None:
    """Append a record for each number; the number is its value and, modulo `keys`, its key."""
    for number in numbers:
        log.append(topic, b"%d" % (number % keys), b"%d" % number)


def read_all(kafka: Kafka, topics: Sequence[str]) -> dict[tuple[str, int], list[Message]]:
    """Every committed record that stands in the topics now, by partition."""
    consumer = Consumer(kafka.client({"group.id": "tests", "enable.partition.eof": True}))
    try:
        cluster = consumer.list_topics(timeout=30)
        found = {(topic, partition): [] for topic in topics for partition in cluster.topics[topic].partitions}
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for topic, partition in found])
        unread = set(found)
        while unread:
            for message in consumer.consume(5000, 0.2):  # returns only when full or when the time is up
                place = (message.topic(), message.partition())
                if message.error() is None:
                    found[place].append(message)
                elif message.error().code() == -191:  # the end of the partition
                    unread.discard(place)
                else:
                    raise AssertionError(message.error())
        return found
    finally:
        consumer.close()


def end_offsets(kafka: Kafka, topics: Sequence[str]) -> dict[tuple[str, int], int]:
    """The offset behind the last record of each partition."""
    consumer = Consumer(kafka.client({"group.id": "tests"}))
    try:
        cluster = consumer.list_topics(timeout=30)
        places = [(topic, partition) for topic in topics for partition in cluster.topics[topic].partitions]
        return {place: consumer.get_watermark_offsets(TopicPartition(*place), timeout=30)[1] for place in places}
    finally:
        consumer.close()


def committed_offsets(kafka: Kafka, group: str) -> dict[tuple[str, int], int]:
    """What the group has committed, by partition."""
    admin = AdminClient(kafka.client({}))
    result = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(30)
    return {(entry.topic, entry.partition): entry.offset for entry in result.topic_partitions}
