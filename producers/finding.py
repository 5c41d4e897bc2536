"""Finding: one thing that stands in the way of capturing a source, and what provides each of its feeds otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing found. `severity` is "error" (capture refuses to start) or "warning"; `fix` is mostly a statement."""

    severity: str
    subject: str
    message: str
    fix: str


class Provided(Protocol):
    """What provides a feed at its source: a table, or whatever a kind of source has in its place."""

    @property
    def name(self) -> str:
        """What it is called there."""
        ...

    @property
    def is_whole_row(self) -> bool:
        """Whether its updates and deletes carry the row as it was."""
        ...

    @property
    def blocks(self) -> int:
        """How much there is to copy first, in whatever unit; nothing where it is 0."""
        ...
