"""Condition (准入条件): what a source must say of a household, from a dated pack, judged into answers of `ask`.

    OWNS_HOME: {source: PROPERTY, of: HOUSEHOLD, at_most: 0}
    SOLD_HOME: {source: PROPERTY_SALE, of: HOUSEHOLD, total_at_most: "800000.00", within_days: 1826}

A condition bounds a number of records (`at_least`, `at_most`) or a sum of yuan (`total_at_most`), of the applicant alone or of
the whole household; with `within_days` only of records dated so shortly before the moment judged by. Sums and recent records
are those of a source's newest (evidence.ITEMS_MAX of a member); `at_least` and `at_most` alone count all. What is certain and what
is merely possible give two bounds, and it passes or fails only where both agree: an uncertain match needs a person (NEED_INFO)
and a source that has not spoken leaves the question open, unless what others said decides it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.dated.calendar import day_at
from schemas.errors import Misconfigured
from streams.flows.inquiry.cell import AMBIGUOUS, NO_RECORD, RECORDS, Cell
from streams.flows.inquiry.sources import Source, cents_of
from streams.operators.ask import Answer, Part
from streams.operators.flow import Fact

PASS, FAIL, NEED_INFO = "PASS", "FAIL", "NEED_INFO"
APPLICANT, HOUSEHOLD = "APPLICANT", "HOUSEHOLD"
_SPOKEN = frozenset({RECORDS, NO_RECORD, AMBIGUOUS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition; its name is the reason given where it fails, its source the one that answers."""

    name: str
    source: Source
    of: str
    at_least: float = 0
    at_most: float = math.inf
    total_at_most: float = math.inf
    within_days: int | None = None

    @property
    def part(self) -> Part:
        """The condition as a question of a case."""
        return Part(self.name, self.source.agency, ("citizen_id", "name"))

    def judge(self, cells: Iterable[Cell], applicant: str, application: Fact) -> Answer | None:
        """What the cells come to, as of the application's event time; None while they leave it open.

        `applicant` is a canonical number; with nobody of that number to ask about, a person has to look.
        """
        mine = [
            cell
            for cell in cells
            if cell.source.code == self.source.code and (self.of == HOUSEHOLD or cell.citizen_id == applicant)
        ]
        measured = [self._measure(cell, application.event_at) for cell in mine]
        certain, total = sum(count for count, _ in measured), sum(amount for _, amount in measured)
        uncertain = sum(cell.uncertain for cell in mine)
        is_spoken = all(cell.outcome in _SPOKEN for cell in mine)
        most = certain + uncertain if is_spoken and mine else math.inf
        most_total = total if is_spoken and mine and not uncertain else math.inf
        outcome = NEED_INFO
        if certain > self.at_most or total > self.total_at_most or most < self.at_least:
            outcome = FAIL
        elif certain >= self.at_least and most <= self.at_most and most_total <= self.total_at_most:
            outcome = PASS
        elif not is_spoken:
            return None
        said = max((cell for cell in mine if cell.fact), key=lambda cell: (cell.at, cell.citizen_id), default=None)
        at, fact = (said.at, said.fact) if said and said.fact else (application.event_at, application)
        return Answer(self.name, 1, outcome, self.name, at, fact)

    def _measure(self, cell: Cell, moment: int) -> tuple[int, int]:
        """How many records of a cell are certain and count, and what they sum up to, cents."""
        if self.within_days is None:
            return cell.count, sum(item["amount"] or 0 for item in cell.items)
        oldest = day_at(moment) - self.within_days
        recent = [item for item in cell.items if item["day"] is None or item["day"] >= oldest]
        return len(recent), sum(item["amount"] or 0 for item in recent)


def conditions(pack: Mapping[str, Mapping[str, Any]], sources: Sequence[Source]) -> list[Condition]:
    """The conditions of a pack, by name. Raises Misconfigured for a source that is not in force or a bound nobody knows."""
    by_code = {source.code: source for source in sources}
    found: list[Condition] = []
    for name, values in sorted(pack.items()):
        try:
            limits = {**values, "source": by_code[values["source"]]}
            if "total_at_most" in limits:
                limits["total_at_most"] = cents_of(limits["total_at_most"])
            condition = Condition(name=name, **limits)
        except (KeyError, TypeError, AttributeError) as error:
            fix = "name a source of the table in force then, of whom, and bounds as condition.py lists them"
            raise Misconfigured(f"condition {name}", "names an unknown source or bound", fix=fix) from error
        if condition.of not in {APPLICANT, HOUSEHOLD}:
            raise Misconfigured(f"condition {name}", "is about nobody", fix="write of: APPLICANT or of: HOUSEHOLD")
        found.append(condition)
    return found
