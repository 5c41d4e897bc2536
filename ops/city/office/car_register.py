"""Car register: the police register (机动车登记) the car that the holder of an award buys: the award is what they ask to see."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from ops.city.office.conduct import Habits
from ops.city.office.plans import Plans
from ops.city.office.work import Connection, delivered, query
from ops.lint.folder import SHANGHAI

REGISTERED_AT_ONCE = 200

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
    _plans: Plans[tuple[str]] = field(init=False)

    def __post_init__(self) -> None:
        """One plan for each award."""
        self._plans = Plans(self.seed, "purchase", self.habits)

    def do(self, connection: Connection, now: datetime, /) -> int:
        """See Work."""
        if not delivered(connection, "transport_quota_award", "quota_review_request"):
            return 0
        holders = dict.fromkeys(connection.execute(query(_HOLDERS)), lambda how: now + how.next_wait)
        numbers = [number for (number,) in self._plans.due(holders, now, REGISTERED_AT_ONCE)]
        if not numbers:
            return 0
        values = {"now": now, "today": now.astimezone(SHANGHAI).date(), "numbers": numbers}
        return connection.execute(query(_REGISTER), values).rowcount
