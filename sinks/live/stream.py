"""Feed stream: what one subscriber follows, as server-sent events (WHATWG HTML, 9.2), from a position on.

The topics are read from their beginning where the position does not say further: that is the snapshot, and what comes after it
the live changes. Order holds per key, since it does per partition. The last event of each run that is read has the position as its
`id`: whoever resumes from it gets everything behind it, and what was after the last `id` a second time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from schemas.errors import MeshError, Rejected
from schemas.log.kafka import Kafka
from schemas.log.offsets import extents
from schemas.log.range import GrouplessReader
from schemas.wire.schema import SchemaOf
from sinks.document import Documents
from sinks.ending import OUTSIDE
from sinks.live.position import FeedPosition
from sinks.live.shelf import LiveMessage
from sinks.sink import BEGINNING

RUN_RECORDS = 100
_BUFFERED = {"queued.max.messages.kbytes": "2048", "fetch.max.bytes": "1048576"}
"""What a stream may hold of what its subscriber has not read: little, for there are several."""


class PositionGone(MeshError):
    """Nothing can resume from this position: begin again without one, with an empty copy."""


def event(message: LiveMessage, position: str = "") -> bytes:
    """One event; JSON in one line needs one `data:`."""
    lines = [b"event: " + message.feed.encode(), b"data: " + message.body]
    if position:
        lines.append(b"id: " + position.encode())
    return b"\n".join(lines) + b"\n\n"


class FeedStream:
    """One stream of these topics. Asks the broker; for one thread at a time.

    Raises PositionGone, Transient.
    """

    def __init__(
        self,
        *,
        kafka: Kafka,
        schema_of: SchemaOf,
        subscriber: str,
        topics: Mapping[str, str],
        position: FeedPosition,
        now: float,
        keep_seconds: float,
    ) -> None:
        self._prefix = f"out.{subscriber}."
        self._documents = Documents(schema_of, subscriber)
        self._told = {topic for topic, number in position.offsets if number == OUTSIDE}
        begun = position.of(topics)
        there = extents(kafka, topics, datetime.fromtimestamp(now - keep_seconds, UTC))
        if why := begun.fault(there, now - keep_seconds):
            raise PositionGone(f"nothing can resume from this position: {why}")
        self._offsets = dict(begun.offsets)
        starts = {place: self._offsets.get(place, BEGINNING) for place in there}
        self._reader = GrouplessReader(kafka, f"live-{subscriber}", starts, _BUFFERED)

    def events(self, endings: Sequence[LiveMessage], within_seconds: float, now: float) -> bytes:
        """The next run, after waiting for its first record; empty where nothing came. `endings` are told once."""
        untold = [message for message in endings if message.topic not in self._told]
        messages = untold + self._read(0.0 if untold else within_seconds)
        self._told = {message.topic for message in endings}
        if not messages:
            return b""
        told = {(topic, OUTSIDE): 1 for topic in self._told}
        position = FeedPosition(told_at=int(now), offsets={**told, **self._offsets}).text(self._prefix)
        return b"".join(map(event, messages[:-1])) + event(messages[-1], position)

    def close(self) -> None:
        """Let go of the broker."""
        self._reader.close()

    def _read(self, within_seconds: float) -> list[LiveMessage]:
        found: list[LiveMessage] = []
        for batch in self._reader.batches(records_max=RUN_RECORDS, within_seconds=within_seconds):
            for record in batch.records:
                try:
                    document = self._documents.document(batch.topic, record)
                except Rejected:
                    continue  # a dead letter, which the lane writes when it comes to it
                if document is not None:
                    feed = document.change.feed
                    found.append(LiveMessage(topic=batch.topic, feed=feed, body=document.body()))
            self._offsets[batch.topic, batch.partition] = batch.next_offset
        return found
