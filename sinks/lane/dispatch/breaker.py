"""Circuit breaker: whether a receiver is called at all, by what it answered so far.

It opens when a receiver takes nothing, as far as it was tried; one change at a time then finds out whether it still does, and
the first that is taken closes it. A failure counts against a change only while others are taken.
"""

from __future__ import annotations

import math

from schemas.errors import ContractBroken, MeshError, Misconfigured
from sinks.lane.dispatch.buffered import BufferedChange, KeyOf

OPEN_KEYS = 5
"""So many keys that fail in a row, with nothing taken in between, are the receiver's fault and not the changes'."""


class CircuitBreaker:
    """Pure: time is passed in. `attempts` are the most failures of a change since something was taken, `trouble` the last."""

    def __init__(self) -> None:
        self._failing: set[KeyOf] = set()
        self._accepted_at = -math.inf
        self._probe_at = 0.0
        self._paused_until = 0.0
        self.attempts = 0
        self.trouble: MeshError | None = None

    @property
    def is_open(self) -> bool:
        """Whether the receiver takes nothing, as far as it was tried."""
        if len(self._failing) >= OPEN_KEYS:
            return True
        has_taken = self._accepted_at > -math.inf
        return isinstance(self.trouble, Misconfigured) or (isinstance(self.trouble, ContractBroken) and not has_taken)

    def allows(self, now: float, *, is_asked: bool) -> bool:
        """Whether a request may go out now; `is_asked` while the answer to another is still to come."""
        if now < self._paused_until:
            return False
        return not self.is_open or not (is_asked or now < self._probe_at)

    def wait_seconds(self, now: float, due_at: float) -> float:
        """How long until it allows what is due at that time."""
        if due_at == math.inf:
            return math.inf
        first = self._probe_at if self.is_open else due_at
        return max(0.0, max(first, self._paused_until) - now)

    def accepted(self, now: float) -> None:
        """The receiver took something."""
        self._accepted_at, self.attempts, self.trouble = now, 0, None
        self._failing.clear()

    def blames(self, entry: BufferedChange) -> bool:
        """Take a failure in; whether it is the change's own: others were taken since it was tried first."""
        self._failing.add(entry.key)
        if self._accepted_at <= entry.first_tried_at:
            self.attempts = max(self.attempts, entry.failures)
            return False
        return not self.is_open

    def forget(self, key: KeyOf) -> None:
        """Nothing of the key fails any more: it was given up, or is not ours."""
        self._failing.discard(key)

    def probe_at(self, moment: float) -> None:
        """While it is open, try again at this time."""
        self._probe_at = moment

    def pause(self, until: float) -> None:
        """The receiver asks for no requests at all until then."""
        self._paused_until = max(self._paused_until, until)
