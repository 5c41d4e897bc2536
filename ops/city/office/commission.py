"""Commission: what the transport commission (交委) does with what it is told: verdicts, re-reviews, who was drawn, who bought.

Once the draw of a verdict's period is held, an application's status is no longer the verdict's: winners are awarded or not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ops.city.office.conduct import Habits, conduct
from ops.city.office.work import KEPT_DAYS, Connection, delivered, query
from ops.lint.folder import SHANGHAI

REVIEW_SHARE = 0.3
"""Of the applicants whom a department refused, those who ask for a re-review (复核)."""
REVIEWED_WITHIN_DAYS = 10
ROUNDS_MAX = 3
AWARDED_AFTER = timedelta(days=1)
"""From the draw to the award: deaths and new cars of winners are seen in between (E8)."""
ARCHIVED_AT_ONCE = 50

_NEWEST = "SELECT DISTINCT ON (app_code) * FROM mesh.quota_verdict ORDER BY app_code, period DESC"
_STATUS = f"""
WITH newest AS ({_NEWEST}),
told AS (
  SELECT a.app_code, CASE v.verdict WHEN 'PENDING' THEN 'REVIEWING' ELSE v.verdict END AS status
  FROM public.quota_application a JOIN newest v USING (app_code)
  WHERE a.status NOT IN ('WITHDRAWN', 'AWARDED') AND a.status <> CASE v.verdict WHEN 'PENDING' THEN 'REVIEWING' ELSE v.verdict END
    AND NOT EXISTS (SELECT FROM public.quota_draw d WHERE a.method = 'LOTTERY' AND d.period = v.period
      AND d.quota_kind = a.quota_kind AND d.draw_key IS NOT NULL)
  LIMIT 500
)
UPDATE public.quota_application a SET status = told.status, status_date = %(today)s, updated_at = %(now)s,
  source_row_version = a.source_row_version + 1
FROM told WHERE told.app_code = a.app_code AND a.status NOT IN ('WITHDRAWN', 'AWARDED')
"""  # noqa: S608 - of our own making
_REFUSED = f"""
SELECT v.app_code, v.review_round, v.decided_at FROM ({_NEWEST}) v JOIN public.quota_application a USING (app_code)
WHERE v.verdict = 'NOT_VALID' AND v.reason_agency IS NOT NULL AND a.status = 'NOT_VALID' AND v.decided_at > %s
  AND v.review_round < %s
  AND NOT EXISTS (SELECT FROM public.quota_review q WHERE q.app_code = v.app_code AND q.review_round > v.review_round)
"""  # noqa: S608 - of our own making
_REVIEW = """
INSERT INTO public.quota_review (app_code, review_round, requested_at, updated_at, source_row_version)
SELECT code, number, %(now)s, %(now)s, 1 FROM unnest(%(codes)s::text[], %(rounds)s::int[]) AS asked (code, number)
ON CONFLICT DO NOTHING
"""
_AWARD = """
WITH won AS (
  SELECT r.app_code, r.valid_to, {alerted} AS is_alerted
  FROM mesh.quota_draw_result r JOIN public.quota_application a USING (app_code)
  JOIN public.quota_draw d ON (d.period, d.quota_kind) = (r.period, r.quota_kind)
  WHERE a.status = 'VALID' AND d.updated_at <= %(drawn_by)s
    AND NOT EXISTS (SELECT FROM public.quota_award w WHERE w.app_code = r.app_code)
), given AS (
  INSERT INTO public.quota_award (quota_no, app_code, valid_to, status, updated_at, source_row_version)
  SELECT 'GZ' || app_code, app_code, valid_to, 'VALID', %(now)s, 1 FROM won WHERE NOT is_alerted
)
UPDATE public.quota_application a SET status = CASE WHEN won.is_alerted THEN 'NOT_VALID' ELSE 'AWARDED' END,
  status_date = %(today)s, updated_at = %(now)s, source_row_version = a.source_row_version + 1
FROM won WHERE won.app_code = a.app_code
"""
_ALERTED = "EXISTS (SELECT FROM mesh.quota_alert t WHERE t.app_code = r.app_code AND t.state = 'OPEN')"
_USED = """
UPDATE public.quota_award w SET status = 'USED', status_date = %(today)s, updated_at = %(now)s,
  source_row_version = w.source_row_version + 1
FROM public.quota_application a JOIN mesh.police_vehicle v ON v.owner_id = a.applicant_id
WHERE a.app_code = w.app_code AND w.status = 'VALID'
  AND v.first_registered >= (w.updated_at AT TIME ZONE 'Asia/Shanghai')::date
"""
_ARCHIVE = """
WITH old AS (
  SELECT app_code FROM public.quota_application WHERE period < %(period)s AND status <> 'AWARDED' LIMIT %(most)s
), reviews AS (DELETE FROM public.quota_review q USING old WHERE q.app_code = old.app_code)
DELETE FROM public.quota_application a USING old WHERE a.app_code = old.app_code
"""


@dataclass(slots=True)
class Commission:
    """The commission's own business; it answers for applications as the other departments do (review.py)."""

    seed: int
    habits: Habits
    _asks: dict[tuple[str, int], timedelta | None] = field(default_factory=dict[tuple[str, int], timedelta | None])

    def do(self, connection: Connection, now: datetime, /) -> int:
        """See Work."""
        moment = {"now": now, "today": now.astimezone(SHANGHAI).date()}
        written = 0
        if delivered(connection, "quota_verdict"):
            written += connection.execute(query(_STATUS), moment).rowcount
            written += self._review(connection, now)
        if delivered(connection, "quota_draw_result"):
            alerted = _ALERTED if delivered(connection, "quota_alert") else "false"
            drawn_by = now - AWARDED_AFTER
            written += connection.execute(query(_AWARD, alerted=alerted), {**moment, "drawn_by": drawn_by}).rowcount
        if delivered(connection, "police_vehicle"):
            written += connection.execute(query(_USED), moment).rowcount
        period = f"{now - timedelta(days=KEPT_DAYS):%Y%m}"
        return written + connection.execute(query(_ARCHIVE), {"period": period, "most": ARCHIVED_AT_ONCE}).rowcount

    def _review(self, connection: Connection, now: datetime) -> int:
        """Applicants who were refused ask again, some of them, after some days."""
        since = now - timedelta(days=REVIEWED_WITHIN_DAYS)
        found = connection.execute(query(_REFUSED), (since, ROUNDS_MAX)).fetchall()
        asking: list[tuple[str, int]] = []
        asks, self._asks = self._asks, {}
        for code, number, decided in found:
            question = (code, number)
            wait = asks[question] if question in asks else self._wait(question)
            self._asks[question] = wait
            if wait is not None and decided + wait <= now:
                asking.append((code, number + 1))
        if not asking:
            return 0
        codes, rounds = (list(column) for column in zip(*asking, strict=True))
        return connection.execute(query(_REVIEW), {"now": now, "codes": codes, "rounds": rounds}).rowcount

    def _wait(self, question: tuple[str, int]) -> timedelta | None:
        how = conduct(self.seed, f"review|{question[0]}|{question[1]}", self.habits)
        return how.next_wait if how.choice < REVIEW_SHARE else None
