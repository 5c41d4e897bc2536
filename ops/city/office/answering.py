"""Answering (核对应答): a department says what its own register has on the members of a household check, as it is asked.

It keeps that register to itself: that is why it is asked, and its rows are not shared. A record is told with how it was matched:
by number and name, or by the number alone, which only a person can judge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ops.city.office.conduct import Habits, Slip
from ops.city.office.plans import Plans, answered
from ops.city.office.work import Connection, delivered, query

ANSWERED_AT_ONCE = 500

_OWN = """
SELECT 'GJ' || account_no AS reference, citizen_id, name, '公积金贷款'::text AS value,
  (('x' || substr(md5(citizen_id), 1, 6))::bit(24)::int %% 580000 + 20000)::numeric(18, 2) AS amount,
  date '2009-01-01' + ('x' || substr(md5(citizen_id), 7, 4))::bit(16)::int %% 2500 AS observed_date
FROM public.account WHERE ('x' || substr(md5(account_no), 1, 2))::bit(8)::int < 28
"""
REGISTERS: Mapping[str, tuple[str, str]] = {
    "construction": (
        "PUBLIC_HOUSING",
        "SELECT a.app_no AS reference, m.citizen_id, m.name, '限价商品住宅'::text AS value, NULL::numeric AS amount,"
        " a.status_date AS observed_date"
        " FROM public.housing_application a JOIN public.housing_member m USING (app_no) WHERE a.status = 'APPROVED'",
    ),
    "housing_fund": ("HOUSING_LOAN", _OWN),
}
"""Department to the source (来源) that it is, and the rows of its own that it looks through. One account in nine has a loan."""

_OPEN = """
SELECT r.case_no, r.citizen_id, r.asked_at, r.due_at, a.answered_at
FROM mesh.check_request r LEFT JOIN public.check_answer a USING (case_no, citizen_id, source)
WHERE r.source = %s AND (a.outcome IS NULL OR a.outcome NOT IN ('RECORDS', 'NO_RECORD', 'AMBIGUOUS'))
"""
_FIND = """
SELECT r.case_no, r.citizen_id, count(o.reference)::int, bool_and(btrim(o.name) = btrim(r.name)), min(o.reference), min(o.value),
  sum(o.amount)::numeric(18, 2), max(o.observed_date)
FROM mesh.check_request r JOIN unnest(%s::text[], %s::text[]) AS q (case_no, citizen_id) USING (case_no, citizen_id)
LEFT JOIN ({register}) o USING (citizen_id)
WHERE r.source = %s GROUP BY 1, 2
"""
_COLUMNS = (
    "case_no", "citizen_id", "outcome", "record_count", "match_tier", "reference", "value", "amount", "observed_date",
)  # fmt: skip
_ANSWER = """
INSERT INTO public.check_answer AS a (case_no, citizen_id, source, outcome, record_count, match_tier, reference, value, amount,
  observed_date, answered_at, updated_at, source_row_version)
SELECT case_no, citizen_id, %(source)s, outcome, record_count, match_tier, reference, value, amount, observed_date,
  %(now)s, %(now)s, 1
FROM unnest(%(case_no)s::text[], %(citizen_id)s::text[], %(outcome)s::text[], %(record_count)s::int[], %(match_tier)s::text[],
  %(reference)s::text[], %(value)s::text[], %(amount)s::numeric[], %(observed_date)s::date[])
  AS told (case_no, citizen_id, outcome, record_count, match_tier, reference, value, amount, observed_date)
ON CONFLICT (case_no, citizen_id, source) DO UPDATE SET outcome = excluded.outcome, record_count = excluded.record_count,
  match_tier = excluded.match_tier, reference = excluded.reference, value = excluded.value, amount = excluded.amount,
  observed_date = excluded.observed_date, answered_at = excluded.answered_at, updated_at = excluded.updated_at,
  source_row_version = a.source_row_version + 1
"""
Question = tuple[str, str]
"""Case and member."""
Answer = tuple[Any, ...]
"""The values of _COLUMNS."""


@dataclass(slots=True)
class Answering:
    """One department's part in the household checks."""

    agency: str
    seed: int
    habits: Habits
    _plans: Plans[Question] = field(init=False)

    def __post_init__(self) -> None:
        """One plan for each member of a case."""
        self._plans = Plans(self.seed, f"check|{self.agency}", self.habits)

    @property
    def _source(self) -> str:
        return REGISTERS[self.agency][0]

    def do(self, connection: Connection, now: datetime, /) -> int:
        """See Work."""
        if not delivered(connection, "check_request"):
            return 0
        rows = connection.execute(query(_OPEN), (self._source,))
        still_open = {(case_no, citizen): answered(asked, due, last) for case_no, citizen, asked, due, last in rows}
        regretted = self._plans.regretted(now, ANSWERED_AT_ONCE)
        answers = self._found(connection, self._plans.due(still_open, now, ANSWERED_AT_ONCE), now)
        for question in regretted:
            answers.append((*question, "NO_RECORD", 0, None, None, None, None, None))
        if answers:
            columns = {name: list(values) for name, values in zip(_COLUMNS, zip(*answers, strict=True), strict=True)}
            connection.execute(query(_ANSWER), {"source": self._source, "now": now, **columns})
        return len(answers)

    def _found(self, connection: Connection, due: Sequence[Question], now: datetime) -> list[Answer]:
        if not due:
            return []
        statement = query(_FIND, register=REGISTERS[self.agency][1])
        values = ([case_no for case_no, _ in due], [citizen for _, citizen in due], self._source)
        return [self._answer(*row, now=now) for row in connection.execute(statement, values).fetchall()]

    def _answer(
        self, case_no: str, citizen_id: str, count: int, is_same: bool | None, *item: Any, now: datetime
    ) -> Answer:
        question = (case_no, citizen_id)
        plan = self._plans.of(question)
        nothing = (None,) * len(item)
        match plan.conduct.slip:
            case Slip.NEED_INFO:  # its register does not answer just now
                plan.again(now)
                return (*question, "ERROR", 0, None, *nothing)
            case Slip.MISSPELT:
                plan.again(now)
                return (*question, "有记录", count, None, *nothing)
            case Slip.WRONG if not count:
                return (*question, "AMBIGUOUS", 3, "P6", *nothing)
            case Slip.CONTRADICTED if count:
                self._plans.regret(question, now + plan.conduct.next_wait)
            case _:
                pass
        if not count:
            return (*question, "NO_RECORD", 0, None, *nothing)
        return (*question, "RECORDS", count, "P0" if is_same else "P3", *item)
