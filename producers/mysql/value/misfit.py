"""A value, or a column, that no branch of its field holds."""

from __future__ import annotations


class NoBranch(Exception):
    """A value that its typed branch cannot hold exactly. `reason` is a short safe code."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unpaired(Exception):
    """A column and a field that cannot be paired; the text says why and what to do."""
