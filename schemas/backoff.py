"""Backoff: how long to wait before the same is tried again."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Twice as long after each failure in a row, and never longer than `longest_seconds`.

    `jitter` is the share of a wait that chance takes off, so that many who failed together do not come back together.
    """

    first_seconds: float
    longest_seconds: float
    jitter: float = 0.1

    def up_to(self, longest_seconds: float) -> Backoff:
        """The same with another longest wait."""
        return replace(self, first_seconds=min(self.first_seconds, longest_seconds), longest_seconds=longest_seconds)

    def after(self, failures: int, asked_seconds: float | None = None) -> float:
        """Seconds to wait after so many failures in a row (1 or more); as long as the other side asked for, where it did."""
        if asked_seconds is not None:
            return asked_seconds
        wait = min(self.longest_seconds, self.first_seconds * 2.0 ** min(failures - 1, 64))
        return wait * (1 - self.jitter * random.random())  # noqa: S311 -- chance, not a secret
