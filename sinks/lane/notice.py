"""Notices: what a subscriber has to know of a grant's delivery though nothing stands still, such as a table filled anew."""

from __future__ import annotations

from collections.abc import Callable

from schemas.incident import Incidents

STANDS_SECONDS = 600.0
"""Long enough to be seen by whoever looks at the status now and then."""
LATELY_SECONDS = 60.0


class Notices:
    """The notices of one lane, by grant; each ends by itself. `now` gives Unix seconds."""

    def __init__(self, incidents: Incidents, now: Callable[[], float]) -> None:
        self._incidents = incidents
        self._now = now
        self._until: dict[str, float] = {}

    def say(self, grant_id: str, reason: str) -> None:
        """Begin one, or give it other words."""
        self._until[grant_id] = self._now() + STANDS_SECONDS
        self._incidents.begin("grant", grant_id, state="notice", reason=reason)

    def said_lately(self, grant_id: str) -> bool:
        """Whether something was said of the grant just now, which is more exact than what follows from it."""
        return self._until.get(grant_id, 0.0) > self._now() + STANDS_SECONDS - LATELY_SECONDS

    def sweep(self) -> None:
        """End those that stood long enough."""
        for grant_id in [grant_id for grant_id, until in self._until.items() if until <= self._now()]:
            self.end(grant_id)

    def end(self, grant_id: str) -> None:
        """End one, if there is one."""
        if self._until.pop(grant_id, None) is not None:
            self._incidents.end("grant", grant_id)
