"""Many dead letters of a grant, as delivery would have written them: each a change on the `out` topic and its letter."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from schemas.dead_letter import DeadLetter, Failure
from schemas.feed import dead_letter_topic
from schemas.log.kafka import Kafka
from schemas.log.offsets import bounds
from schemas.log.range import read_range
from schemas.log.writer import Log
from schemas.wire.codec import Codec


def bring_letters(kafka: Kafka, topic: str, partitions: int, *, per_key: int = 1, first: int = 0) -> int:
    """A letter for every change that stands on the topic from `first` on, `per_key` times; how many."""
    count = 0
    with closing(Log(kafka, client_id="test-letters")) as log:
        for partition in range(partitions):
            low, end = bounds(kafka, topic, partition)
            for batch in read_range(kafka, topic, partition, max(low, first), end) if end > low else ():
                for record in batch.records:
                    if record.value is None:
                        continue
                    letter = DeadLetter(
                        topic=topic,
                        partition=partition,
                        offset=record.offset,
                        key=record.key,
                        value=record.value,
                        hop="deliver",
                        reason="sql_23514",
                        detail="the target refuses it",
                        position=str(record.offset),
                        subscriber=topic.split(".")[1],
                        taker="test",
                        failure=Failure(first_at=1.0, last_at=1.0),
                        record_headers=record.headers or (),
                    )
                    log.append(dead_letter_topic(topic), letter.key, letter.value, headers=letter.headers())
                    count += 1
        log.flush(120)
    return count


def decoded_rows(codec: Codec, topic: str, records: Any) -> list[Any]:
    """The rows after, of records of a topic."""
    return [change.after for record in records if (change := codec.change(topic, record)) is not None]
