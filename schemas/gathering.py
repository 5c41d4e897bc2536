"""Gathering: how long what comes waits for company where one process serves many: how often it wakes costs more than what comes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathering:
    """`least_seconds` for one that is alone, `per_other_seconds` more for each that shares its process, `most_seconds` at most."""

    least_seconds: float
    per_other_seconds: float = 0.004
    most_seconds: float = 0.08

    def seconds(self, sharers: int) -> float:
        """How long to wait where so many share the process; 0 counts as 1."""
        return min(self.least_seconds + self.per_other_seconds * max(sharers - 1, 0), self.most_seconds)
