"""Follower: the directory of what is onboarded and granted, folded from the control topics and kept fresh."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from schemas.agreement.agency import Agency
from schemas.agreement.anchor import Anchor
from schemas.agreement.directory import Directory, FeedEntry, GrantEntry
from schemas.agreement.ending import Ending
from schemas.agreement.objection import Objection
from schemas.agreement.offboarding import Offboarding
from schemas.agreement.pause import Pause
from schemas.agreement.subscriber import Login, Subscriber
from schemas.errors import Transient
from schemas.feed import (
    AGENCIES,
    ANCHORS,
    CONTRACTS,
    ENDINGS,
    GRANTS,
    LOGINS,
    OBJECTIONS,
    OFFBOARDED,
    PAUSES,
    RESYNCS,
    SUBSCRIBERS,
)
from schemas.log.control.records import (
    HEARING_ANSWER_SECONDS,
    PASSING,
    control_consumer,
    decoded,
    ended_at,
    read_all,
    read_to_end,
)
from schemas.log.kafka import Kafka
from schemas.trace import described

log = logging.getLogger(__name__)

FOLLOWED = (AGENCIES, CONTRACTS, SUBSCRIBERS, GRANTS, ANCHORS, RESYNCS, ENDINGS, OFFBOARDED, PAUSES, LOGINS, OBJECTIONS)
HEARING_EVERY_SECONDS = 5.0
FETCH_WAIT_MS = 500
"""News comes at once however long it is. Seven processes that ask twenty times a second cost a broker at rest a tenth of a core."""
DEAF_SECONDS = 30.0
Deaf = Callable[[str], None]
"""Told why the newest grants cannot be read, and an empty text once they are again. Never blocks."""


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
        PAUSES: Pause.from_json,
        LOGINS: Login.from_json,
        OBJECTIONS: Objection.from_json,
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
            pauses=dict(self._entries[PAUSES]),
            logins=dict(self._entries[LOGINS]),
            objections=dict(self._entries[OBJECTIONS]),
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
        self._consumer = control_consumer(kafka, fetch_wait_ms=FETCH_WAIT_MS)
        self._hearing = _Hearing(self._consumer)
        self._stop = threading.Event()
        for topic, key, record in read_to_end(self._consumer, FOLLOWED, 30):
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
                if (ended := ended_at(message)) and ended[0] == GRANTS:
                    self._hearing.ended_at = ended[1]
                if error is not None and error.code() not in PASSING:
                    raise Transient(
                        f"control topics: {error.str()}", fix="the process starts again and reads them anew"
                    )
            for message in fresh:
                self._fold.apply(message.topic() or "", *decoded(message.key(), message.value()))
            if fresh:
                self._directory = self._fold.directory().trusted()
            self._hearing.look()
        self._consumer.close()


class _Hearing:
    """Whether the newest grant is known here, looked at every few seconds."""

    def __init__(self, consumer: Consumer) -> None:
        self.deaf: Deaf = lambda _: None
        self.ended_at = 0
        """Where grants were last read to their end: behind the mark of a transaction, which is no record."""
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
            position = max(self._consumer.position([TopicPartition(GRANTS, 0)])[0].offset, self.ended_at)
            # No position yet: nothing came since everything was read. And what came before the first look has had no time.
            is_heard = self._first is None or position >= self._high or self._high == self._first
            self._high = self._consumer.get_watermark_offsets(TopicPartition(GRANTS, 0), HEARING_ANSWER_SECONDS)[1]
            self._first = self._high if self._first is None else self._first
        except KafkaException as error:
            if error.args[0].code() not in PASSING:
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
