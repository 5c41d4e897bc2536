"""Paused topics: those of a lane that are not read for now, while the others go on; each is tried again at its time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from schemas.log.reader import Reader
from sinks.lane.report import LaneReport
from sinks.lane.retry import RetryPolicy
from sinks.sink import TopicTrouble

TOPIC_TRIES = 5
"""So many times in a row a topic waits for the others before its changes are looked at one by one, and before it is told."""


@dataclass(slots=True)
class _Pause:
    """`tries` that failed in a row; `is_trouble`: it waits for a person, else for others."""

    tries: int = 0
    until: float = 0.0
    is_trouble: bool = False
    is_over: bool = False


class PausedTopics:
    """For one session."""

    def __init__(self, *, reader: Reader, report: LaneReport, policy: RetryPolicy, now: Callable[[], float]) -> None:
        self._reader = reader
        self._report = report
        self._policy = policy
        self._now = now
        self._pauses: dict[str, _Pause] = {}

    def __contains__(self, topic: str) -> bool:
        pause = self._pauses.get(topic)
        return pause is not None and not pause.is_over

    def topics(self) -> set[str]:
        """Those that are not read now."""
        return {topic for topic, pause in self._pauses.items() if not pause.is_over}

    def may_wait(self, topic: str) -> bool:
        """Whether it may wait for the lane's other topics once more."""
        pause = self._pauses.get(topic)
        return (pause is None or pause.tries < TOPIC_TRIES) and len(self._report.grants) > 1

    def pause(self, trouble: TopicTrouble) -> None:
        """Read no more of a topic until it is tried again; what was read of it and is not durable comes again then."""
        pause = self._pauses.setdefault(trouble.topic, _Pause())
        pause.tries += 1
        pause.is_over, pause.is_trouble = False, not trouble.is_passing
        backoff = self._policy.parked if pause.is_trouble else self._policy.deferred
        pause.until = self._now() + backoff.after(pause.tries)
        self._reader.set_aside(trouble.topic)
        if pause.is_trouble or pause.tries >= TOPIC_TRIES:
            parked = {topic for topic, each in self._pauses.items() if each.is_trouble}
            self._report.stands(trouble, is_all=parked >= set(self._report.grants))

    def resume(self) -> None:
        """Read those again whose time has come."""
        now = self._now()
        for topic, pause in self._pauses.items():
            if not pause.is_over and pause.until <= now:
                pause.is_over = True
                self._reader.take_back(topic)

    def taken(self, topic: str) -> bool:
        """Its target took something of it: what was counted is forgotten. Whether anything was."""
        return self._pauses.pop(topic, None) is not None
