"""Messages: how a reading client is set up, and from what it reads to batches of records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import repeat
from typing import Any

from confluent_kafka import KafkaError, Message

from schemas.change import Batch, Record
from schemas.errors import ContractBroken, Transient
from schemas.feed import first_edition
from schemas.log.kafka import Kafka

_record: Callable[[tuple[Any, ...]], Record] = partial(tuple.__new__, Record)

BROKER_WITHIN_SECONDS = 10.0
SLICE_RECORDS = 1_000
FEW_RECORDS = 500
PASSING = frozenset(
    {
        KafkaError._PARTITION_EOF,
        KafkaError.UNKNOWN_TOPIC_OR_PART,  # not created yet: the group assigns it once it is
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._RESOLVE,
        KafkaError._TIMED_OUT,
    }
)


def reader_settings(kafka: Kafka, client_id: str, extra: Mapping[str, str] | None) -> dict[str, Any]:
    """The settings of a client that reads feeds; `extra` overrides them."""
    return kafka.client(
        {
            "client.id": client_id,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            # Stricter than KF-10's `earliest`: we always say where to start, so an offset that is gone is a gap (KF-12).
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
            # A lane's own byte budget (SK-11); a full queue is looked at again soon, not after a second.
            "queued.max.messages.kbytes": 16_384,
            "fetch.queue.backoff.ms": 10,
            **(extra or {}),
        }
    )


def record_of(message: Message, *, has_headers: bool = True) -> Record:
    """A message without error as a record."""
    return Record(
        message.offset(),  # pyright: ignore[reportArgumentType]  -- a message without error has an offset
        message.key(),  # pyright: ignore[reportArgumentType]  -- no deserializer is configured: bytes or None
        message.value(),  # pyright: ignore[reportArgumentType]
        message.headers() if has_headers else None,  # pyright: ignore[reportArgumentType]  -- we read the list form
        message.timestamp()[1],
    )


def group_messages(messages: Sequence[Message], *, has_headers: bool = True) -> list[Batch]:
    """One batch per partition, in the order of arrival."""
    runs: dict[Any, list[Record]] = {}
    # Field by field for all of them: a call of Python's for each message costs as much as reading it.
    headers = map(Message.headers, messages) if has_headers else repeat(None)
    times = [moment for _, moment in map(Message.timestamp, messages)]
    keys, values = map(Message.key, messages), map(Message.value, messages)
    fields = zip(map(Message.offset, messages), keys, values, headers, times, strict=False)
    for place, record in zip(
        zip(map(Message.topic, messages), map(Message.partition, messages), strict=True),
        map(_record, fields),
        strict=True,
    ):
        run = runs.get(place)
        if run is None:
            run = runs[place] = []
        run.append(record)
    return [Batch(topic=topic, partition=partition, records=run) for (topic, partition), run in runs.items()]


def is_end(error: KafkaError, place: str) -> bool:
    """Whether a partition ends here; False for a passing trouble. Raises ContractBroken for a gap, else Transient."""
    if error.code() == KafkaError._PARTITION_EOF:
        return True
    if error.code() == KafkaError._AUTO_OFFSET_RESET:
        raise gap_at(place, "the first record asked for is no longer in the topic")
    if error.code() not in PASSING:
        raise Transient(f"reading {place}: {error.str()}")
    return False


def sound(messages: list[Message]) -> list[Message]:
    """The messages that are records; of the others, passing trouble is left out. Raises as `is_end`."""
    records = [message for message in messages if message.error() is None]
    if len(records) < len(messages):
        for message in messages:
            if (error := message.error()) is not None:
                is_end(error, f"{message.topic()} [{message.partition()}]")
    return records


def gap_at(place: str, breach: str) -> ContractBroken:
    """The error for records that nobody delivered and that are gone."""
    # Invariant 9, KF-12: neither a gap nor a topic made anew passes silently.
    topic = first_edition(place.partition(" ")[0])
    grant = topic.removeprefix("out.")
    again = "`mesh resync <feed>` copies the feed anew, or what a derived one is made from"
    fix = again if grant == topic else f"accept the gap: `mesh replay {grant}`; what was in it comes anew: {again}"
    return ContractBroken(place, breach, fix=fix)
