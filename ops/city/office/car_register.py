"""Car register: the police register (机动车登记) the car that the holder of an award buys: the award is what they ask to see."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from ops.city.office.conduct import Habits, conduct
from ops.city.office.work import Connection, delivered, query
from ops.folder import SHANGHAI

_HOLDERS = """
SELECT DISTINCT w.quota_no FROM mesh.transport_quota_award w JOIN mesh.quota_review_request r USING (app_code)
WHERE w.status = 'VALID' AND r.id_type = 'CITIZEN_ID'
  AND NOT EXISTS (SELECT FROM public.vehicle v WHERE v.vin = 'LGZ' || lpad(w.app_code, 14, '0'))
"""
_REGISTER = """
INSERT INTO public.vehicle (vin, plate_no, owner_id_type, owner_id, owner_name, use_type, vehicle_class, first_registered, status,
  updated_at, source_row_version)
SELECT DISTINCT ON (w.app_code) 'LGZ' || lpad(w.app_code, 14, '0'), '粤A' || right(w.app_code, 5), r.id_type, r.applicant_id, r.name,
  'PRIVATE', 'K33', %(today)s, 'NORMAL', %(now)s, 1
FROM mesh.transport_quota_award w JOIN mesh.quota_review_request r USING (app_code)
WHERE w.quota_no = ANY(%(numbers)s)
ON CONFLICT DO NOTHING
"""


@dataclass(slots=True)
class CarRegister:
    """Each holder buys some days after the award is known here."""

    seed: int
    habits: Habits
    _buys_at: dict[str, datetime] = field(default_factory=dict[str, datetime])

    def do(self, connection: Connection, now: datetime, /) -> int:
        """See Work."""
        if not delivered(connection, "transport_quota_award", "quota_review_request"):
            return 0
        known, self._buys_at = self._buys_at, {}
        for (number,) in connection.execute(query(_HOLDERS)):
            how = conduct(self.seed, f"purchase|{number}", self.habits)
            self._buys_at[number] = known.get(number, now + how.next_wait)
        numbers = [number for number, at in self._buys_at.items() if at <= now]
        if not numbers:
            return 0
        values = {"now": now, "today": now.astimezone(SHANGHAI).date(), "numbers": numbers}
        return connection.execute(query(_REGISTER), values).rowcount
