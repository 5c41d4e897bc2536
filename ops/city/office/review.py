"""Review: a department answers (审核) the applications for a car quota that the mesh brings, each in its own register."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ops.city.office.conduct import Habits, Slip
from ops.city.office.plans import Plans, answered
from ops.city.office.register import REFUSALS, reason_of
from ops.city.office.work import KEPT_DAYS, Connection, delivered, query

ARCHIVED_AT_ONCE = 50
ANSWERED_AT_ONCE = 500
"""Answers of one turn: after a pause the office works off what waits in many small commits."""

_OPEN = """
SELECT r.app_code, r.review_round, r.asked_at, r.due_at, a.answered_at
FROM mesh.quota_review_request r LEFT JOIN public.quota_result a USING (app_code, review_round, agency)
WHERE a.verdict IS NULL OR a.verdict NOT IN ('PASS', 'FAIL')
"""
_DECIDE = """
SELECT r.app_code, r.review_round, {reason}
FROM mesh.quota_review_request r JOIN unnest(%s::text[], %s::int[]) AS q (app_code, review_round) USING (app_code, review_round)
"""
_ANSWER = """
INSERT INTO public.quota_result AS a
  (app_code, review_round, agency, verdict, reason_code, evidence_ref, answered_at, updated_at, source_row_version)
SELECT code, number, %(agency)s, verdict, reason, CASE WHEN verdict <> 'PASS' THEN %(agency)s || '-' || code || '-' || number END,
  %(now)s, %(now)s, 1
FROM unnest(%(codes)s::text[], %(rounds)s::int[], %(verdicts)s::text[], %(reasons)s::text[]) AS given (code, number, verdict, reason)
ON CONFLICT (app_code, review_round, agency) DO UPDATE SET verdict = excluded.verdict, reason_code = excluded.reason_code,
  evidence_ref = excluded.evidence_ref, answered_at = excluded.answered_at, updated_at = excluded.updated_at,
  source_row_version = a.source_row_version + 1
"""

_ARCHIVE = """
DELETE FROM public.quota_result WHERE ctid IN (SELECT ctid FROM public.quota_result WHERE answered_at < %(before)s LIMIT %(most)s)
"""

Question = tuple[str, int]
Answer = tuple[str, int, str, str | None]
"""Application, round, verdict, reason."""


@dataclass(slots=True)
class Review:
    """One department's part in the reviews."""

    agency: str
    seed: int
    habits: Habits
    _plans: Plans[Question] = field(init=False)

    def __post_init__(self) -> None:
        """One plan for each application and round."""
        self._plans = Plans(self.seed, self.agency, self.habits)

    def do(self, connection: Connection, now: datetime, /) -> int:
        """See Work."""
        if not delivered(connection, "quota_review_request"):
            return 0
        rows = connection.execute(_OPEN)
        still_open = {(code, number): answered(asked, deadline, last) for code, number, asked, deadline, last in rows}
        due = self._plans.due(still_open, now, ANSWERED_AT_ONCE)
        regretted = self._plans.regretted(now, ANSWERED_AT_ONCE)
        answers = self._decided(connection, due, now)
        for code, number in regretted:
            answers.append((code, number, "FAIL", self._some_reason(0.0)))
        if answers:
            self._write(connection, answers, now)
        old = {"before": now - timedelta(days=KEPT_DAYS), "most": ARCHIVED_AT_ONCE}
        return len(answers) + connection.execute(query(_ARCHIVE), old).rowcount

    def _decided(self, connection: Connection, due: Sequence[Question], now: datetime) -> list[Answer]:
        if not due:
            return []
        statement = query(_DECIDE, reason=reason_of(self.agency))
        found = connection.execute(statement, ([code for code, _ in due], [number for _, number in due]))
        return [self._answer((code, number), reason, now) for code, number, reason in found.fetchall()]

    def _answer(self, question: Question, reason: str | None, now: datetime) -> Answer:
        plan = self._plans.of(question)
        how = plan.conduct
        if how.slip in {Slip.NEED_INFO, Slip.MISSPELT}:
            plan.again(now)
            return (*question, "NEED_INFO" if how.slip is Slip.NEED_INFO else "通过", None)
        if how.slip is Slip.WRONG and question[1] == 1:  # a re-review looks twice
            reason = self._some_reason(how.choice) if reason is None else None
        if reason is None and how.slip is Slip.CONTRADICTED:
            self._plans.regret(question, now + how.next_wait)
        return (*question, "PASS" if reason is None else "FAIL", reason)

    def _some_reason(self, choice: float) -> str:
        reasons = list(REFUSALS[self.agency])
        return reasons[int(choice * len(reasons))]

    def _write(self, connection: Connection, answers: Sequence[Answer], now: datetime) -> None:
        codes, rounds, verdicts, reasons = (list(column) for column in zip(*answers, strict=True))
        values = {"codes": codes, "rounds": rounds, "verdicts": verdicts, "reasons": reasons}
        connection.execute(_ANSWER, {"agency": self.agency, "now": now, **values})
