"""Patience: how long a target may be unwell without a break, where its subscriber set a limit: then its lane stops for a person.

Nothing becomes a dead letter by it: the changes wait on their topics, and `mesh subscription resume` lets them go on. Pure.
"""

from __future__ import annotations

from schemas.errors import MeshError
from sinks.sink import Gone


class Patience:
    """Of one lane, from session to session. `now` is in seconds of any clock that only goes forward."""

    def __init__(self, name: str, for_seconds: float | None) -> None:
        self._name = name
        self._for_seconds = for_seconds
        self._since: float | None = None

    def failed(self, error: MeshError, now: float) -> None:
        """The target was tried and is unwell. Raises Gone once that has lasted too long."""
        if self._since is None:
            self._since = now
        if self._for_seconds is not None and now - self._since >= self._for_seconds:
            self._since = None  # whoever resumes it gives it the same time again
            problem = f"was unwell for {self._for_seconds:g} s, as long as it may be: {error.problem}"
            raise Gone(f"sink {self._name}", problem, fix=f"mend it, then `mesh subscription resume {self._name}`")

    def succeeded(self) -> None:
        """The target took something, or there is nothing that it has to take."""
        self._since = None
