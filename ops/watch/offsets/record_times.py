"""Record times: when the record at or after an offset was made, read from the record itself."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from schemas.change import Partition
from schemas.errors import Transient
from schemas.log.kafka import Kafka

KNOWN_FOR_SECONDS = 60.0

Place = tuple[str, int, int]
"""Topic, partition, offset."""


class RecordTimes:
    """Reads one record of each place that is asked for. Raises KafkaException, and Transient where brokers are slow; `close` it."""

    def __init__(self, kafka: Kafka, within_seconds: float) -> None:
        self._kafka = kafka
        self._within_seconds = within_seconds
        self._consumer = _consumer(kafka, "read_committed")
        self._known: dict[Place, int] = {}
        """Of the places that were last asked for."""
        self._known_since = 0.0

    def close(self) -> None:
        """Let the connections go."""
        self._consumer.close()

    def reopen(self) -> None:
        """Ask through new connections from now on; what is known stays known."""
        self._consumer.close()
        self._consumer = _consumer(self._kafka, "read_committed")

    def committed(self, places: Sequence[Place]) -> dict[Place, int]:
        """The timestamp in ms of the first record at or after each offset; none where compaction left nothing."""
        if time.monotonic() - self._known_since > KNOWN_FOR_SECONDS:  # compaction may have taken the record since
            self._known, self._known_since = {}, time.monotonic()
        found = {place: self._known[place] for place in places if place in self._known}
        # Two groups may stand at two places of one partition: each round takes one place of every partition.
        left = [place for place in places if place not in found]
        while left:
            round_of: dict[Partition, Place] = {}
            for place in left:
                round_of.setdefault(place[:2], place)
            left = [place for place in left if round_of[place[:2]] != place]
            found.update(self._first_records(round_of, self._consumer))
        self._known = found
        return found

    def of_open_transactions(self, places: Sequence[Place]) -> dict[Place, int]:
        """The same where an open transaction stands, which keeps its records from other readers."""
        if not places:
            return {}
        with closing(_consumer(self._kafka, "read_uncommitted")) as consumer:
            # Groups that stand before the same transaction stand at the same place, where readers have to stop.
            return self._first_records({place[:2]: place for place in places}, consumer)

    def _first_records(self, places: Mapping[Partition, Place], consumer: Consumer) -> dict[Place, int]:
        found: dict[Place, int] = {}
        waiting = set(places)
        consumer.assign([TopicPartition(topic, number, offset) for topic, number, offset in places.values()])
        try:
            deadline = time.monotonic() + self._within_seconds
            while waiting and time.monotonic() < deadline:
                message = consumer.poll(0.5)
                if message is None:
                    continue
                key = (message.topic() or "", message.partition() or 0)
                if key not in waiting:
                    continue  # more of a partition that has answered: small fetches keep that cheap
                if (error := message.error()) is None:
                    found[places[key]] = message.timestamp()[1]
                elif error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                waiting.discard(key)
        finally:
            consumer.unassign()
        if waiting:
            raise Transient(f"lag: {len(waiting)} partitions did not answer within {self._within_seconds:g} s")
        return found


def _consumer(kafka: Kafka, isolation: str) -> Consumer:
    return Consumer(
        kafka.client(
            {
                "group.id": "mesh.lag",  # never joined: partitions are assigned by hand and nothing is committed
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 10,  # where only the mark of a transaction follows, there is nothing to wait for
                "isolation.level": isolation,
                "fetch.message.max.bytes": 4096,
                "queued.max.messages.kbytes": 1024,
                "log_level": 0,  # what fails is raised; a terminal is no place for a line per attempt
            }
        )
    )
