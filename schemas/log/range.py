"""Range: records of a topic from one offset to another, all that stands in it, or what comes, read by nobody's group."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Iterator
from uuid import uuid4

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, TopicPartition

from schemas.change import Batch
from schemas.errors import Transient
from schemas.log.kafka import Kafka
from schemas.log.message import (
    BROKER_WITHIN_SECONDS,
    PASSING,
    SLICE_RECORDS,
    group_messages,
    is_end,
    reader_settings,
    record_of,
)
from schemas.log.offsets import bounds

logger = logging.getLogger(__name__)


def read_range(kafka: Kafka, topic: str, partition: int, start: int, end: int) -> Iterator[Batch]:
    """Records of one partition with start <= offset < end, in batches; fewer where compaction removed some.

    Raises ContractBroken when `start` is no longer there, Transient when the broker does not answer.
    """
    place = f"{topic} [{partition}]"
    settings = reader_settings(kafka, f"range-{topic}-{partition}", {"enable.partition.eof": "true"})
    consumer = Consumer({**settings, "group.id": f"range-{uuid4()}", "group.protocol": "classic"}, logger=logger)
    try:
        consumer.assign([TopicPartition(topic, partition, start)])
        position = start
        quiet_until = time.monotonic() + BROKER_WITHIN_SECONDS
        while position < end:
            messages = consumer.consume(2_000, 0.1)
            records = [record_of(message) for message in messages if message.error() is None]
            if records:
                position = records[-1].offset + 1
                if wanted := [record for record in records if record.offset < end]:
                    yield Batch(topic=topic, partition=partition, records=wanted)
            if any(is_end(error, place) for message in messages if (error := message.error()) is not None):
                return
            if messages:
                quiet_until = time.monotonic() + BROKER_WITHIN_SECONDS
            elif time.monotonic() > quiet_until:
                raise Transient(f"reading {place}: the broker is silent at offset {position} of {end}")
    finally:
        consumer.close()


def tail(
    kafka: Kafka, topics: Collection[str], stop: threading.Event, *, from_beginning: bool = False
) -> Iterator[list[Batch]]:
    """What arrives on the topics, without a group: from now on, or from the beginning. Ends when `stop` is set."""
    settings = reader_settings(kafka, "tail", None)
    consumer = Consumer({**settings, "group.id": f"tail-{uuid4()}", "group.protocol": "classic"}, logger=logger)
    try:
        known = consumer.list_topics(timeout=BROKER_WITHIN_SECONDS).topics
        missing = sorted(set(topics) - set(known))
        if missing:
            raise Transient(f"no such topic: {', '.join(missing)}", fix="`mesh catalogue` lists what there is")
        start = OFFSET_BEGINNING if from_beginning else OFFSET_END
        consumer.assign(
            [TopicPartition(topic, partition, start) for topic in topics for partition in known[topic].partitions]
        )
        while not stop.is_set():
            first = consumer.poll(0.2)
            if first is None:
                continue
            messages = [first, *consumer.consume(SLICE_RECORDS, 0)]
            for message in messages:
                if (error := message.error()) is not None and error.code() not in PASSING:
                    is_gone = error.code() == KafkaError._AUTO_OFFSET_RESET
                    why = "records were removed before they were read" if is_gone else error.str()
                    raise Transient(f"tail: {message.topic()} [{message.partition()}]: {why}", fix="read it again")
            yield group_messages(message for message in messages if message.error() is None)
    except KafkaException as error:
        raise Transient(f"tail: {error.args[0].str()}") from error
    finally:
        consumer.close()


def read_standing(kafka: Kafka, topic: str, partition: int) -> Iterator[Batch]:
    """Everything from a partition's first record to where it ended when asked for. Raises Transient."""
    yield from read_range(kafka, topic, partition, *bounds(kafka, topic, partition))
