"""How long a loop waits before it tries again."""

from __future__ import annotations

import pytest

from schemas.backoff import Backoff

STEADY = Backoff(first_seconds=0.5, longest_seconds=30.0, jitter=0.0)


@pytest.mark.parametrize(("failures", "seconds"), [(1, 0.5), (2, 1.0), (6, 16.0), (7, 30.0), (10_000, 30.0)])
def test_waits_double_up_to_the_longest(failures: int, seconds: float) -> None:
    assert STEADY.after(failures) == seconds


def test_what_the_other_side_asks_for_counts() -> None:
    assert STEADY.after(5, 120.0) == 120.0
    assert STEADY.after(5, 0.0) == 0.0


def test_chance_takes_off_and_never_adds() -> None:
    waits = [Backoff(first_seconds=1.0, longest_seconds=8.0, jitter=0.25).after(3) for _ in range(500)]
    assert 3.0 <= min(waits) < 3.2
    assert 3.8 < max(waits) <= 4.0
