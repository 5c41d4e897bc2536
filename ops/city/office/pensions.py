"""Pensions (养老金): social security stops what is paid to somebody who died, and restores it when the death was a mistake.

It goes by the archive's word, in which police and health agree (HANDBOOK C5), and not by any single paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ops.city.office.work import Connection, delivered, query
from ops.lint.folder import SHANGHAI

_SETTLE = """
WITH last AS (
  SELECT DISTINCT ON (id_no) id_no, effect, to_char(occurred_on, 'YYYYMM') AS month FROM mesh.base_person_event
  WHERE id_type = 'CITIZEN_ID' AND effect <> 'NONE' ORDER BY id_no, recorded_at DESC, effect
)
UPDATE public.pension_payment p SET status = CASE last.effect WHEN 'STOP' THEN 'STOPPED' ELSE 'PAID' END, status_date = %(today)s,
  updated_at = %(now)s, source_row_version = p.source_row_version + 1
FROM last WHERE p.citizen_id = last.id_no
  AND ((last.effect = 'STOP' AND p.status = 'PAID' AND p.period > last.month) OR (last.effect = 'RESTORE' AND p.status = 'STOPPED'))
"""


@dataclass(slots=True)
class Pensions:
    """The fund's own business. Of two lines of one moment the restoring one is the later."""

    def do(self, connection: Connection, now: datetime, /) -> int:
        """See Work."""
        if not delivered(connection, "base_person_event"):
            return 0
        return connection.execute(query(_SETTLE), {"now": now, "today": now.astimezone(SHANGHAI).date()}).rowcount
