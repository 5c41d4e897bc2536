"""Records of the control topics: JSON, compacted, one partition each; written by key and read from the beginning."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.errors import Transient
from schemas.log.entering import AWAY, must_be_let_in
from schemas.log.kafka import Kafka

log = logging.getLogger(__name__)

AGAIN_SECONDS = 0.2
LEADS_WITHIN_SECONDS = 10.0
HEARING_ANSWER_SECONDS = 2.0
PASSING = frozenset(
    {
        KafkaError._PARTITION_EOF,
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._RESOLVE,
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,  # what the client says of a question that it could not even send
        KafkaError._DESTROY_BROKER,
        KafkaError._UNKNOWN_PARTITION,  # a broker that comes back knows its topics before it leads their partitions
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.REQUEST_TIMED_OUT,
    }
)

Append = Callable[[str, bytes, bytes | None], None]
"""Queue one control record: topic, key, value (None deletes)."""


def control_consumer(kafka: Kafka, *, fetch_wait_ms: int = 50) -> Consumer:
    """A client that reads control topics.

    `fetch_wait_ms` is how long the broker keeps a question for news: for so long the client reads nothing else, either.
    """
    return Consumer(
        kafka.client(
            {
                "group.id": "mesh.control",  # never joined: partitions are assigned by hand and nothing is committed
                "enable.auto.commit": False,
                "enable.partition.eof": True,  # what ends with a transaction's mark has no record at its end
                "auto.offset.reset": "error",  # invariant 9: what went before it was read is read anew, not passed over
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": fetch_wait_ms,
                "queued.max.messages.kbytes": 8192,  # many of these read at once where many sources start at once
                "log_level": 0,  # what fails is raised; a terminal is no place for a line per attempt
            }
        )
    )


def publish(append: Append, topic: str, key: str, record: Mapping[str, Any]) -> None:
    """Queue a control record; it is durable once the log that `append` belongs to is flushed."""
    append(topic, key.encode(), json.dumps(record, ensure_ascii=False).encode())


def read_all(kafka: Kafka, topics: Sequence[str], *, within_seconds: float = 30) -> Iterator[tuple[str, str, Any]]:
    """Every (topic, key, record) from the start to the present end; a deleted key has record None."""
    must_be_let_in(kafka)
    with closing(control_consumer(kafka)) as consumer:
        yield from read_to_end(consumer, topics, within_seconds)


def read_to_end(consumer: Consumer, topics: Sequence[str], within_seconds: float) -> Iterator[tuple[str, str, Any]]:
    """What stands in the topics now. Raises Transient."""
    ends = {topic: end_of(consumer, topic, within_seconds) for topic in topics}
    yield from read_to(consumer, ends, {}, within_seconds)


def read_to(
    consumer: Consumer, ends: Mapping[str, int], starts: Mapping[str, int], within_seconds: float
) -> Iterator[tuple[str, str, Any]]:
    """What stands before each topic's end; from its start on, or from where `starts` says."""
    consumer.assign([TopicPartition(topic, 0, starts.get(topic, OFFSET_BEGINNING)) for topic in ends])
    behind = {topic for topic, end in ends.items() if end > starts.get(topic, 0)}
    quiet_until = time.monotonic() + within_seconds
    while behind:
        message = consumer.poll(max(quiet_until - time.monotonic(), 0))
        if message is None:
            raise Transient(f"{', '.join(sorted(behind))}: not read to the end within {within_seconds} s")
        if error := message.error():
            if error.code() not in PASSING:
                raise Transient(f"control topics: {error.str()}")
            if (ended := ended_at(message)) and ended[1] >= ends[ended[0]]:
                behind.discard(ended[0])
            continue
        quiet_until = time.monotonic() + within_seconds
        topic = message.topic() or ""
        yield topic, *decoded(message.key(), message.value())
        if consumer.position([TopicPartition(topic, 0)])[0].offset >= ends[topic]:
            behind.discard(topic)


def ended_at(message: Message) -> tuple[str, int] | None:
    """Topic and offset, where a message says that nothing stands behind them: of that offset no record need ever come."""
    error = message.error()
    if error is None or error.code() != KafkaError._PARTITION_EOF:
        return None
    return message.topic() or "", message.offset() or 0


def end_of(consumer: Consumer, topic: str, within_seconds: float) -> int:
    """Where the topic ends. A broker that has just started answers before its partitions have a leader: it is asked again."""
    deadline = time.monotonic() + within_seconds
    while True:
        left_seconds = deadline - time.monotonic()
        try:
            return consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=max(left_seconds, 0.1))[1]
        except KafkaException as error:
            code = error.args[0].code()
            is_absent = code == KafkaError._UNKNOWN_PARTITION and left_seconds < within_seconds - LEADS_WITHIN_SECONDS
            if code not in PASSING or is_absent or left_seconds < AGAIN_SECONDS:
                raise Transient(f"{topic}: cannot be read ({error.args[0].str()})", fix=AWAY) from error
        with suppress(KafkaException):
            consumer.list_topics(timeout=HEARING_ANSWER_SECONDS)  # what the client knows of the partitions is of before
        time.sleep(AGAIN_SECONDS)


def decoded(key: Any, value: Any) -> tuple[str, Any]:
    """Key and record of a message; a record that is no JSON is None."""
    name = bytes(key or b"").decode("utf-8", "replace")
    try:
        return name, json.loads(value) if value else None
    except ValueError:
        log.error("a control record is no JSON; its key counts as deleted")  # noqa: TRY400 - its text may be quoted
        return name, None
