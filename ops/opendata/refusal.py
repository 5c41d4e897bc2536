"""Refusal: what the API answers when it cannot do what was asked: what, why, and what to do.

It names parameters and codes, never a value that a caller gave: somebody may have asked for a person.
"""

from __future__ import annotations


class Refusal(Exception):
    """An answer with an HTTP status, never a 5xx for a mistake of the caller: callers try those again, after `wait_seconds`."""

    def __init__(self, status: int, what: str, *, why: str, fix: str, wait_seconds: int = 0) -> None:
        super().__init__(what)
        self.status = status
        self.what = what
        self.why = why
        self.fix = fix
        self.wait_seconds = wait_seconds

    def to_json(self) -> dict[str, str]:
        """The answer's body."""
        return {"what": self.what, "why": self.why, "fix": self.fix}
