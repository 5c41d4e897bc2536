"""Dead-letter log: where hop 3 keeps what a target cannot take."""

from __future__ import annotations

import threading

from schemas.dead_letter import DeadLetter
from schemas.errors import Transient
from schemas.feed import dead_letter_topic
from schemas.log.lane import Lane
from schemas.log.writer import Log

DURABLE_WITHIN_SECONDS = 60.0


class DeadLetterLog:
    """Writes dead letters; a call returns once the record is on its topic for good (invariant 3). Raises Transient.

    Delivery's lanes call it from their threads. Each letter goes by a way of its own, so that one subscriber that rejects a
    hundred in a row holds up nobody else (invariant 8). A letter that was not acknowledged in time may still arrive: the
    same letter tried again waits for that first, so that an outage does not multiply it.
    """

    def __init__(self, log: Log, *, within_seconds: float = DURABLE_WITHIN_SECONDS) -> None:
        self._log = log
        self._within_seconds = within_seconds
        self._lock = threading.Lock()
        self._under_way: dict[tuple[str, str, int], tuple[int, Lane]] = {}
        """By subscriber and partition, the letter that was last given up waiting for: its offset and its lane."""

    def __call__(self, letter: DeadLetter) -> None:
        """Keep a letter."""
        place = (letter.subscriber, letter.topic, letter.partition)
        with self._lock:
            offset, lane = self._under_way.pop(place, (-1, None))
        if lane is None or offset != letter.offset or lane.failure is not None:
            lane = self._log.lane()
            lane.append(dead_letter_topic(letter.topic), letter.key, letter.value, headers=letter.headers())
        try:
            lane.flush(self._within_seconds)
        except Transient:
            with self._lock:
                self._under_way[place] = (letter.offset, lane)
            raise
