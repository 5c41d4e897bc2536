"""Store: a hop's own progress on a control topic, so that any machine can take the hop over."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any

from schemas.log.control.records import control_consumer, end_of, read_to
from schemas.log.kafka import Kafka
from schemas.log.writer import Log

SAVED_WITHIN_SECONDS = 30.0


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
        consumer = control_consumer(self._kafka)
        try:
            end = end_of(consumer, self._topic, within_seconds)
            if end < self._next or self._next == 0:  # the topic was made anew, or is read for the first time
                self._records, self._next = {}, 0
            starts = {self._topic: self._next} if self._next else {}
            for _, key, record in read_to(consumer, {self._topic: end}, starts, within_seconds):
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
        self._unsure: set[str] = set()

    def is_unsure(self, key: str) -> bool:
        """Whether what was saved last under the key was not acknowledged: it may come to stand there yet, long after."""
        return key in self._unsure

    def all(self) -> dict[str, dict[str, Any]]:
        """Every record by key, as of now. Raises Transient."""
        return self._reader.all()

    def load(self, key: str) -> dict[str, Any] | None:
        """The record last saved under the key, by whatever process. Raises Transient."""
        return self.all().get(key)

    def save(self, key: str, record: Mapping[str, Any] | None) -> None:
        """Keep the record, or forget the key where it is None; returns once the broker has it. Raises Transient."""
        value = None if record is None else json.dumps(record).encode()
        try:
            # On a lane of its own: what failed before is no concern of this record, before which it lies in the log.
            self._log.write([(self._topic, key.encode(), value, -1, None)], self._within_seconds)
        except BaseException:
            self._unsure.add(key)
            raise
        self._unsure.discard(key)
