"""Ends: a subscriber that reads its topics itself is told of the end of a grant, and confirms it by its group (invariant 11).

The topic closes within seconds, whether it has heard of that or not. What tells it is a record GRANT_ENDED, the same that a webhook
gets, on the topic `ends.<subscriber>.<sink>`, which stays open: also a client that was away for a week learns of it. Once its group
has committed past the record the end is confirmed. A record may stand there twice, after a kill: it means the same.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from ops.host.look_on import look_on
from ops.kinds.sinks import SINKS
from ops.own_topic.readers import sink_of
from ops.watch.lag import delivery_group
from ops.watch.offsets.confirmed import Confirmed
from schemas.agreement.directory import Directory
from schemas.agreement.ending import Ending
from schemas.errors import MeshError
from schemas.feed import ends_topic
from schemas.log.control.follower import read_directory
from schemas.log.kafka import Kafka
from schemas.log.offsets import bounds, partitions_of
from schemas.log.range import read_range
from schemas.log.writer import Log
from schemas.wire.codec import Codec
from schemas.wire.schema import SchemaOf
from sinks.ending import Acknowledge, ending_record
from sinks.kind import is_read_itself

LOOK_SECONDS = 1.0
WITHIN_SECONDS = 30.0
TOPIC = "topic"

_logger = logging.getLogger(__name__)


class EndsTold:
    """In every delivery process."""

    def __init__(
        self,
        kafka: Kafka,
        directory: Callable[[], Directory],
        log: Log,
        schema_of: SchemaOf,
        acknowledge: Acknowledge,
    ) -> None:
        self._kafka = kafka
        self._directory = directory
        self._log = log
        self._codec = Codec(schema_of)
        self._acknowledge = acknowledge
        self._confirmed = Confirmed(kafka)
        self._told: dict[str, int] = {}

    def look(self, now: datetime) -> None:
        """Tell what is not told, confirm what is read; what fails is tried at the next look."""
        for ending in self._due(self._directory(), now):
            try:
                self._tell(ending, now)
            except MeshError as error:
                _logger.warning("the end of grant %s is told at the next look: %s", ending.grant_id, error)

    def _due(self, directory: Directory, now: datetime) -> list[Ending]:
        return [
            each
            for each in directory.endings_due(now)
            if is_read_itself(sink_of(directory, each.subscriber, each.sink), SINKS)
        ]

    def _tell(self, ending: Ending, now: datetime) -> None:
        topic = ends_topic(ending.subscriber, ending.sink)
        if ending.topic not in self._told:
            self._read(topic)
        if ending.topic not in self._told:
            record = ending_record(self._codec, ending, now.timestamp())
            headers = [*(record.headers or ()), (TOPIC, ending.topic.encode())]
            self._log.append(topic, record.key, record.value, partition=0, headers=headers)
            self._log.flush(WITHIN_SECONDS)
            _logger.info("grant %s is over (%s): told on %s", ending.grant_id, ending.reason, topic)
            self._read(topic)
        group = delivery_group(ending.subscriber, ending.sink)
        if self._confirmed(group, (topic, 0)) <= self._told[ending.topic]:
            return
        if any(each.topic == ending.topic for each in self._due(read_directory(self._kafka), now)):
            self._acknowledge(ending, None)
            _logger.info("grant %s is over (%s): its subscriber's group confirms it", ending.grant_id, ending.reason)

    def _read(self, topic: str) -> None:
        if not partitions_of(self._kafka, topic):
            return
        for batch in read_range(self._kafka, topic, 0, *bounds(self._kafka, topic, 0)):
            for record in batch.records:
                named = dict(record.headers or ()).get(TOPIC, b"").decode()
                self._told.setdefault(named, record.offset)

    def run(self, stop: threading.Event) -> None:
        """Look every second until `stop`, in a thread of its own."""
        look_on(lambda: self.look(datetime.now(UTC)), stop, name="ends", every_seconds=LOOK_SECONDS)
