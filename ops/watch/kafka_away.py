"""Kafka away: whoever waits for what goes through it waits on as long as it does not answer, and says why."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from schemas.errors import Transient
from schemas.log.entering import AWAY, check
from schemas.log.kafka import Kafka

ANSWERS_WITHIN_SECONDS = 2.0
AWAY_MAX_SECONDS = 1800.0
ASKED_AGAIN_MAX = 3

Answer = TypeVar("Answer")


class KafkaAway:
    """`say` is told once that Kafka does not answer, and once that it does again."""

    def __init__(self, kafka: Kafka, say: Callable[[str], None]) -> None:
        self._kafka = kafka
        self._say = say
        self._since: float | None = None

    def waited(self) -> bool:
        """Wait until it answers; whether that was to be waited for."""
        if not self._is_so():
            return False
        while self._is_so():
            pass
        return True

    def _is_so(self) -> bool:
        """Ask it. Raises Transient once it has been away for AWAY_MAX_SECONDS, Misconfigured where it refuses us."""
        now = time.monotonic()
        try:
            check(self._kafka, within_seconds=ANSWERS_WITHIN_SECONDS)
        except Transient as error:
            if self._since is None:
                self._since = now
                self._say(f"Kafka at {self._kafka} does not answer: it is waited for")
            if now - self._since > AWAY_MAX_SECONDS:
                raise Transient(f"{error.problem}, for {now - self._since:.0f} s now", fix=AWAY) from error
            return True
        if self._since is not None:
            self._say(f"Kafka answers again, after {now - self._since:.0f} s")
            self._since = None
        return False


def answered(kafka: Kafka, ask: Callable[[], Answer], say: Callable[[str], None]) -> Answer:
    """What `ask` returns; asked again where it raised Transient, once Kafka answers."""
    away = KafkaAway(kafka, say)
    for _ in range(ASKED_AGAIN_MAX):
        try:
            return ask()
        except Transient as error:
            say(f"{error.problem}: asked again")
            away.waited()
    return ask()
