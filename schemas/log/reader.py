"""Reader: the one place outside Faust that reads Kafka.

Consumer groups speak the new protocol (KIP-848, KF-11), so a lane that joins or leaves stops nobody else.
Offsets move only when the lane says that a batch is durable (invariant 1).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any
from uuid import uuid4

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.change import Batch, Partition, Record
from schemas.errors import ContractBroken, Transient
from schemas.feed import first_edition
from schemas.log.kafka import Kafka
from schemas.log.reached import Reached

logger = logging.getLogger(__name__)

COMMIT_EVERY_SECONDS = 0.5
BROKER_WITHIN_SECONDS = 10.0
SLICE_RECORDS = 1_000
FEW_RECORDS = 500

StartsOf = Callable[[Sequence[Partition]], Mapping[Partition, int]]

_PASSING = frozenset(
    {
        KafkaError._PARTITION_EOF,
        KafkaError.UNKNOWN_TOPIC_OR_PART,  # not created yet: the group assigns it once it is
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._RESOLVE,
        KafkaError._TIMED_OUT,
    }
)


def _settings(kafka: Kafka, client_id: str, extra: Mapping[str, str] | None) -> dict[str, Any]:
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


def _record(message: Message, *, has_headers: bool = True) -> Record:
    return Record(
        message.offset(),  # pyright: ignore[reportArgumentType]  -- a message without error has an offset
        message.key(),  # pyright: ignore[reportArgumentType]  -- no deserializer is configured: bytes or None
        message.value(),  # pyright: ignore[reportArgumentType]
        message.headers() if has_headers else None,  # pyright: ignore[reportArgumentType]  -- we read the list form
        message.timestamp()[1],
    )


def group_messages(messages: Iterable[Message], *, has_headers: bool = True) -> list[Batch]:
    """One batch per partition, in the order of arrival."""
    runs: dict[Partition, list[Record]] = {}
    for message in messages:
        place = (message.topic(), message.partition())
        run = runs.get(place)  # pyright: ignore[reportArgumentType]  -- a message without error has a place
        if run is None:
            run = runs[place] = []  # pyright: ignore[reportArgumentType]
        run.append(_record(message, has_headers=has_headers))
    return [Batch(topic=topic, partition=partition, records=run) for (topic, partition), run in runs.items()]


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
    ) -> None:
        self._group = group
        self._starts_of = starts_of
        self._has_headers = has_headers
        self._topics: frozenset[str] = frozenset()
        self._committed: dict[Partition, int] = {}
        self._commit_at = 0.0
        self._stash: list[Message] = []
        self._held: set[Partition] = set()
        self._reached = Reached()
        self._aside: set[str] = set()
        self._is_resting = False
        self._trouble: Exception | None = None
        settings = _settings(kafka, group, extra)
        group_settings = {"group.id": group, "group.protocol": "consumer", "on_commit": self._commit_answered}
        self._consumer = Consumer({**settings, **group_settings}, logger=logger)
        self.went_back: dict[str, tuple[int, int]] = {}  # topics whose target has less than was confirmed: how far each

    def follow(self, topics: Collection[str]) -> None:
        """Read exactly these topics from now on; records of others that are already here are dropped unread."""
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
        batches = group_messages(self._without_errors(messages), has_headers=self._has_headers)
        return [batch for batch in batches if self.holds(batch)]

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
            self._consumer.resume([tp for tp in self._consumer.assignment() if tp.topic not in self._aside])

    def holds(self, batch: Batch) -> bool:
        """Whether the batch's partition is still ours and its topic still followed."""
        return self.owns(batch.topic, batch.partition)

    def owns(self, topic: str, partition: int) -> bool:
        """Whether the partition is still ours and its topic still followed."""
        return (topic, partition) in self._held and topic in self._topics

    @property
    def has_partitions(self) -> bool:
        """Whether the group gave us anything to read."""
        return bool(self._held)

    def done(self, topic: str, partition: int, next_offset: int) -> None:
        """Everything below the offset is durable downstream; the broker hears of it within half a second."""
        if (topic, partition) in self._held:
            self._reached.done((topic, partition), next_offset)

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
        self._consumer.resume([TopicPartition(*place) for place in self._held if place[0] == topic])

    def close(self) -> None:
        """Commit what is durable and leave the group."""
        try:
            self._commit(self._held, is_waiting=True)
        except Transient as error:
            logger.warning("%s: last commit failed, some records will come again: %s", self._group, error)
        self._consumer.close()

    def _without_errors(self, messages: list[Message]) -> list[Message]:
        sound = [message for message in messages if message.error() is None]
        if len(sound) < len(messages):
            for message in messages:
                if (error := message.error()) is not None:
                    _is_end(error, f"{message.topic()} [{message.partition()}]")
        return sound

    def _raise_trouble(self) -> None:
        if self._trouble is not None:
            trouble, self._trouble = self._trouble, None
            raise trouble

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        try:
            starts = self._place(partitions)
        except Exception as error:  # noqa: BLE001 -- raised again, in the lane's thread, by `batches`
            self._trouble = error
            consumer.incremental_assign([])
            return
        self._held |= set(starts)
        consumer.incremental_assign([TopicPartition(*place, offset) for place, offset in starts.items()])

    def _place(self, partitions: list[TopicPartition]) -> dict[Partition, int]:
        places = [(tp.topic, tp.partition) for tp in partitions]
        kept = self._starts_of(places) if self._starts_of and places else {}
        starts: dict[Partition, int] = {}
        try:
            for tp in self._consumer.committed(partitions, BROKER_WITHIN_SECONDS):
                place = (tp.topic, tp.partition)
                low, high = self._consumer.get_watermark_offsets(tp, BROKER_WITHIN_SECONDS)
                start = kept.get(place, tp.offset)
                if start < tp.offset:
                    self.went_back[tp.topic] = (max(start, 0), tp.offset)
                self._reached.begin(place, start if start >= 0 else OFFSET_BEGINNING)
                if start < 0:
                    starts[place] = OFFSET_BEGINNING
                    self._committed[place] = low
                    continue
                if start < low:
                    raise _gap(f"{tp.topic} [{tp.partition}]", f"delivered up to {start}, the topic begins at {low}")
                if start > high:
                    raise _gap(f"{tp.topic} [{tp.partition}]", f"delivered up to {start}, the topic ends at {high}")
                starts[place] = self._committed[place] = start
        except KafkaException as error:
            raise Transient(f"{self._group}: cannot find the start: {error.args[0].str()}") from error
        return starts

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
            self._committed.pop(place, None)
            self._reached.forget(place)
        self._stash = [message for message in self._stash if (message.topic(), message.partition()) not in places]

    def _commit_sometimes(self) -> None:
        if self._reached.durable and time.monotonic() >= self._commit_at:
            self._commit_at = time.monotonic() + COMMIT_EVERY_SECONDS
            self._commit(self._held, is_waiting=False)

    def _commit(self, places: Collection[Partition], *, is_waiting: bool) -> None:
        offsets = [
            TopicPartition(*place, offset)
            for place, offset in self._reached.durable.items()
            if place in places and self._committed.get(place) != offset
        ]
        if not offsets:
            return
        self._committed.update({(tp.topic, tp.partition): tp.offset for tp in offsets})
        try:
            if is_waiting:
                self._consumer.commit(offsets=offsets, asynchronous=False)
            else:
                self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            raise Transient(f"{self._group}: commit: {error.args[0].str()}") from error

    def _commit_answered(self, error: KafkaError | None, offsets: list[TopicPartition]) -> None:
        for tp in offsets:
            if error is not None or tp.error is not None:  # the next commit says it again
                self._committed.pop((tp.topic, tp.partition), None)


def _gap(place: str, breach: str) -> ContractBroken:
    # Invariant 9, KF-12: neither a gap nor a topic made anew passes silently.
    topic = first_edition(place.partition(" ")[0])
    grant = topic.removeprefix("out.")
    again = "`mesh resync <feed>` copies the feed anew, or what a derived one is made from"
    fix = again if grant == topic else f"accept the gap: `mesh replay {grant}`; what was in it comes anew: {again}"
    return ContractBroken(place, breach, fix=fix)


def read_range(kafka: Kafka, topic: str, partition: int, start: int, end: int) -> Iterator[Batch]:
    """Records of one partition with start <= offset < end, in batches; fewer where compaction removed some.

    Raises ContractBroken when `start` is no longer there, Transient when the broker does not answer.
    """
    place = f"{topic} [{partition}]"
    settings = _settings(kafka, f"range-{topic}-{partition}", {"enable.partition.eof": "true"})
    consumer = Consumer({**settings, "group.id": f"range-{uuid4()}", "group.protocol": "classic"}, logger=logger)
    try:
        consumer.assign([TopicPartition(topic, partition, start)])
        position = start
        quiet_until = time.monotonic() + BROKER_WITHIN_SECONDS
        while position < end:
            messages = consumer.consume(2_000, 0.1)
            records = [_record(message) for message in messages if message.error() is None]
            if records:
                position = records[-1].offset + 1
                if wanted := [record for record in records if record.offset < end]:
                    yield Batch(topic=topic, partition=partition, records=wanted)
            if any(_is_end(error, place) for message in messages if (error := message.error()) is not None):
                return
            if messages:
                quiet_until = time.monotonic() + BROKER_WITHIN_SECONDS
            elif time.monotonic() > quiet_until:
                raise Transient(f"reading {place}: the broker is silent at offset {position} of {end}")
    finally:
        consumer.close()


def _is_end(error: KafkaError, place: str) -> bool:
    if error.code() == KafkaError._PARTITION_EOF:
        return True
    if error.code() == KafkaError._AUTO_OFFSET_RESET:
        raise _gap(place, "the first record asked for is no longer in the topic")
    if error.code() not in _PASSING:
        raise Transient(f"reading {place}: {error.str()}")
    return False


def tail(
    kafka: Kafka, topics: Collection[str], stop: threading.Event, *, from_beginning: bool = False
) -> Iterator[list[Batch]]:
    """What arrives on the topics, without a group: from now on, or from the beginning. Ends when `stop` is set."""
    settings = _settings(kafka, "tail", None)
    consumer = Consumer({**settings, "group.id": f"tail-{uuid4()}", "group.protocol": "classic"}, logger=logger)
    try:
        known = consumer.list_topics(timeout=BROKER_WITHIN_SECONDS).topics
        missing = sorted(set(topics) - set(known))
        if missing:
            raise Transient(f"no such topic: {', '.join(missing)}", fix="`mesh catalogue` lists what there is")
        start = OFFSET_BEGINNING if from_beginning else OFFSET_END
        consumer.assign(
            [TopicPartition(topic, partition, start) for topic in topics for partition in known[topic].partitions]
        )
        while not stop.is_set():
            first = consumer.poll(0.2)
            if first is None:
                continue
            messages = [first, *consumer.consume(SLICE_RECORDS, 0)]
            for message in messages:
                if (error := message.error()) is not None and error.code() not in _PASSING:
                    is_gone = error.code() == KafkaError._AUTO_OFFSET_RESET
                    why = "records were removed before they were read" if is_gone else error.str()
                    raise Transient(f"tail: {message.topic()} [{message.partition()}]: {why}", fix="read it again")
            yield group_messages(message for message in messages if message.error() is None)
    except KafkaException as error:
        raise Transient(f"tail: {error.args[0].str()}") from error
    finally:
        consumer.close()
