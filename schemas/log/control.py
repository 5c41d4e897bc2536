"""The control topics: JSON records, compacted, one partition each; every process follows them.

`Follower` folds them into a `Directory` and keeps it fresh.
`ControlStore` keeps a hop's own progress on such a topic, so that any machine can take the hop over.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from schemas.agreement.agency import Agency
from schemas.agreement.anchor import Anchor
from schemas.agreement.directory import Directory, FeedEntry, GrantEntry
from schemas.agreement.ending import Ending
from schemas.agreement.offboarding import Offboarding
from schemas.agreement.subscriber import Subscriber
from schemas.errors import Transient
from schemas.feed import AGENCIES, ANCHORS, CONTRACTS, ENDINGS, GRANTS, OFFBOARDED, RESYNCS, SUBSCRIBERS
from schemas.log.kafka import Kafka
from schemas.log.writer import Log
from schemas.trace import described

log = logging.getLogger(__name__)

FOLLOWED = (AGENCIES, CONTRACTS, SUBSCRIBERS, GRANTS, ANCHORS, RESYNCS, ENDINGS, OFFBOARDED)
SAVED_WITHIN_SECONDS = 30.0
AGAIN_SECONDS = 0.2
LEADS_WITHIN_SECONDS = 10.0
HEARING_EVERY_SECONDS = 5.0
HEARING_ANSWER_SECONDS = 2.0
DEAF_SECONDS = 30.0
_PASSING = frozenset(
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
Deaf = Callable[[str], None]
"""Told why the newest grants cannot be read, and an empty text once they are again. Never blocks."""

Append = Callable[[str, bytes, bytes | None], None]
"""Queue one control record: topic, key, value (None deletes)."""


def _consumer(kafka: Kafka) -> Consumer:
    return Consumer(
        kafka.client(
            {
                "group.id": "mesh.control",  # never joined: partitions are assigned by hand and nothing is committed
                "enable.auto.commit": False,
                "auto.offset.reset": "error",  # invariant 9: what went before it was read is read anew, not passed over
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 50,
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
    consumer = _consumer(kafka)
    try:
        yield from _read_to_end(consumer, topics, within_seconds)
    finally:
        consumer.close()


def _read_to_end(consumer: Consumer, topics: Sequence[str], within_seconds: float) -> Iterator[tuple[str, str, Any]]:
    ends = {topic: _end(consumer, topic, within_seconds) for topic in topics}
    yield from _read_to(consumer, ends, {}, within_seconds)


def _read_to(
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
            if error.code() not in _PASSING:
                raise Transient(f"control topics: {error.str()}")
            continue
        quiet_until = time.monotonic() + within_seconds
        topic = message.topic() or ""
        yield topic, *_decode(message.key(), message.value())
        if consumer.position([TopicPartition(topic, 0)])[0].offset >= ends[topic]:
            behind.discard(topic)


def _end(consumer: Consumer, topic: str, within_seconds: float) -> int:
    """Where the topic ends. A broker that has just started answers before its partitions have a leader: it is asked again."""
    deadline = time.monotonic() + within_seconds
    while True:
        left_seconds = deadline - time.monotonic()
        try:
            return consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=max(left_seconds, 0.1))[1]
        except KafkaException as error:
            code = error.args[0].code()
            is_absent = code == KafkaError._UNKNOWN_PARTITION and left_seconds < within_seconds - LEADS_WITHIN_SECONDS
            if code not in _PASSING or is_absent or left_seconds < AGAIN_SECONDS:
                raise Transient(f"{topic}: cannot be read ({error.args[0].str()})", fix="is Kafka up?") from error
        with suppress(KafkaException):
            consumer.list_topics(timeout=HEARING_ANSWER_SECONDS)  # what the client knows of the partitions is of before
        time.sleep(AGAIN_SECONDS)


def _decode(key: Any, value: Any) -> tuple[str, Any]:
    name = bytes(key or b"").decode("utf-8", "replace")
    try:
        return name, json.loads(value) if value else None
    except ValueError:
        log.error("a control record is no JSON; its key counts as deleted")  # noqa: TRY400 - its text may be quoted
        return name, None


class DirectoryFold:
    """Folds control records into a Directory. A record that cannot be read is left out, loudly, and the rest stands."""

    _READERS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
        AGENCIES: Agency.from_json,
        CONTRACTS: FeedEntry.from_json,
        SUBSCRIBERS: Subscriber.from_json,
        GRANTS: GrantEntry.from_json,
        ANCHORS: Anchor.from_json,
        ENDINGS: Ending.from_json,
        OFFBOARDED: Offboarding.from_json,
        RESYNCS: lambda record: str(record["request"]),
    }

    def __init__(self) -> None:
        self._entries: dict[str, dict[str, Any]] = {topic: {} for topic in FOLLOWED}

    def apply(self, topic: str, key: str, record: Mapping[str, Any] | None) -> None:
        """Take one control record."""
        entries = self._entries[topic]
        entries.pop(key, None)  # an unreadable grant must not leave its wider predecessor in force (invariant 6)
        if record is not None:
            try:
                entries[key] = self._READERS[topic](record)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the others stand
                log.error("%s: the record of %s cannot be read; it is left out: %s", topic, key, described(error))  # noqa: TRY400

    def directory(self) -> Directory:
        """The Directory as of the records taken so far."""
        return Directory(
            agencies=dict(self._entries[AGENCIES]),
            feeds=dict(self._entries[CONTRACTS]),
            subscribers=dict(self._entries[SUBSCRIBERS]),
            grants=dict(self._entries[GRANTS]),
            anchors=dict(self._entries[ANCHORS]),
            resyncs=dict(self._entries[RESYNCS]),
            endings=dict(self._entries[ENDINGS]),
            offboarded=dict(self._entries[OFFBOARDED]),
        )


def read_directory(kafka: Kafka) -> Directory:
    """The Directory at this moment."""
    fold = DirectoryFold()
    for topic, key, record in read_all(kafka, FOLLOWED):
        fold.apply(topic, key, record)
    return fold.directory()


class Follower:
    """Keeps a Directory fresh in a thread; calling it gives the present one, another object after every change.

    Hops go by what it gives: grants of other meshes that are not trusted are left out. A revocation must never go unseen
    (invariant 6): while Kafka does not answer nothing new can flow either, and the log and `deaf` say since when; what else
    stands between us and the newest record ends the thread, and with it the process (ops/host/process.py), which then reads anew.
    """

    def __init__(self, kafka: Kafka) -> None:
        self._fold = DirectoryFold()
        self._consumer = _consumer(kafka)
        self._hearing = _Hearing(self._consumer)
        self._stop = threading.Event()
        for topic, key, record in _read_to_end(self._consumer, FOLLOWED, 30):
            self._fold.apply(topic, key, record)
        self._directory = self._fold.directory().trusted()
        self._thread = threading.Thread(target=self._follow, name="directory", daemon=True)
        self._thread.start()

    def __call__(self) -> Directory:
        """The present Directory; the same object until something changes."""
        return self._directory

    def tell_deafness(self, deaf: Deaf) -> None:
        """Tell of it from now on."""
        self._hearing.deaf = deaf

    def close(self) -> None:
        """Stop following."""
        self._stop.set()
        self._thread.join(5)

    def _follow(self) -> None:
        while not self._stop.is_set():
            messages = self._consumer.consume(500, 0.2)
            fresh = [message for message in messages if message.error() is None]
            for message in messages:
                error = message.error()
                if error is not None and error.code() not in _PASSING:
                    raise Transient(
                        f"control topics: {error.str()}", fix="the process starts again and reads them anew"
                    )
            for message in fresh:
                self._fold.apply(message.topic() or "", *_decode(message.key(), message.value()))
            if fresh:
                self._directory = self._fold.directory().trusted()
            self._hearing.look()
        self._consumer.close()


class _Hearing:
    """Whether the newest grant is known here, looked at every few seconds."""

    def __init__(self, consumer: Consumer) -> None:
        self.deaf: Deaf = lambda _: None
        self._consumer = consumer
        self._refused_at: float | None = None
        self._due = 0.0
        self._first: int | None = None
        self._high = 0
        self._heard_at = time.monotonic()
        self._is_told = False

    def look(self) -> None:
        """Raises Transient when Kafka answers, and yet what it had long ago has not come."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + HEARING_EVERY_SECONDS
        try:
            position = self._consumer.position([TopicPartition(GRANTS, 0)])[0].offset
            # No position yet: nothing came since everything was read. And what came before the first look has had no time.
            is_heard = self._first is None or position >= self._high or self._high == self._first
            self._high = self._consumer.get_watermark_offsets(TopicPartition(GRANTS, 0), HEARING_ANSWER_SECONDS)[1]
            self._first = self._high if self._first is None else self._first
        except KafkaException as error:
            if error.args[0].code() not in _PASSING:
                text = f"control topics: {GRANTS} cannot be read: {error.args[0].str()}"
                raise Transient(text, fix="the process starts again and reads them anew") from error
            self._not_heard(error.args[0].str(), now - self._heard_at)
            return
        if is_heard:
            self._heard_at, self._refused_at = now, None
            if self._is_told:
                self._is_told = False
                log.warning("grants are read again")
                self.deaf("")
        elif now - self._heard_at > 2 * DEAF_SECONDS:
            raise Transient(
                "control topics: Kafka answers, yet the newest grants do not come", fix="they are read anew"
            )

    def _not_heard(self, reason: str, seconds: float) -> None:
        if not self._is_told and seconds > DEAF_SECONDS:
            self._is_told = True
            text = f"grants cannot be read for {seconds:.0f} s ({reason})"
            log.error("%s: what was agreed last stays in force until Kafka answers again", text)
            self.deaf(text)
        now = self._heard_at + seconds
        if not self._is_answered():
            self._refused_at = None
        elif self._refused_at is None:
            self._refused_at = now
        elif now - self._refused_at > DEAF_SECONDS and seconds > 2 * DEAF_SECONDS:
            # Not a broker that starts, which answers before it leads. Feeds may flow, by grants that may be over (invariant 6).
            text = f"control topics: Kafka answers, yet {GRANTS} cannot be read: {reason}"
            raise Transient(text, fix=f"see that {GRANTS} has a leader; the process starts again and waits for it")

    def _is_answered(self) -> bool:
        try:
            return bool(self._consumer.list_topics(timeout=HEARING_ANSWER_SECONDS).brokers)
        except KafkaException:
            return False


class ControlReader:
    """The present records of one control topic by key. What was read once is not read again. Any thread may ask.

    One at a time reads: a topic of a day's progress, read by every source of a process at once, took gigabytes.
    """

    def __init__(self, kafka: Kafka, topic: str) -> None:
        self._kafka = kafka
        self._topic = topic
        self._lock = threading.Lock()
        self._records: dict[str, Any] = {}
        self._next = 0

    def all(self, *, within_seconds: float = 30) -> dict[str, Any]:
        """Every record by key, as of now. Raises Transient."""
        with self._lock:
            try:
                self._read_on(within_seconds)
            except BaseException:
                self._next = 0  # as after an offset that is there no more
                raise
            return dict(self._records)

    def _read_on(self, within_seconds: float) -> None:
        consumer = _consumer(self._kafka)
        try:
            end = _end(consumer, self._topic, within_seconds)
            if end < self._next or self._next == 0:  # the topic was made anew, or is read for the first time
                self._records, self._next = {}, 0
            starts = {self._topic: self._next} if self._next else {}
            for _, key, record in _read_to(consumer, {self._topic: end}, starts, within_seconds):
                self._records.pop(key, None)
                if record is not None:
                    self._records[key] = record
            self._next = end
        finally:
            consumer.close()


class ControlStore:
    """A hop's own progress, by key, on one compacted control topic; others write there too."""

    def __init__(self, kafka: Kafka, topic: str, log: Log, *, within_seconds: float = SAVED_WITHIN_SECONDS) -> None:
        self._topic = topic
        self._reader = ControlReader(kafka, topic)
        self._log = log
        self._within_seconds = within_seconds

    def all(self) -> dict[str, dict[str, Any]]:
        """Every record by key, as of now. Raises Transient."""
        return self._reader.all()

    def load(self, key: str) -> dict[str, Any] | None:
        """The record last saved under the key, by whatever process. Raises Transient."""
        return self.all().get(key)

    def save(self, key: str, record: Mapping[str, Any] | None) -> None:
        """Keep the record, or forget the key where it is None; returns once the broker has it. Raises Transient."""
        value = None if record is None else json.dumps(record).encode()
        # On a lane of its own: what failed before is no concern of this record.
        self._log.write([(self._topic, key.encode(), value, -1, None)], self._within_seconds)
