"""Reader: a consumer group's member, for who delivers what it reads.

Consumer groups speak the new protocol (KIP-848, KF-11), so a lane that joins or leaves stops nobody else.
Offsets move only when the lane says that a batch is durable (invariant 1).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.change import Batch, Partition
from schemas.errors import Transient
from schemas.log.group.reached import Reached
from schemas.log.group.start import starts
from schemas.log.kafka import Kafka
from schemas.log.message import (
    FEW_RECORDS,
    SLICE_RECORDS,
    group_messages,
    reader_settings,
    sound,
)

logger = logging.getLogger(__name__)

COMMIT_EVERY_SECONDS = 0.5


class ReaderLedger(Protocol):
    """Where it is accounted for what is read (schemas/ledger/book.py). Never raises."""

    def read(self, batches: Iterable[Batch]) -> None:
        """These were read; what comes again is passed over."""
        ...

    def goes_on(self, place: Partition, offset: int) -> None:
        """It is read from here on, and all below was read before, by this member or another."""
        ...

    def settled(self, place: Partition, next_offset: int) -> None:
        """Everything below the offset is at the subscriber, or among the dead letters."""
        ...

    def delivered(self, batches: Iterable[Batch]) -> None:
        """These are at the subscriber."""
        ...

    def dead(self, batch: Batch) -> None:
        """These are among the dead letters."""
        ...

    def forget(self, places: Iterable[Partition]) -> None:
        """These are no longer ours."""
        ...


class NoReaderLedger:
    """For a reader that nobody accounts for."""

    def read(self, batches: Iterable[Batch]) -> None:
        """Nothing."""

    def goes_on(self, place: Partition, offset: int) -> None:
        """Nothing."""

    def settled(self, place: Partition, next_offset: int) -> None:
        """Nothing."""

    def delivered(self, batches: Iterable[Batch]) -> None:
        """Nothing."""

    def dead(self, batch: Batch) -> None:
        """Nothing."""

    def forget(self, places: Iterable[Partition]) -> None:
        """Nothing."""


StartsOf = Callable[[Sequence[Partition]], Mapping[Partition, int]]


class Reader:
    """Reads the topics of one consumer group.

    Without `has_headers` records have none, which saves a tenth of the reading. `starts_of` asks a sink that keeps offsets itself
    where to continue. What neither it nor the group knows starts at the beginning. Raises ContractBroken when records
    that were never delivered are gone, or a topic was made anew.
    """

    def __init__(
        self,
        kafka: Kafka,
        group: str,
        *,
        starts_of: StartsOf | None = None,
        has_headers: bool = True,
        extra: Mapping[str, str] | None = None,
        ledger: ReaderLedger | None = None,
    ) -> None:
        self._group = group
        self._ledger = ledger or NoReaderLedger()
        self._starts_of = starts_of
        self._has_headers = has_headers
        self._topics = self._unread = frozenset[str]()
        self._commit_at = 0.0
        self._stash: list[Message] = []
        self._held: set[Partition] = set()
        self._reached = Reached()
        self._aside: set[str] = set()
        self._is_resting = False
        self._trouble: Exception | None = None
        settings = reader_settings(kafka, group, extra)
        group_settings = {"group.id": group, "group.protocol": "consumer", "on_commit": self._commit_answered}
        self._consumer = Consumer({**settings, **group_settings}, logger=logger)
        self.went_back: dict[str, tuple[int, int]] = {}  # topics whose target has less than was confirmed: how far each

    def follow(self, topics: Collection[str], unread: Collection[str] = ()) -> None:
        """Read exactly these topics from now on, and of those that are `unread` keep the place; other records here are dropped."""
        self._unread = frozenset(unread)
        wanted = frozenset(topics)
        if wanted == self._topics:
            return
        self._topics = wanted
        if wanted:
            self._consumer.subscribe(
                sorted(wanted), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
            )
        else:
            self._consumer.unsubscribe()

    def batches(
        self, *, records_max: int, bytes_max: int, within_seconds: float, pause_seconds: float = 0.0
    ) -> list[Batch]:
        """What is there, after waiting for the first record up to `within_seconds`.

        A few records wait `pause_seconds` for company; while a write takes long the next run grows by itself.
        """
        self._resume()
        messages, self._stash = self._stash, []
        size = sum(len(message) for message in messages)
        if not messages and (first := self._consumer.poll(within_seconds)) is not None:
            messages.append(first)
        while messages and len(messages) < records_max and size < bytes_max:
            more = self._consumer.consume(min(SLICE_RECORDS, records_max - len(messages)), 0)
            if not more:
                if not pause_seconds or len(messages) > FEW_RECORDS:
                    break
                time.sleep(pause_seconds)
                pause_seconds = 0.0
            messages += more
            size += sum(map(len, more))
        self._raise_trouble()
        self._commit_sometimes()
        batches = group_messages(sound(messages), has_headers=self._has_headers)
        ours = [batch for batch in batches if self.holds(batch)]
        self._ledger.read(ours)
        return ours

    def idle(self, seconds: float, stop: threading.Event) -> None:
        """Stay in the group without reading, while a target is unwell; what was fetched already is kept until `batches`."""
        if not self._is_resting:
            self._is_resting = True
            self._consumer.pause(self._consumer.assignment())
        left, until = seconds, time.monotonic() + seconds
        while left >= 0 and not stop.is_set():
            # A partition assigned just now is not paused: keep what comes.
            if (message := self._consumer.poll(min(left, 0.2))) is not None:
                self._stash.append(message)
            self._raise_trouble()
            left = until - time.monotonic()
        self._commit_sometimes()

    def _resume(self) -> None:
        if self._is_resting:
            self._is_resting = False
            still = self._aside | self._unread
            self._consumer.resume([tp for tp in self._consumer.assignment() if tp.topic not in still])

    def holds(self, batch: Batch) -> bool:
        """Whether the batch's partition is still ours and its topic still read."""
        return self.owns(batch.topic, batch.partition)

    def owns(self, topic: str, partition: int) -> bool:
        """Whether the partition is still ours and its topic still read."""
        return (topic, partition) in self._held and topic in self._topics and topic not in self._unread

    @property
    def has_partitions(self) -> bool:
        """Whether the group gave us anything to read."""
        return bool(self._held)

    def done(self, topic: str, partition: int, next_offset: int) -> None:
        """Everything below the offset is durable downstream; the broker hears of it within half a second."""
        if (topic, partition) in self._held:
            self._reached.done((topic, partition), next_offset)
            self._ledger.settled((topic, partition), self._reached.durable[topic, partition])

    def keep_back(self, topic: str, partition: int, offset: int | None) -> int:
        """Confirm nothing from this offset on, though later records are done; None: no more. Where the partition has come to."""
        return self._reached.keep_back((topic, partition), offset)

    def undone(self, batches: Iterable[Batch]) -> list[Batch]:
        """Of these batches, the records that are still ours and not durable yet."""
        return self._reached.undone(batch for batch in batches if self.holds(batch))

    def set_aside(self, topic: str) -> None:
        """Read no more of a topic for now; what was read of it and is not durable comes again after `take_back`."""
        places = [place for place in self._held if place[0] == topic]
        self._aside.add(topic)
        self._stash = [message for message in self._stash if message.topic() != topic]
        try:
            for place in places:
                self._consumer.pause([TopicPartition(*place)])
                self._consumer.seek(TopicPartition(*place, self._reached.of(place)))
        except KafkaException as error:
            raise Transient(f"{self._group}: cannot set {topic} aside: {error.args[0].str()}") from error

    def take_back(self, topic: str) -> None:
        """Read a topic again that was set aside."""
        self._aside.discard(topic)
        self._consumer.resume([TopicPartition(*place) for place in self._held if place[0] == topic not in self._unread])

    def close(self) -> None:
        """Commit what is durable and leave the group."""
        try:
            self._commit(self._held, is_waiting=True)
        except Transient as error:
            logger.warning("%s: last commit failed, some records will come again: %s", self._group, error)
        self._consumer.close()

    def _raise_trouble(self) -> None:
        if self._trouble is not None:
            trouble, self._trouble = self._trouble, None
            raise trouble

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        try:
            assigned = self._begin(partitions)
        except Exception as error:  # noqa: BLE001 -- raised again, in the lane's thread, by `batches`
            self._trouble = error
            assigned = []
        self._held |= {(tp.topic, tp.partition) for tp in assigned}
        consumer.incremental_assign(assigned)
        consumer.pause([tp for tp in assigned if tp.topic in self._unread])

    def _begin(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        places = [(tp.topic, tp.partition) for tp in partitions]
        kept = self._starts_of(places) if self._starts_of and places else {}
        assigned: list[TopicPartition] = []
        try:
            for start in starts(self._consumer, partitions, kept):
                if start.is_behind:
                    self.went_back[start.place[0]] = (max(start.offset, 0), start.committed)
                self._reached.begin(start.place, start.offset, start.told)
                if start.offset >= 0:
                    self._ledger.goes_on(start.place, start.offset)
                assigned.append(start.assigned())
        except KafkaException as error:
            raise Transient(f"{self._group}: cannot find the start: {error.args[0].str()}") from error
        return assigned

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        places = {(tp.topic, tp.partition) for tp in partitions}
        try:
            self._commit(places, is_waiting=True)
        except Transient as error:
            logger.warning("%s: commit at revocation failed, some records will come again: %s", self._group, error)
        self._forget(places)
        consumer.incremental_unassign(partitions)

    def _lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # Someone else owns them already: committing now could set them back.
        self._forget({(tp.topic, tp.partition) for tp in partitions})
        consumer.incremental_unassign(partitions)

    def _forget(self, places: set[Partition]) -> None:
        self._held -= places
        for place in places:
            self._reached.forget(place)
        self._ledger.forget(places)
        self._stash = [message for message in self._stash if (message.topic(), message.partition()) not in places]

    def _commit_sometimes(self) -> None:
        if self._reached.durable and time.monotonic() >= self._commit_at:
            self._commit_at = time.monotonic() + COMMIT_EVERY_SECONDS
            self._commit(self._held, is_waiting=False)

    def _commit(self, places: Collection[Partition], *, is_waiting: bool) -> None:
        offsets = [TopicPartition(*place, offset) for place, offset in self._reached.news(places).items()]
        if not offsets:
            return
        try:
            self._consumer.commit(offsets=offsets, asynchronous=not is_waiting)
        except KafkaException as error:
            raise Transient(f"{self._group}: commit: {error.args[0].str()}") from error

    def _commit_answered(self, error: KafkaError | None, offsets: list[TopicPartition]) -> None:
        for tp in offsets:
            if error is not None or tp.error is not None:
                self._reached.was_not_told((tp.topic, tp.partition))
