"""Wait for a condition, never for a duration."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Seen = TypeVar("Seen")


def until(condition: Callable[[], Seen], within_seconds: float, what: str) -> Seen:
    """Return the first truthy result of `condition`; fail with what was last seen once the time is up."""
    deadline = time.monotonic() + within_seconds
    while True:
        seen = condition()
        if seen:
            return seen
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {within_seconds} s: {what}; last seen: {seen!r}")
        time.sleep(0.05)
