"""Pace: how many changes a lane may hand to its target now, where its subscriber asked for no more than so many a second. Pure."""

from __future__ import annotations

import math

UNLIMITED = 1 << 30


class Pace:
    """`now` is in seconds of any clock that only goes forward. At once goes what a second allows, and one change at the least."""

    def __init__(self, changes_per_second: float | None) -> None:
        self._rate = changes_per_second
        self._most = max(1.0, changes_per_second or 0.0)
        self._left = self._most
        self._at = -math.inf

    def allowed(self, now: float) -> int:
        """How many may go now."""
        if self._rate is None:
            return UNLIMITED
        if self._at > -math.inf:
            self._left = min(self._most, self._left + max(0.0, now - self._at) * self._rate)
        self._at = now
        return max(0, int(self._left))

    def spend(self, count: int) -> None:
        """So many went, as was allowed just now."""
        if self._rate is not None:
            self._left -= count

    def wait_seconds(self, now: float) -> float:
        """How long until one may go."""
        if self._rate is None or self.allowed(now):
            return 0.0
        return (1.0 - self._left) / self._rate
