"""RetryPolicy: how a lane waits for a target that is unwell."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.errors import Transient


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How a lane waits. Waits between attempts double from the first to the longest.

    `waits_seconds` is the most that a change may wait for others, whatever it waits for.
    """

    first_seconds: float = 0.2
    longest_seconds: float = 30.0
    parked_after_attempts: int = 5
    parked_seconds: float = 30.0
    restarts_max: int = 5
    poll_seconds: float = 0.2
    look_seconds: float = 5.0
    waits_seconds: float = 600.0

    def wait_seconds(self, error: Transient, attempts: int) -> float:
        """How long to wait after so many attempts that failed in a row, unless the target says so itself."""
        if error.retry_after_seconds is not None:
            return error.retry_after_seconds
        return min(self.longest_seconds, self.first_seconds * 2 ** min(attempts - 1, 20))
