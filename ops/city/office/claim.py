"""Claim: departments act (认领、退回、转派) on the scope items that the mesh pushes to them.

The coordinator (统筹部门) decides about those that nobody owns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from ops.city.firms.registration import CLAIMING, COORDINATOR, REASONS
from ops.city.office.conduct import Conduct, Habits, Slip
from ops.city.office.plans import Plans
from ops.city.office.work import Connection, delivered, query

CLAIMED, REFUSED = 0.9, 0.95
"""Nine in ten are claimed; of the rest half are refused, half passed on to whom the department takes for the right one."""
LATE_DAYS = 9
ACTED_AT_ONCE = 200

_OPEN = """
SELECT DISTINCT t.ent_id, t.item_code, t.agency, {proposed} FROM mesh.{inbox} t
WHERE NOT EXISTS (SELECT FROM public.registration_claim c
  WHERE (c.ent_id, c.item_code, c.agency) = (t.ent_id, t.item_code, t.agency))
"""
_ACT = """
INSERT INTO public.registration_claim AS c
  (ent_id, item_code, agency, action, reroute_to, reason, acted_at, updated_at, source_row_version)
SELECT ent_id, item_code, agency, action, reroute_to, reason, %(now)s, %(now)s, 1
FROM unnest(%(ents)s::text[], %(items)s::text[], %(agencies)s::text[], %(actions)s::text[], %(targets)s::text[],
  %(reasons)s::text[]) AS act (ent_id, item_code, agency, action, reroute_to, reason)
ON CONFLICT (ent_id, item_code, agency) DO UPDATE SET action = excluded.action, reroute_to = excluded.reroute_to,
  reason = excluded.reason, acted_at = excluded.acted_at, updated_at = excluded.updated_at,
  source_row_version = c.source_row_version + 1
"""

Item = tuple[str, str, str]
"""Entity, item, the department that is required."""
Act = tuple[str, str, str, str, str | None, str | None]
"""Item, what is done, to whom it is passed on, why."""


@dataclass(slots=True)
class Claim:
    """One department's part. It takes its time from when an item arrived here, whatever the push says."""

    agency: str
    seed: int
    habits: Habits
    _plans: Plans[Item] = field(init=False)

    def __post_init__(self) -> None:
        """One plan for each item that is required of somebody."""
        self._plans = Plans(self.seed, f"claim|{self.agency}", self.habits)

    @property
    def _inbox(self) -> str:
        return "registration_claim_pool" if self.agency == COORDINATOR else "registration_push"

    def do(self, connection: Connection, now: datetime, /) -> int:
        """See Work."""
        if not delivered(connection, self._inbox):
            return 0
        proposed = "t.proposed_agency" if self.agency == COORDINATOR else "NULL::text"
        rows = connection.execute(query(_OPEN, inbox=self._inbox, proposed=proposed))
        towards = {(ent_id, item_code, agency): other for ent_id, item_code, agency, other in rows}
        due = self._plans.due(dict.fromkeys(towards, partial(_first, now)), now, ACTED_AT_ONCE)
        regretted = self._plans.regretted(now, ACTED_AT_ONCE)
        acts = [self._act(item, self._plans.of(item).conduct, towards[item], now) for item in due]
        acts += [(*item, "CLAIM", None, None) for item in regretted]  # what was refused by mistake is claimed after all
        if acts:
            _write(connection, acts, now)
        return len(acts)

    def _act(self, item: Item, how: Conduct, towards: str | None, now: datetime) -> Act:
        if self.agency == COORDINATOR:
            return (*item, "REROUTE", _other(item[2], how, towards), "由统筹部门指定")
        reason = REASONS[int(how.choice * 1000) % len(REASONS)]
        if how.choice < CLAIMED and how.slip is not Slip.WRONG:
            return (*item, "CLAIM", None, None)
        if how.choice < REFUSED:
            if how.slip is Slip.CONTRADICTED or how.choice < CLAIMED:
                self._plans.regret(item, now + how.next_wait)
            return (*item, "REFUSE", None, reason)
        return (*item, "REROUTE", _other(self.agency, how, None), reason)


def _first(now: datetime, how: Conduct) -> datetime | None:
    if how.slip is Slip.SILENT:
        return None
    return now + how.wait + (timedelta(days=LATE_DAYS) if how.slip is Slip.LATE else timedelta())


def _other(agency: str, how: Conduct, proposed: str | None) -> str:
    others = [other for other in CLAIMING if other != agency]
    return proposed if proposed in others else others[int(how.choice * 10_000) % len(others)]


def _write(connection: Connection, acts: Sequence[Act], now: datetime) -> None:
    names = ("ents", "items", "agencies", "actions", "targets", "reasons")
    columns = {name: list(values) for name, values in zip(names, zip(*acts, strict=True), strict=True)}
    connection.execute(query(_ACT), {"now": now, **columns})
