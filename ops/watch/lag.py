"""Lag (积压): how far a consumer group is behind, in records and in seconds (OP-02).

Seconds come from a real record: the age of the oldest one that the group has not confirmed. That is right under compaction,
where a difference of offsets counts records that no longer exist, and it says when retention has passed the group.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from confluent_kafka import KafkaException

from ops.watch.offsets.brokers import Brokers
from ops.watch.offsets.group_offsets import GroupOffsets
from ops.watch.offsets.record_times import Place, RecordTimes
from schemas.change import Partition
from schemas.errors import Transient
from schemas.log.entering import AWAY
from schemas.log.kafka import Kafka

STREAMS_GROUP = "mesh.streams"
FLOWS_GROUP = "mesh.flows"
WITHIN_SECONDS = 10.0


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
        self._kafka = kafka
        self._offsets = GroupOffsets(kafka, within_seconds)
        self._times = RecordTimes(kafka, within_seconds)

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        """A failed question is Transient, and the next one goes through new connections.

        librdkafka 2.16 never finds a group's coordinator again, with the client that it has, once the broker was away.
        """
        try:
            yield
        except (KafkaException, Transient) as error:
            self._offsets = GroupOffsets(self._kafka, self._within_seconds)
            self._times.reopen()
            if isinstance(error, Transient):
                raise
            raise Transient(f"{what}: {error.args[0].str()}", fix=AWAY) from error

    def close(self) -> None:
        """Let the connections go."""
        self._times.close()

    def read(self, groups: Mapping[str, Iterable[str]]) -> dict[str, dict[str, TopicLag]]:
        """The lag of each group on each of its topics; topics that do not exist are left out. Raises Transient."""
        wanted = {group: sorted(set(topics)) for group, topics in groups.items()}
        with self._asking("lag"):
            return self._read(wanted)

    def brokers(self) -> Brokers:
        """The brokers, and what is wrong with partitions. Raises Transient."""
        with self._asking("brokers"):
            return self._offsets.brokers()

    def first_at_ms(self, topics: Iterable[str]) -> dict[str, int]:
        """When the first record of each topic was made, in ms since 1970; topics without a record are left out."""
        first: dict[str, int] = {}
        with self._asking("first records"):
            starts, ends = self._offsets.ask_bounds(self._offsets.partitions(topics))()
            filled = [
                (topic, number, start) for (topic, number), start in starts.items() if start < ends[topic, number]
            ]
            for (topic, _, _), at_ms in self._times.committed(filled).items():
                first[topic] = min(at_ms, first.get(topic, at_ms))
        return first

    def newest_at_ms(self, topics: Iterable[str]) -> dict[str, int]:
        """When the newest record of each topic was made, in ms since 1970; topics without a record are left out."""
        newest: dict[str, int] = {}
        with self._asking("newest records"):
            for (topic, _), at_ms in self._offsets.newest_at_ms(self._offsets.partitions(topics)).items():
                newest[topic] = max(at_ms, newest.get(topic, at_ms))
        return newest

    def _read(self, groups: Mapping[str, Sequence[str]]) -> dict[str, dict[str, TopicLag]]:
        partitions = self._offsets.partitions({topic for topics in groups.values() for topic in topics})
        bounds = self._offsets.ask_bounds(partitions)
        committed = self._offsets.committed(groups.keys())
        starts, ends = bounds()
        behind: set[Place] = set()  # topic, partition, and from where the oldest is to be found
        for group, topics in groups.items():
            for topic, number in _places(topics, partitions):
                offset = _next(committed[group], starts, (topic, number))
                if offset < ends[topic, number]:
                    behind.add((topic, number, offset))
        oldest = self._times.committed(sorted(behind))
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
        committed: Mapping[Partition, int],
        starts: Mapping[Partition, int],
        ends: Mapping[Partition, int],
        oldest: Mapping[Place, int],
        held_up: Container[Place],
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

    def _held_up(self, places: Sequence[Place]) -> dict[Place, int]:
        """Of places where no reader gets anything: those where an open transaction is why, and the time of its first record."""
        numbers: dict[str, set[int]] = {}
        for topic, number, _ in places:
            numbers.setdefault(topic, set()).add(number)
        ends = self._offsets.stable_ends(numbers)
        return self._times.of_open_transactions(
            [(topic, number, offset) for topic, number, offset in places if ends[topic, number] <= offset]
        )


def _places(topics: Iterable[str], partitions: Mapping[str, Iterable[int]]) -> Iterable[Partition]:
    return [(topic, number) for topic in topics for number in partitions.get(topic, ())]


def _next(committed: Mapping[Partition, int], starts: Mapping[Partition, int], key: Partition) -> int:
    """The offset that the group reads next: where it committed, or where the log starts."""
    return max(committed.get(key, 0), starts[key])
