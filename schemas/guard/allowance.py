"""Allowance: how many requests are answered, by whoever asks and by the address that they come from."""

from __future__ import annotations

from collections import OrderedDict

NAMES_MAX = 1_000
FAILURES_PER_SECOND = 0.2
FAILURES_AT_ONCE = 10


class Allowance:
    """So many a second, and a burst of them after a pause. Time is passed in, in seconds of a clock that only goes forward."""

    def __init__(self, per_second: float, burst: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left = burst
        self._at = 0.0

    def wait_seconds(self, now: float) -> float:
        """0 if there is one more, which is used up by asking; else how long until there is."""
        self._left = min(self._burst, self._left + max(0.0, now - self._at) * self._per_second)
        self._at = now
        if self._left >= 1:
            self._left -= 1
            return 0.0
        return (1 - self._left) / self._per_second


class Allowances:
    """One for each name; those seen last are remembered. Not for several threads at once."""

    def __init__(self, per_second: float, burst: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._by_name: OrderedDict[str, Allowance] = OrderedDict()

    def wait_seconds(self, name: str, now: float) -> float:
        """Count one more of this name: 0 if it is within the allowance, else how long until one is."""
        allowance = self._by_name.setdefault(name, Allowance(self._per_second, self._burst))
        self._by_name.move_to_end(name)
        if len(self._by_name) > NAMES_MAX:
            self._by_name.popitem(last=False)
        return allowance.wait_seconds(now)


class Failures(Allowances):
    """Requests without a right token, by address: 0 if one may be told that its token is wrong, else how long it is told nothing.

    Whoever has a right one does not wait for them.
    """

    def __init__(self) -> None:
        super().__init__(FAILURES_PER_SECOND, FAILURES_AT_ONCE)
