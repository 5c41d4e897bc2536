"""Rest: whether something that goes on has come to its end, or stands still before it; whoever waits asks again and again."""

from __future__ import annotations

import time


class Rest:
    """`rest_seconds`: so long it must be through; `moves_within_seconds`: so long it may stand still before that."""

    def __init__(self, rest_seconds: float, moves_within_seconds: float) -> None:
        self._rest_seconds = rest_seconds
        self._moves_within_seconds = moves_within_seconds
        self._seen: object = None
        self._moved = time.monotonic()
        self._through_since: float | None = None

    def has_moved(self, progress: object) -> bool:
        """Whether it got on since the last time."""
        if progress == self._seen:
            return False
        self._seen, self._moved = progress, time.monotonic()
        return True

    def is_reached(self, *, is_through: bool) -> bool:
        """Whether it has been through for long enough."""
        self._through_since = (self._through_since or time.monotonic()) if is_through else None
        return self._through_since is not None and time.monotonic() - self._through_since >= self._rest_seconds

    def hold(self) -> None:
        """It cannot move now, and that is not its doing: from here on it has its time anew."""
        self._moved = time.monotonic()

    @property
    def is_stuck(self) -> bool:
        """Whether it has not moved for too long."""
        return time.monotonic() - self._moved > self._moves_within_seconds
