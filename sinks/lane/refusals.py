"""Refusals: a target that refuses everything is unwell, and not a hundred changes."""

from __future__ import annotations

from schemas.errors import ContractBroken, Rejected

REFUSED_RUN_MAX = 100


class Refusals:
    """Counts the changes that were refused in a row, by subject: a topic, or a whole lane."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def count(self, subject: str, error: Rejected, grant_id: str) -> ContractBroken | None:
        """One more was refused; what to raise instead of making it a dead letter, when it is one too many."""
        self._counts[subject] = count = self._counts.get(subject, 0) + 1
        if count <= REFUSED_RUN_MAX:
            return None
        return ContractBroken(
            subject,
            f"its target refused {REFUSED_RUN_MAX} changes in a row, at last with {error.reason} ({error.problem})",
            fix=f"{error.fix or 'mend the target'}; then `mesh dlq retry {grant_id} --all`",
        )

    def taken(self, subject: str) -> None:
        """A change was taken, or the count begins anew."""
        self._counts.pop(subject, None)
