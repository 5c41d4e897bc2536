"""Lag (积压): how far a consumer group is behind, in records and in seconds (OP-02).

Seconds come from a real record: the age of the oldest one that the group has not confirmed. That is right under compaction,
where a difference of offsets counts records that no longer exist, and it says when retention has passed the group.
"""

# pyright: reportPrivateImportUsage=false
# confluent_kafka.admin re-exports its documented names without saying so in a way that the type checker reads.

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import OffsetSpec

from schemas.errors import Transient
from schemas.log.admin import admin_client
from schemas.log.kafka import Kafka

STREAMS_GROUP = "mesh.streams"
FLOWS_GROUP = "mesh.flows"
WITHIN_SECONDS = 10.0
KNOWN_FOR_SECONDS = 60.0
_AWAY = frozenset(
    {KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.NOT_COORDINATOR}
)
_Key = tuple[str, int]


def delivery_group(subscriber: str, sink: str) -> str:
    """The consumer group of one delivery lane."""
    return f"sub.{subscriber}.{sink}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicLag:
    """How far a group is behind on one topic.

    `records` counts offsets, an upper bound on a compacted topic, and nothing where no record follows; `seconds` is the age of
    the oldest unconfirmed record, 0 when there is none; `confirmed` is the sum of the committed offsets: it grows when the group
    moves. `is_passed`: records that the group had not read are gone (KF-12). `by_partition`: records and seconds.
    `held_up`: partitions in which an open transaction stands before the next record, and from which offset on.
    """

    records: int
    seconds: float
    confirmed: int
    is_passed: bool = False
    by_partition: Mapping[int, tuple[int, float]] = field(default_factory=dict[int, tuple[int, float]])
    held_up: Mapping[int, int] = field(default_factory=dict[int, int])


class LagReader:
    """Asks the brokers, as often as wanted, without joining any group. Not shared between threads; `close` it.

    No question takes longer than `within_seconds`.
    """

    def __init__(
        self, kafka: Kafka, clock: Callable[[], float] = time.time, *, within_seconds: float = WITHIN_SECONDS
    ) -> None:
        self._clock = clock
        self._within_seconds = within_seconds
        self._known: dict[tuple[str, int, int], int] = {}
        """When the record at a place was made, of the places that groups stood at when last asked."""
        self._known_since = 0.0
        self._kafka = kafka
        self._open()

    def _open(self) -> None:
        self._admin = admin_client(self._kafka)
        self._consumer = self._reading("read_committed")

    def _reading(self, isolation: str) -> Consumer:
        return Consumer(
            self._kafka.client(
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

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        """A failed question is Transient, and the next one goes through new connections.

        librdkafka 2.16 never finds a group's coordinator again, with the client that it has, once the broker was away.
        """
        try:
            yield
        except (KafkaException, Transient) as error:
            self._consumer.close()
            self._open()
            if isinstance(error, Transient):
                raise
            raise Transient(f"{what}: {error.args[0].str()}", fix="are the brokers up?") from error

    def close(self) -> None:
        """Let the connections go."""
        self._consumer.close()

    def read(self, groups: Mapping[str, Iterable[str]]) -> dict[str, dict[str, TopicLag]]:
        """The lag of each group on each of its topics; topics that do not exist are left out. Raises Transient."""
        wanted = {group: sorted(set(topics)) for group, topics in groups.items()}
        with self._asking("lag"):
            return self._read(wanted)

    def first_at_ms(self, topics: Iterable[str]) -> dict[str, int]:
        """When the first record of each topic was made, in ms since 1970; topics without a record are left out."""
        first: dict[str, int] = {}
        with self._asking("first records"):
            partitions = self._partitions(topics)
            starts = self._offsets(partitions, OffsetSpec.earliest())
            ends = self._offsets(partitions, OffsetSpec.latest())
            filled = [
                (topic, number, start) for (topic, number), start in starts.items() if start < ends[topic, number]
            ]
            for (topic, _, _), at_ms in self._timestamps(filled).items():
                first[topic] = min(at_ms, first.get(topic, at_ms))
        return first

    def newest_at_ms(self, topics: Iterable[str]) -> dict[str, int]:
        """When the newest record of each topic was made, in ms since 1970; topics without a record are left out."""
        newest: dict[str, int] = {}
        with self._asking("newest records"):
            partitions = self._partitions(topics)
            for (topic, _), found in self._listed(partitions, OffsetSpec.max_timestamp()).items():
                if (at_ms := found.timestamp or -1) >= 0:
                    newest[topic] = max(at_ms, newest.get(topic, at_ms))
        return newest

    def _partitions(self, topics: Iterable[str]) -> dict[str, list[int]]:
        known = self._admin.list_topics(timeout=self._within_seconds).topics
        return {topic: list(known[topic].partitions) for topic in topics if topic in known}

    def _read(self, groups: Mapping[str, Sequence[str]]) -> dict[str, dict[str, TopicLag]]:
        partitions = self._partitions({topic for topics in groups.values() for topic in topics})
        # Asked together: the broker answers the second while the first is on its way.
        asked = [self._asked(partitions, which) for which in (OffsetSpec.earliest(), OffsetSpec.latest())]
        self._wait_for_coordinators(list(groups))
        committed = self._committed(groups)
        starts, ends = ({place: future.result().offset for place, future in each.items()} for each in asked)
        behind: set[tuple[str, int, int]] = set()  # topic, partition, and from where the oldest is to be found
        for group, topics in groups.items():
            for topic, number in _places(topics, partitions):
                offset = _next(committed[group], starts, (topic, number))
                if offset < ends[topic, number]:
                    behind.add((topic, number, offset))
        oldest = self._timestamps(sorted(behind))
        held_up = self._held_up([place for place in sorted(behind) if place not in oldest])
        oldest |= held_up
        return {
            group: {
                topic: self._lag(topic, partitions[topic], committed[group], starts, ends, oldest, held_up)
                for topic in topics
                if topic in partitions
            }
            for group, topics in groups.items()
        }

    def _lag(
        self,
        topic: str,
        numbers: Iterable[int],
        committed: Mapping[_Key, int],
        starts: Mapping[_Key, int],
        ends: Mapping[_Key, int],
        oldest: Mapping[tuple[str, int, int], int],
        held_up: Container[tuple[str, int, int]],
    ) -> TopicLag:
        now_ms = self._clock() * 1000
        confirmed, is_passed = 0, False
        held: dict[int, int] = {}
        by_partition: dict[int, tuple[int, float]] = {}
        for number in numbers:
            key = (topic, number)
            offset = _next(committed, starts, key)
            confirmed += offset
            is_passed |= committed.get(key, starts[key]) < starts[key]
            # Where no record follows there is nothing to read: the mark of a transaction, or what compaction left.
            timestamp_ms = oldest.get((topic, number, offset))
            is_behind = timestamp_ms is not None
            seconds = max(0.0, (now_ms - timestamp_ms) / 1000) if is_behind else 0.0
            by_partition[number] = (max(0, ends[key] - offset) if is_behind else 0, seconds)
            if (topic, number, offset) in held_up:
                held[number] = offset
        return TopicLag(
            records=sum(records for records, _ in by_partition.values()),
            seconds=max((seconds for _, seconds in by_partition.values()), default=0.0),
            confirmed=confirmed,
            is_passed=is_passed,
            by_partition=by_partition,
            held_up=held,
        )

    def _offsets(self, partitions: Mapping[str, Iterable[int]], which: Any) -> dict[_Key, int]:
        return {place: found.offset for place, found in self._listed(partitions, which).items()}

    def _listed(self, partitions: Mapping[str, Iterable[int]], which: Any) -> dict[_Key, Any]:
        """The offset, and perhaps its timestamp, that fits `which` in each partition."""
        return {place: future.result() for place, future in self._asked(partitions, which).items()}

    def _asked(
        self,
        partitions: Mapping[str, Iterable[int]],
        which: Any,
        isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
    ) -> dict[_Key, Any]:
        asked = {TopicPartition(*place): which for place in _places(partitions, partitions)}
        if not asked:
            return {}
        futures = self._admin.list_offsets(asked, isolation_level=isolation, request_timeout=self._within_seconds)
        return {(place.topic, place.partition): future for place, future in futures.items()}

    def _wait_for_coordinators(self, groups: list[str]) -> None:
        """Return once each group's coordinator answers: on a fresh broker, and after a failover, it takes a moment.

        librdkafka 2.16 does not survive an error of the coordinator to the question for offsets (a segmentation fault, which
        no handler sees); the description of a group brings the same error in one piece.
        """
        deadline = time.monotonic() + self._within_seconds
        while groups:
            away: list[str] = []
            for group, future in self._admin.describe_consumer_groups(
                groups, request_timeout=self._within_seconds
            ).items():
                try:
                    future.result()
                except KafkaException as error:
                    code = error.args[0].code()
                    if code in _AWAY and time.monotonic() < deadline:
                        away.append(group)
                    elif code != KafkaError.GROUP_ID_NOT_FOUND:
                        raise
            groups = away
            if away:
                time.sleep(0.1)

    def _committed(self, groups: Iterable[str]) -> dict[str, dict[_Key, int]]:
        """What each group has confirmed. All are asked at once, a request each: the broker takes no other."""
        futures = {
            group: self._admin.list_consumer_group_offsets(
                [ConsumerGroupTopicPartitions(group)], request_timeout=self._within_seconds
            )[group]
            for group in groups
        }
        return {group: self._answer(future) for group, future in futures.items()}

    def _answer(self, future: Any) -> dict[_Key, int]:
        try:
            answer = future.result()
        except KafkaException as error:
            if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                return {}
            raise
        return {(place.topic, place.partition): place.offset for place in answer.topic_partitions if place.offset >= 0}

    def _held_up(self, places: Sequence[tuple[str, int, int]]) -> dict[tuple[str, int, int], int]:
        """Of places where no reader gets anything: those where an open transaction is why, and the time of its first record."""
        numbers: dict[str, set[int]] = {}
        for topic, number, _ in places:
            numbers.setdefault(topic, set()).add(number)
        stable = self._asked(numbers, OffsetSpec.latest(), IsolationLevel.READ_COMMITTED)
        ends = {place: future.result().offset for place, future in stable.items()}
        open_at = [(topic, number, offset) for topic, number, offset in places if ends[topic, number] <= offset]
        found: dict[tuple[str, int, int], int] = {}
        if open_at:
            with closing(self._reading("read_uncommitted")) as consumer:
                # Groups that stand before the same transaction stand at the same place, where readers have to stop.
                found = self._first_records({place[:2]: place for place in open_at}, consumer)
        return found

    def _timestamps(self, places: Sequence[tuple[str, int, int]]) -> dict[tuple[str, int, int], int]:
        """The timestamp in ms of the first record at or after each offset; none where compaction left nothing."""
        if time.monotonic() - self._known_since > KNOWN_FOR_SECONDS:  # compaction may have taken the record since
            self._known, self._known_since = {}, time.monotonic()
        found = {place: self._known[place] for place in places if place in self._known}
        # Two groups may stand at two places of one partition: each round takes one place of every partition.
        left = [place for place in places if place not in found]
        while left:
            round_of: dict[_Key, tuple[str, int, int]] = {}
            for place in left:
                round_of.setdefault(place[:2], place)
            left = [place for place in left if round_of[place[:2]] != place]
            found.update(self._first_records(round_of, self._consumer))
        self._known = found
        return found

    def _first_records(
        self, places: Mapping[_Key, tuple[str, int, int]], consumer: Consumer
    ) -> dict[tuple[str, int, int], int]:
        found: dict[tuple[str, int, int], int] = {}
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


def _places(topics: Iterable[str], partitions: Mapping[str, Iterable[int]]) -> Iterable[_Key]:
    return [(topic, number) for topic in topics for number in partitions.get(topic, ())]


def _next(committed: Mapping[_Key, int], starts: Mapping[_Key, int], key: _Key) -> int:
    """The offset that the group reads next: where it committed, or where the log starts."""
    return max(committed.get(key, 0), starts[key])
