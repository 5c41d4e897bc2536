"""Plans: when an office gives its next answer to each question that is open, and how."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from ops.city.office.conduct import Conduct, Habits, Slip, conduct

Question = TypeVar("Question", bound=tuple[object, ...])


@dataclass(slots=True)
class Plan:
    """One question's: when it is answered next, never if it is not to be."""

    at: datetime | None
    conduct: Conduct

    def again(self, now: datetime) -> None:
        """What is said now does not settle it: it is answered once more, and rightly."""
        self.at = now + self.conduct.next_wait
        self.conduct = Conduct(
            slip=Slip.NONE, wait=self.conduct.wait, next_wait=self.conduct.next_wait, choice=self.conduct.choice
        )


@dataclass(slots=True)
class Plans(Generic[Question]):
    """The plans of one office for one kind of question; drawn again from the seed when it starts anew."""

    seed: int
    name: str
    habits: Habits
    _plans: dict[Question, Plan] = field(default_factory=dict[Question, Plan])

    def due(
        self, still_open: Iterable[tuple[Question, datetime, datetime, datetime | None]], now: datetime, most: int
    ) -> list[Question]:
        """Of the open questions those whose time has come, `most` at once; what is no longer asked is forgotten.

        Each comes with when it was asked, its deadline, and when it was answered last without being settled.
        """
        known, self._plans = self._plans, {}
        for question, asked, deadline, answered in still_open:
            self._plans[question] = known.get(question) or self._made(question, asked, deadline, answered)
        due = [question for question, plan in self._plans.items() if plan.at is not None and plan.at <= now]
        return due[:most]

    def of(self, question: Question) -> Plan:
        """The plan of a question that is open."""
        return self._plans[question]

    def _made(self, question: Question, asked: datetime, deadline: datetime, answered: datetime | None) -> Plan:
        how = conduct(self.seed, "|".join(map(str, (self.name, *question))), self.habits)
        if answered is not None:
            return Plan(answered + how.next_wait, how)
        if how.slip is Slip.SILENT:
            return Plan(None, how)
        return Plan((deadline if how.slip is Slip.LATE else asked) + how.wait, how)
