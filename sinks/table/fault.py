"""Faults of tables: where in a subscriber's database a statement failed, and the errors that only tables know."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.errors import ContractBroken

BUSY_WITHIN_SECONDS = 600.0
"""How long a change waits for a row or a table that somebody else holds."""


class Undefined(ContractBroken):
    """A table or a column that was there is not there any more."""

    topic: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultPlace:
    """Where a statement failed: the topic, empty for none; names of table, column and constraint; whether a trigger raised it."""

    topic: str = ""
    names: str = ""
    is_raised: bool = False

    def __str__(self) -> str:
        return f"{self.topic} {self.names}".strip()
