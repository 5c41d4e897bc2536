"""Inspection (稽查): a tax bureau looks into the warnings that the mesh brings, and says what came of each.

Whether a warning is right is seen outside, with the taxpayer; here it is drawn with each rule's seeded share.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from ops.city.firms.taxes import PRECISION
from ops.city.office.conduct import Conduct, Habits, Slip
from ops.city.office.plans import Plans
from ops.city.office.work import Connection, delivered, query

AGENCIES = ("state_tax", "local_tax")
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

Question = tuple[str]
Answer = tuple[str, str, str | None]
"""Warning, outcome, amount recovered in yuan."""


@dataclass(slots=True)
class Inspection:
    """One bureau's part. It takes its time from when a warning arrived here."""

    agency: str
    seed: int
    habits: Habits
    _plans: Plans[Question] = field(init=False)

    def __post_init__(self) -> None:
        """One plan for each warning."""
        self._plans = Plans(self.seed, "warning", self.habits)

    def do(self, connection: Connection, now: datetime, /) -> int:
        """See Work."""
        if not delivered(connection, "tax_warning"):
            return 0
        told = {(warning,): (rule, said) for warning, rule, said in connection.execute(query(_OPEN))}
        due = self._plans.due(dict.fromkeys(told, partial(self._first, now)), now, ANSWERED_AT_ONCE)
        regretted = self._plans.regretted(now, ANSWERED_AT_ONCE)
        answers = [self._answer(question, *told[question], now) for question in due]
        answers += [(*question, "CONFIRMED", _amount(self._plans.conduct(question))) for question in regretted]
        if answers:
            warnings, outcomes, amounts = (list(column) for column in zip(*answers, strict=True))
            connection.execute(
                query(_ANSWER), {"now": now, "warnings": warnings, "outcomes": outcomes, "amounts": amounts}
            )
        return len(answers)

    def _first(self, now: datetime, how: Conduct) -> datetime | None:
        is_left = how.slip is Slip.SILENT or how.choice > 1 - LEFT * bool(self.habits.silent)
        return None if is_left else now + how.wait

    def _answer(self, question: Question, rule: str, said: str | None, now: datetime) -> Answer:
        how = self._plans.of(question).conduct
        if how.slip is Slip.MISSPELT and said is None:
            return (*question, "属实", None)
        is_right = how.choice / (1 - LEFT) < PRECISION.get(rule, 0.5)  # of the rules that it does not name, half
        if how.slip is Slip.WRONG:
            is_right = not is_right
        if not is_right:
            if how.slip is Slip.CONTRADICTED:
                self._plans.regret(question, now + how.next_wait)
            return (*question, "FALSE_POSITIVE", None)
        return (*question, "CONFIRMED", _amount(how))


def _amount(how: Conduct) -> str:
    return f"{800 + how.choice * 240_000:.2f}"
