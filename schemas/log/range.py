"""Range: records of a topic from one offset to another, all that stands in it, or what comes, read by nobody's group."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from uuid import uuid4

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, TopicPartition

from schemas.change import Batch, Partition
from schemas.errors import Transient
from schemas.log.admin import admin_client, partition_counts
from schemas.log.kafka import Kafka
from schemas.log.message import (
    BROKER_WITHIN_SECONDS,
    PASSING,
    SLICE_RECORDS,
    group_messages,
    is_end,
    reader_settings,
)
from schemas.log.offsets import bounds

logger = logging.getLogger(__name__)


def read_range(
    kafka: Kafka, topic: str, partition: int, start: int, end: int, extra: Mapping[str, str] | None = None
) -> Iterator[Batch]:
    """Records of one partition with start <= offset < end, in batches; fewer where compaction removed some.

    `extra` overrides the client's settings. Raises ContractBroken when `start` is no longer there, Transient when the broker does
    not answer.
    """
    yield from read_ranges(kafka, {(topic, partition): (start, end)}, extra)


def read_ranges(
    kafka: Kafka, ranges: Mapping[Partition, tuple[int, int]], extra: Mapping[str, str] | None = None
) -> Iterator[Batch]:
    """`read_range` of many partitions at once, each from its start to before its end."""
    left = {place: end for place, (start, end) in ranges.items() if start < end}
    names = ", ".join(f"{topic} [{partition}]" for topic, partition in sorted(left)[:3])
    settings = reader_settings(kafka, f"range-{names}", {"enable.partition.eof": "true", **(extra or {})})
    consumer = Consumer({**settings, "group.id": f"range-{uuid4()}", "group.protocol": "classic"}, logger=logger)
    try:
        consumer.assign([TopicPartition(*place, ranges[place][0]) for place in left])
        quiet_until = time.monotonic() + BROKER_WITHIN_SECONDS
        while left:
            first = consumer.poll(0.1)  # then what is there: to wait for more would be to wait at the end, too
            messages = [first, *consumer.consume(SLICE_RECORDS - 1, 0)] if first is not None else []
            done: set[Partition] = set()
            for batch in group_messages([message for message in messages if message.error() is None]):
                place = (batch.topic, batch.partition)
                end = left.get(place, 0)
                if wanted := [record for record in batch.records if record.offset < end]:
                    yield Batch(topic=batch.topic, partition=batch.partition, records=wanted)
                if batch.next_offset >= end:
                    done.add(place)
            for message in messages:
                place = (message.topic() or "", message.partition() or 0)
                if (error := message.error()) is not None and is_end(error, f"{place[0]} [{place[1]}]"):
                    done.add(place)
            if finished := done.intersection(left):
                consumer.incremental_unassign([TopicPartition(*place) for place in finished])
                left = {place: end for place, end in left.items() if place not in finished}
            if messages:
                quiet_until = time.monotonic() + BROKER_WITHIN_SECONDS
            elif time.monotonic() > quiet_until:
                raise Transient(f"reading {names}: the broker is silent")
    finally:
        consumer.close()


class GrouplessReader:
    """Reads on from `starts`, which may be Kafka's own numbers for beginning and end. For one thread at a time.

    `extra` overrides the client's settings. Raises Transient.
    """

    def __init__(
        self, kafka: Kafka, name: str, starts: Mapping[Partition, int], extra: Mapping[str, str] | None = None
    ) -> None:
        self._name = name
        settings = reader_settings(kafka, name, extra)
        self._consumer = Consumer(
            {**settings, "group.id": f"{name}-{uuid4()}", "group.protocol": "classic"}, logger=logger
        )
        try:
            self._consumer.assign([TopicPartition(*place, start) for place, start in starts.items()])
        except KafkaException as error:
            self._consumer.close()
            raise Transient(f"{name}: {error.args[0].str()}") from error

    def batches(self, *, records_max: int, within_seconds: float) -> list[Batch]:
        """What is there, after waiting for the first record up to `within_seconds`. Raises Transient, also where records are gone."""
        try:
            first = self._consumer.poll(within_seconds)
            if first is None:
                return []
            messages = [first, *(self._consumer.consume(records_max - 1, 0) if records_max > 1 else ())]
        except KafkaException as error:
            raise Transient(f"{self._name}: {error.args[0].str()}") from error
        for message in messages:
            if (error := message.error()) is not None and error.code() not in PASSING:
                is_gone = error.code() == KafkaError._AUTO_OFFSET_RESET
                why = "records were removed before they were read" if is_gone else error.str()
                place = f"{message.topic()} [{message.partition()}]"
                raise Transient(f"{self._name}: {place}: {why}", fix="read it again")
        return group_messages([message for message in messages if message.error() is None])

    def close(self) -> None:
        """Let go of the connections."""
        self._consumer.close()


def tail(
    kafka: Kafka, topics: Collection[str], stop: threading.Event, *, from_beginning: bool = False
) -> Iterator[list[Batch]]:
    """What arrives on the topics, without a group: from now on, or from the beginning. Ends when `stop` is set."""
    known = partition_counts(admin_client(kafka), topics)
    if missing := sorted(set(topics) - set(known)):
        raise Transient(f"no such topic: {', '.join(missing)}", fix="`mesh catalogue` lists what there is")
    start = OFFSET_BEGINNING if from_beginning else OFFSET_END
    starts = {(topic, partition): start for topic, count in known.items() for partition in range(count)}
    with closing(GrouplessReader(kafka, "tail", starts)) as reader:
        while not stop.is_set():
            if batches := reader.batches(records_max=SLICE_RECORDS, within_seconds=0.2):
                yield batches


def read_standing(kafka: Kafka, topic: str, partition: int) -> Iterator[Batch]:
    """Everything from a partition's first record to where it ended when asked for. Raises Transient."""
    yield from read_range(kafka, topic, partition, *bounds(kafka, topic, partition))
