"""Incidents (schemas/incident.py) on their control topic: what a process writes there, and what status and console read.

A hop must not wait for the broker to say that something is wrong, the less as the broker may be what is wrong: a thread of its own
writes what is new, and tries again until it stands there.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from schemas.errors import MeshError
from schemas.feed import INCIDENTS
from schemas.incident import Incident, Kind, State, key_of
from schemas.log.control.store import ControlReader, ControlStore
from schemas.log.kafka import Kafka

PAUSE_SECONDS = 5.0
FRESH_SECONDS = 2.0
STALE_SECONDS = 10.0

_logger = logging.getLogger(__name__)


class IncidentLog:
    """`schemas.incident.Incidents` on the control topic, written through `store`."""

    def __init__(self, store: ControlStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._closing = threading.Event()
        self._present: dict[str, Incident] | None = None
        self._read_at = 0.0
        self._asked: dict[str, Incident | None] = {}
        self._thread = threading.Thread(target=self._write, name="incidents", daemon=True)
        self._thread.start()

    def begin(self, kind: Kind, name: str, *, state: State, reason: str, fix: str = "") -> None:
        """See Incidents."""
        now = datetime.now(UTC)
        self._ask(key_of(kind, name), Incident(kind=kind, name=name, state=state, reason=reason, fix=fix, since=now))

    def end(self, kind: Kind, name: str) -> None:
        """See Incidents."""
        self._ask(key_of(kind, name), None)

    def close(self) -> None:
        """Write what is left, if the broker takes it now."""
        self._closing.set()
        self._news.set()
        self._thread.join(PAUSE_SECONDS)

    def _ask(self, key: str, incident: Incident | None) -> None:
        with self._lock:
            self._asked[key] = incident
        self._news.set()

    def _write(self) -> None:
        while True:
            self._news.wait()
            self._news.clear()
            try:
                self._write_news()
            except MeshError as error:
                _logger.warning("incidents: written later: %s", error)
                if self._closing.wait(PAUSE_SECONDS):
                    return
                self._news.set()
            if self._closing.is_set() and not self._asked:
                return

    def _write_news(self) -> None:
        if self._present is None:  # what a former process of this hop began
            self._present, self._read_at = _incidents(self._store.all()), time.monotonic()
        while True:
            with self._lock:
                if not self._asked:
                    return
                key = next(iter(self._asked))
                asked = self._asked.pop(key)
            try:
                if asked is not None and key in self._present and time.monotonic() - self._read_at > STALE_SECONDS:
                    # Said again: another hop may have ended it meanwhile, for reasons of its own.
                    self._present, self._read_at = _incidents(self._store.all()), time.monotonic()
                self._write_one(self._present, key, asked)
            except MeshError:
                with self._lock:
                    self._asked.setdefault(key, asked)  # unless it was asked otherwise meanwhile
                raise

    def _write_one(self, present: dict[str, Incident], key: str, asked: Incident | None) -> None:
        former = present.get(key)
        if asked is not None and former is not None:
            asked = replace(asked, since=former.since)
        if asked != former or self._store.is_unsure(key):
            self._store.save(key, asked.to_json() if asked else None)
        if asked is None:
            present.pop(key, None)
        else:
            present[key] = asked


class IncidentReader:
    """The present incidents, asked for anew at most every couple of seconds. Raises Transient when they cannot be read."""

    def __init__(
        self, kafka: Kafka, clock: Callable[[], float] = time.monotonic, *, within_seconds: float = 10.0
    ) -> None:
        self._reader = ControlReader(kafka, INCIDENTS)
        self._clock = clock
        self._within_seconds = within_seconds
        self._read_at = float("-inf")
        self._present: Mapping[str, Incident] = {}

    def __call__(self) -> Mapping[str, Incident]:
        """The incidents by key."""
        if self._clock() - self._read_at > FRESH_SECONDS:
            self._present = _incidents(self._reader.all(within_seconds=self._within_seconds))
            self._read_at = self._clock()
        return self._present


def read(kafka: Kafka, *, within_seconds: float = 30.0) -> dict[str, Incident]:
    """The incidents that stand on the topic, by key; a record that cannot be read is left out, loudly. Raises Transient."""
    return _incidents(ControlReader(kafka, INCIDENTS).all(within_seconds=within_seconds))


def _incidents(records: Mapping[str, Any]) -> dict[str, Incident]:
    incidents: dict[str, Incident] = {}
    for key, record in records.items():
        try:
            incidents[key] = Incident.from_json(record)
        except (KeyError, TypeError, ValueError) as error:
            _logger.error("incidents: a record cannot be read (%s); it is left out", type(error).__name__)  # noqa: TRY400
    return incidents
