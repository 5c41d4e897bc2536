"""Plans: what an office means to do about each question that is open, and when; and what it will think better of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Generic, TypeVar

from ops.city.office.conduct import Conduct, Habits, Slip, conduct

Question = TypeVar("Question", bound=tuple[object, ...])

First = Callable[[Conduct], datetime | None]
"""When a question of this conduct is acted upon first; None for never."""


@dataclass(slots=True)
class Plan:
    """One question's: when it is acted upon next, never if it is not to be."""

    at: datetime | None
    conduct: Conduct

    def again(self, now: datetime) -> None:
        """What is said now does not settle it: it is answered once more, and rightly."""
        self.at = now + self.conduct.next_wait
        self.conduct = replace(self.conduct, slip=Slip.NONE)


@dataclass(slots=True)
class Plans(Generic[Question]):
    """The plans of one office for one kind of question; drawn again from the seed when it starts anew."""

    seed: int
    name: str
    habits: Habits
    _plans: dict[Question, Plan] = field(default_factory=dict[Question, Plan])
    _regrets: dict[Question, datetime] = field(default_factory=dict[Question, datetime])

    def due(self, still_open: Mapping[Question, First], now: datetime, most: int) -> list[Question]:
        """Of the open questions those whose time has come, `most` at once; what is no longer asked is forgotten."""
        known, self._plans = self._plans, {}
        for question, first in still_open.items():
            self._plans[question] = known.get(question) or self._made(question, first)
        return [question for question, plan in self._plans.items() if plan.at is not None and plan.at <= now][:most]

    def of(self, question: Question) -> Plan:
        """The plan of a question that is open."""
        return self._plans[question]

    def conduct(self, question: Question) -> Conduct:
        """How a question goes, open or not."""
        return conduct(self.seed, "|".join(map(str, (self.name, *question))), self.habits)

    def regret(self, question: Question, at: datetime) -> None:
        """What is said now will be taken back then."""
        self._regrets[question] = at

    def regretted(self, now: datetime, most: int) -> list[Question]:
        """What is to be taken back by now, `most` at once; each is told once."""
        found = [question for question, at in self._regrets.items() if at <= now][:most]
        for question in found:
            del self._regrets[question]
        return found

    def _made(self, question: Question, first: First) -> Plan:
        how = self.conduct(question)
        return Plan(first(how), how)


def answered(asked: datetime, deadline: datetime, last: datetime | None) -> First:
    """A question that has a deadline; `last` is when it was answered without being settled."""

    def first(how: Conduct) -> datetime | None:
        if last is not None:
            return last + how.next_wait
        if how.slip is Slip.SILENT:
            return None
        return (deadline if how.slip is Slip.LATE else asked) + how.wait

    return first
