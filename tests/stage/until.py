"""Wait for a condition, never for a duration."""

from __future__ import annotations

import operator
import time
from collections.abc import Callable
from typing import TypeVar

Seen = TypeVar("Seen")

SOONEST_SECONDS = 0.05
"""A look that takes longer, as one that starts a command does, is not taken again before as long has passed."""

PATIENT_SECONDS = 20.0
"""A time this long or longer is no promise of the mesh's, but patience: a busy machine has BUSY_SECONDS then."""
BUSY_SECONDS = 90.0


def until(condition: Callable[[], Seen], within_seconds: float, what: str) -> Seen:
    """Return the first truthy result of `condition`; fail with what was last seen once the time is up."""
    return _until(condition, bool, within_seconds, what)


def until_none(left: Callable[[], object], within_seconds: float, what: str) -> None:
    """Return once nothing is left; fail with what still is once the time is up."""
    _until(left, operator.not_, within_seconds, what)


def _until(look: Callable[[], Seen], is_it: Callable[[Seen], bool], within_seconds: float, what: str) -> Seen:
    if within_seconds >= PATIENT_SECONDS:
        within_seconds = max(within_seconds, BUSY_SECONDS)
    deadline = time.monotonic() + within_seconds
    while True:
        looked_at = time.monotonic()
        seen = look()
        if is_it(seen):
            return seen
        if (now := time.monotonic()) >= deadline:
            raise AssertionError(f"not within {within_seconds} s: {what}; last seen: {seen!r}")
        time.sleep(max(SOONEST_SECONDS, now - looked_at))
