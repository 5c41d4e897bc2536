"""The lookout: looks at the catalog on a connection and a thread of its own, so that the stream never waits for an answer.

A link may carry nothing for minutes and yet stand. The feeds go on meanwhile; that nobody watches their tables is told, and ends
by itself once the database answers again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg

from producers.postgresql.slot import Slot
from producers.postgresql.watch import Look, look
from schemas.errors import Transient
from schemas.incident import Incidents

TOLD_AFTER_SECONDS = 15.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen: the tables, and the slot (None where there is none)."""

    look: Look
    slot: Mapping[str, Any] | None


class Lookout:
    """`ask` and `take` belong to the source's own thread; at most one look is under way. `connect` opens its connection."""

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]], source: str, incidents: Incidents) -> None:
        self._connect = connect
        self._source = source
        self._incidents = incidents
        self._wanted: tuple[Collection[str], Collection[int]] = (), ()
        self._seen: Sight | None = None
        self._failure: Exception | None = None
        self._is_looking = False
        self._well_at = time.monotonic()
        self._is_told = False
        self._turn = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"lookout {source}", daemon=True)
        self._thread.start()

    def ask(self, names: Collection[str], oids: Collection[int]) -> None:
        """Look at these tables, unless a look is under way."""
        if self._is_looking:
            self._tell_late("its catalog has not answered")
            return
        if isinstance(self._failure, Transient):
            self._tell_late(self._failure.problem)
        elif self._failure is not None:
            raise self._failure
        self._wanted = names, oids
        self._is_looking = True
        self._turn.set()

    def take(self) -> Sight | None:
        """What was seen since, once."""
        if self._is_looking or self._seen is None:
            return None
        seen, self._seen = self._seen, None
        self._well_at = time.monotonic()
        if self._is_told:
            self._is_told = False
            _logger.info("%s: its tables are watched again", self._source)
            self._incidents.end("source", self._source)
        return seen

    def _tell_late(self, why: str) -> None:
        seconds = time.monotonic() - self._well_at
        if self._is_told or seconds < TOLD_AFTER_SECONDS:
            return
        self._is_told = True
        reason = f"{why} for {seconds:.0f} s: changes flow, but whether its tables are still what they were is not seen"
        _logger.warning("%s: %s", self._source, reason)
        self._incidents.begin("source", self._source, state="waiting", reason=reason)

    def _run(self) -> None:
        connection: psycopg.Connection[Any] | None = None
        while self._turn.wait() and not self._closing.is_set():
            self._turn.clear()
            try:
                if connection is None:
                    connection = self._connect()
                self._seen, self._failure = self._look(connection), None
            except Exception as error:  # noqa: BLE001 - raised or told in the source's own thread
                self._failure = error
                if connection is not None:
                    connection.close()
                    connection = None
            self._is_looking = False
        if connection is not None:
            connection.close()

    def _look(self, connection: psycopg.Connection[Any]) -> Sight:
        slot = Slot(connection, self._source)
        names, oids = self._wanted
        return Sight(look(connection, slot.name, names, oids, source=self._source), slot.row())

    def close(self) -> None:
        """Look no more. One that is under way ends by itself, and is not waited for."""
        self._closing.set()
        self._turn.set()
        if self._is_told:
            self._incidents.end("source", self._source)
