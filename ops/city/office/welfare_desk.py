"""Welfare desk (民政): what the civil affairs bureau does with the reports of the household checks: read, decided, objected to.

A report that finds otherwise after the decision is decided upon again (复核). Decided cases leave the desk in time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ops.city.office.conduct import Conduct, Habits
from ops.city.office.plans import Plans
from ops.city.office.work import KEPT_DAYS, Connection, delivered, query
from ops.lint.folder import SHANGHAI

INELIGIBLE_BY_HAND = 0.08
"""Of the households whose report asks for a person, those that are refused."""
OTHER_PURPOSE = 0.05
"""Officers who want a report for something else, which is refused (G8)."""
OBJECTIONS = {"INELIGIBLE": 0.5, "ELIGIBLE": 0.02}
UPHELD = 0.33
DECIDED_AT_ONCE = 200
ARCHIVED_AT_ONCE = 20

_NEWEST = "SELECT DISTINCT ON (case_no) * FROM mesh.check_report ORDER BY case_no, version DESC"
_REPORTED = f"""
UPDATE public.check_case c SET status = 'REPORTED', status_date = %(today)s, updated_at = %(now)s,
  source_row_version = c.source_row_version + 1
FROM ({_NEWEST}) r WHERE r.case_no = c.case_no AND c.status IN ('ACCEPTED', 'CHECKING')
"""  # noqa: S608 - of our own making
_UNDECIDED = f"""
SELECT r.case_no, r.version, r.finding, c.kind, coalesce(d.round, 0) FROM ({_NEWEST}) r JOIN public.check_case c USING (case_no)
LEFT JOIN LATERAL (SELECT * FROM public.check_decision d WHERE d.case_no = r.case_no ORDER BY round DESC LIMIT 1) d ON true
LEFT JOIN mesh.check_report f ON (f.case_no, f.version) = (d.case_no, d.report_version)
WHERE c.status <> 'WITHDRAWN' AND (d.round IS NULL OR (d.report_version < r.version AND f.finding IS DISTINCT FROM r.finding))
"""  # noqa: S608 - of our own making
_READ = """
INSERT INTO public.check_report_access (access_id, case_no, report_version, officer, purpose, opened_at, updated_at,
  source_row_version)
VALUES (%(access)s, %(case)s, %(version)s, %(officer)s, %(purpose)s, %(now)s, %(now)s, 1) ON CONFLICT DO NOTHING
"""
_DECIDE = """
INSERT INTO public.check_decision (case_no, round, outcome, report_version, decided_at, updated_at, source_row_version)
VALUES (%(case)s, %(round)s, %(outcome)s, %(version)s, %(now)s, %(now)s, 1) ON CONFLICT DO NOTHING
"""
_CLOSE = """
UPDATE public.check_case SET status = 'CLOSED', status_date = %(today)s, updated_at = %(now)s,
  source_row_version = source_row_version + 1 WHERE case_no = %(case)s AND status <> 'CLOSED'
"""
_OBJECT = """
INSERT INTO public.check_objection (objection_id, case_no, report_version, citizen_id, source, raised_at, status, updated_at,
  source_row_version)
SELECT %(objection)s, m.case_no, %(version)s, m.citizen_id, %(source)s, %(now)s, 'OPEN', %(now)s, 1
FROM public.check_member m WHERE m.case_no = %(case)s ORDER BY m.citizen_id LIMIT 1 ON CONFLICT DO NOTHING
"""
_OBJECTIONS = """
UPDATE public.check_objection o SET status = CASE o.status WHEN 'OPEN' THEN 'PROVIDER_CHECKING' WHEN 'UPHELD' THEN 'CORRECTED'
    ELSE CASE WHEN ('x' || substr(md5(objection_id), 1, 2))::bit(8)::int < %(upheld)s THEN 'UPHELD' ELSE 'REJECTED' END END,
  status_date = %(today)s, updated_at = %(now)s, source_row_version = o.source_row_version + 1
WHERE o.status IN ('OPEN', 'PROVIDER_CHECKING', 'UPHELD') AND o.updated_at < %(before)s
"""
_ARCHIVE = """
WITH old AS (
  DELETE FROM public.check_case WHERE case_no IN (
    SELECT c.case_no FROM public.check_case c WHERE c.status IN ('CLOSED', 'WITHDRAWN') AND c.status_date < %(until)s
      AND (c.status = 'WITHDRAWN' OR EXISTS (SELECT FROM mesh.check_report r WHERE r.case_no = c.case_no)) LIMIT %(most)s)
  RETURNING case_no
), a AS (DELETE FROM public.check_member USING old WHERE check_member.case_no = old.case_no),
b AS (DELETE FROM public.check_authorisation USING old WHERE check_authorisation.case_no = old.case_no),
c AS (DELETE FROM public.check_declaration USING old WHERE check_declaration.case_no = old.case_no),
d AS (DELETE FROM public.check_decision USING old WHERE check_decision.case_no = old.case_no),
e AS (DELETE FROM public.check_objection USING old WHERE check_objection.case_no = old.case_no),
f AS (DELETE FROM public.check_report_access USING old WHERE check_report_access.case_no = old.case_no)
SELECT count(*) FROM old
"""
_SOURCES = ("VEHICLE", "PROPERTY", "EMPLOYMENT_INSURANCE", "PUBLIC_HOUSING")

Question = tuple[str, int]
"""Case and round."""


@dataclass(slots=True)
class WelfareDesk:
    """The bureau's own business with the checks."""

    seed: int
    habits: Habits
    _plans: Plans[Question] = field(init=False)

    def __post_init__(self) -> None:
        """One plan for each decision of a case."""
        self._plans = Plans(self.seed, "decision", self.habits)

    def do(self, connection: Connection, now: datetime, /) -> int:
        """See Work."""
        moment = {"now": now, "today": now.astimezone(SHANGHAI).date()}
        written = 0
        if delivered(connection, "check_report"):
            written += connection.execute(query(_REPORTED), moment).rowcount
            written += self._decide(connection, moment)
            old = {"until": moment["today"] - timedelta(days=KEPT_DAYS), "most": ARCHIVED_AT_ONCE}
            found = connection.execute(query(_ARCHIVE), old).fetchone()
            written += found[0] if found else 0
        waited = {"upheld": int(UPHELD * 256), "before": now - timedelta(days=1)}
        return written + connection.execute(query(_OBJECTIONS), {**moment, **waited}).rowcount

    def _decide(self, connection: Connection, moment: dict[str, Any]) -> int:
        now: datetime = moment["now"]
        rows = connection.execute(query(_UNDECIDED)).fetchall()
        reports = {(case_no, last + 1): (version, finding, kind) for case_no, version, finding, kind, last in rows}
        written = 0
        for question in self._plans.due(dict.fromkeys(reports, lambda how: now + how.wait), now, DECIDED_AT_ONCE):
            (case_no, number), (version, finding, kind) = question, reports[question]
            how = self._plans.of(question).conduct
            outcome = _outcome(finding, how)
            values = {**moment, "case": case_no, "version": version, "round": number, "outcome": outcome}
            values["access"] = f"CY{case_no}-{number}"
            values["officer"] = f"HD{int(how.choice * 6000) % 60:04}"
            values["purpose"] = "TAX_INSPECTION" if how.choice * 100 % 1 < OTHER_PURPOSE else kind
            values["objection"] = f"YY{case_no}-{number}"
            values["source"] = _SOURCES[int(how.choice * 1_000) % len(_SOURCES)]
            with connection.transaction():
                written += connection.execute(query(_READ), values).rowcount
                written += connection.execute(query(_DECIDE), values).rowcount
                written += connection.execute(query(_CLOSE), values).rowcount
                if how.choice * 10 % 1 < OBJECTIONS[outcome]:
                    written += connection.execute(query(_OBJECT), values).rowcount
        return written


def _outcome(finding: str, how: Conduct) -> str:
    """A limit that is exceeded is a ground to refuse; what nobody could say is none, and a person looks (G3)."""
    is_refused = finding == "OVER_LIMITS" or (finding == "MANUAL_REVIEW" and how.choice < INELIGIBLE_BY_HAND)
    return "INELIGIBLE" if is_refused else "ELIGIBLE"
