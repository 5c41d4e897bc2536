"""Inspection (稽查): a tax bureau looks into the warnings that the mesh brings, and says what came of each.

Whether a warning is right is seen outside, with the taxpayer; here it is drawn with each rule's seeded share.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ops.city.office.conduct import Conduct, Habits, Slip, conduct
from ops.city.office.work import Connection, delivered, query

AGENCIES = ("state_tax", "local_tax")
PRECISION = {"W1": 0.7, "W2": 0.6, "W3": 0.55, "W7": 0.15}
"""Share of a rule's warnings that the bureaus confirm; of the others half."""
LEFT = 0.14
"""Warnings that nobody ever looks into."""
ANSWERED_AT_ONCE = 200

_OPEN = """
SELECT w.warning_id, w.rule, f.outcome FROM mesh.tax_warning w LEFT JOIN public.warning_feedback f USING (warning_id)
WHERE w.state IN ('OPEN', 'DISPATCHED') AND (f.outcome IS NULL OR f.outcome NOT IN ('CONFIRMED', 'FALSE_POSITIVE'))
"""
_ANSWER = """
INSERT INTO public.warning_feedback AS f (warning_id, outcome, amount_recovered, answered_at, updated_at, source_row_version)
SELECT warning_id, outcome, amount, %(now)s, %(now)s, 1
FROM unnest(%(warnings)s::text[], %(outcomes)s::text[], %(amounts)s::numeric[]) AS told (warning_id, outcome, amount)
ON CONFLICT (warning_id) DO UPDATE SET outcome = excluded.outcome, amount_recovered = excluded.amount_recovered,
  answered_at = excluded.answered_at, updated_at = excluded.updated_at, source_row_version = f.source_row_version + 1
"""

Answer = tuple[str, str, str | None]
"""Warning, outcome, amount recovered in yuan."""


@dataclass(slots=True)
class Inspection:
    """One bureau's part. It takes its time from when a warning arrived here."""

    agency: str
    seed: int
    habits: Habits
    _looks_at: dict[str, tuple[datetime | None, Conduct]] = field(
        default_factory=dict[str, tuple[datetime | None, Conduct]]
    )
    _regrets: dict[str, datetime] = field(default_factory=dict[str, datetime])

    def do(self, connection: Connection, now: datetime, /) -> int:
        """See Work."""
        if not delivered(connection, "tax_warning"):
            return 0
        answers: list[Answer] = []
        known, self._looks_at = self._looks_at, {}
        for warning, rule, said in connection.execute(query(_OPEN)).fetchall():
            at, how = self._looks_at[warning] = known.get(warning) or self._plan(warning, now)
            if at is not None and at <= now and len(answers) < ANSWERED_AT_ONCE:
                answers.append(self._answer(warning, rule, how, now, is_again=said is not None))
        for warning in [warning for warning, at in self._regrets.items() if at <= now]:
            del self._regrets[warning]
            answers.append((warning, "CONFIRMED", _amount(self._looks_at.get(warning), warning, self.seed)))
        if answers:
            columns: dict[str, list[Any]] = {
                name: list(values)
                for name, values in zip(("warnings", "outcomes", "amounts"), zip(*answers, strict=True), strict=True)
            }
            connection.execute(query(_ANSWER), {"now": now, **columns})
        return len(answers)

    def _plan(self, warning: str, now: datetime) -> tuple[datetime | None, Conduct]:
        how = conduct(self.seed, f"warning|{warning}", self.habits)
        is_left = how.slip is Slip.SILENT or how.choice > 1 - LEFT * bool(self.habits.silent)
        return (None if is_left else now + how.wait), how

    def _answer(self, warning: str, rule: str, how: Conduct, now: datetime, *, is_again: bool) -> Answer:
        if how.slip is Slip.MISSPELT and not is_again:
            return warning, "属实", None
        is_right = how.choice / (1 - LEFT) < PRECISION.get(rule, 0.5)
        if how.slip is Slip.WRONG:
            is_right = not is_right
        if not is_right:
            if how.slip is Slip.CONTRADICTED:
                self._regrets[warning] = now + how.next_wait
            return warning, "FALSE_POSITIVE", None
        return warning, "CONFIRMED", _amount((None, how), warning, self.seed)


def _amount(plan: tuple[datetime | None, Conduct] | None, warning: str, seed: int) -> str:
    choice = plan[1].choice if plan else conduct(seed, f"warning|{warning}", Habits()).choice
    return f"{800 + choice * 240_000:.2f}"
