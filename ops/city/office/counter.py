"""Counter (办事窗口): certificates are verified and extracted from by what the mesh says of their standing, and each use is logged.

The log (用证记录) is the certificate centre's: every department's counter asks there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

from ops.city.firms.certificates import LINES, PURPOSES
from ops.city.office.conduct import Habits
from ops.city.office.work import KEPT_DAYS, Connection, delivered, query

BETWEEN = timedelta(days=1) / 60
"""From one use to the next."""
USED_AT_ONCE = 50
ARCHIVED_AT_ONCE = 50
ELSEWHERE = ("civil", "hrss", "police")
"""Whose counters verify certificates of which nothing may be extracted."""

_SOME = """
SELECT c.cert_id, c.type_code, s.status FROM public.certificate c
JOIN mesh.certificate_status s ON s.cert_id::text = c.cert_id::text
ORDER BY md5(c.cert_id::text || %s) LIMIT %s
"""
_LOG = """
INSERT INTO public.certificate_use (use_id, cert_id, verifier_agency, officer, matter_code, purpose, used_at, items_disclosed,
  holder_present, result, updated_at, source_row_version)
VALUES (%(use_id)s, %(cert_id)s, %(agency)s, %(officer)s, %(matter)s, %(purpose)s, %(now)s, %(items)s, %(is_present)s,
  %(result)s, %(now)s, 1) ON CONFLICT DO NOTHING
"""
_ARCHIVE = """
DELETE FROM public.certificate_use WHERE ctid IN (SELECT ctid FROM public.certificate_use WHERE used_at < %s LIMIT %s)
"""


@dataclass(slots=True)
class Counter:
    """All counters of the city. `habits.wrong` of them take more than they may, or leave the holder out."""

    seed: int
    habits: Habits
    _at: datetime | None = field(default=None)

    def do(self, connection: Connection, now: datetime, /) -> int:
        """See Work."""
        if not delivered(connection, "certificate_status"):
            return 0
        self._at = self._at or now - BETWEEN
        count = min(int((now - self._at) / BETWEEN), USED_AT_ONCE)
        written = connection.execute(query(_ARCHIVE), (now - timedelta(days=KEPT_DAYS), ARCHIVED_AT_ONCE)).rowcount
        if not count:
            return written
        self._at = now
        some = connection.execute(query(_SOME), (f"{self.seed}|{now.isoformat()}", count)).fetchall()
        uses = list(self._uses(some, now))
        with connection.transaction(), connection.cursor() as cursor:
            cursor.executemany(query(_LOG), uses)
        return written + len(uses)

    def _uses(self, certificates: list[tuple[Any, ...]], now: datetime) -> Iterator[dict[str, Any]]:
        for number, (cert_id, type_code, status) in enumerate(certificates):
            rng = Random(f"{self.seed}|{cert_id}|{now.isoformat()}")  # noqa: S311 - reproducible on purpose, guards nothing
            lines = LINES.get(type_code)
            matter, agency, granted, needs_holder = (
                rng.choice(lines) if lines else ("440100-ZH-01", rng.choice(ELSEWHERE), [], True)
            )
            takes_more = bool(lines) and rng.random() < self.habits.wrong
            is_accepted = status == "VALID"
            yield {
                "use_id": f"YG{int(now.timestamp()):010}{number:03}",
                "cert_id": cert_id,
                "agency": agency,
                "officer": f"{agency}-{int(rng.random() * 40):03}",
                "matter": matter,
                "purpose": rng.choice(PURPOSES),
                "items": [*granted, *(["住址"] if takes_more else [])] if is_accepted else [],
                "is_present": rng.random() >= self.habits.wrong if needs_holder else rng.random() < 0.4,
                "result": "ACCEPTED" if is_accepted else "REFUSED",
                "now": now,
            }
