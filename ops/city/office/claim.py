"""Claim: departments act (认领、退回、转派) on the scope items that the mesh pushes to them.

The coordinator (统筹部门) decides about those that nobody owns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ops.city.office.conduct import Conduct, Habits, Slip, conduct
from ops.city.office.work import Connection, delivered, query

CLAIMING = ("fda", "health", "work_safety")
"""Departments that keep a register of their claims; others that own items are silent, and their items escalate."""
COORDINATOR = "aic"
CLAIMED, REFUSED = 0.9, 0.95
"""Nine in ten are claimed; of the rest half are refused, half passed on to whom the department takes for the right one."""
LATE_DAYS = 9
REASONS = ("不属本部门职责", "经营地址不在本区", "经营范围描述不清")
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
    _acts_at: dict[Item, tuple[datetime | None, Conduct]] = field(
        default_factory=dict[Item, tuple[datetime | None, Conduct]]
    )
    _regrets: dict[Item, datetime] = field(default_factory=dict[Item, datetime])

    @property
    def _inbox(self) -> str:
        return "registration_claim_pool" if self.agency == COORDINATOR else "registration_push"

    def do(self, connection: Connection, now: datetime, /) -> int:
        """See Work."""
        if not delivered(connection, self._inbox):
            return 0
        acts = [*self._due(connection, now), *self._thought_better(now)][:ACTED_AT_ONCE]
        if acts:
            _write(connection, acts, now)
        return len(acts)

    def _due(self, connection: Connection, now: datetime) -> Iterator[Act]:
        known, self._acts_at = self._acts_at, {}
        proposed = "t.proposed_agency" if self.agency == COORDINATOR else "NULL::text"
        for ent_id, item_code, agency, towards in connection.execute(
            query(_OPEN, inbox=self._inbox, proposed=proposed)
        ):
            item = (ent_id, item_code, agency)
            at, how = self._acts_at[item] = known.get(item) or self._plan(item, now)
            if at is None or at > now:
                continue
            if self.agency == COORDINATOR:
                yield (*item, "REROUTE", _other(agency, how, towards), "由统筹部门指定")
            else:
                yield self._act(item, how, now)

    def _plan(self, item: Item, now: datetime) -> tuple[datetime | None, Conduct]:
        how = conduct(self.seed, f"claim|{self.agency}|{'|'.join(item)}", self.habits)
        if how.slip is Slip.SILENT:
            return None, how
        late = timedelta(days=LATE_DAYS) if how.slip is Slip.LATE else timedelta()
        return now + how.wait + late, how

    def _act(self, item: Item, how: Conduct, now: datetime) -> Act:
        reason = REASONS[int(how.choice * 1000) % len(REASONS)]
        if how.choice < CLAIMED and how.slip is not Slip.WRONG:
            return (*item, "CLAIM", None, None)
        if how.choice < REFUSED:
            if how.slip is Slip.CONTRADICTED or how.choice < CLAIMED:
                self._regrets[item] = now + how.next_wait
            return (*item, "REFUSE", None, reason)
        return (*item, "REROUTE", _other(self.agency, how, None), reason)

    def _thought_better(self, now: datetime) -> Iterator[Act]:
        """What was refused by mistake is claimed after all."""
        for item in [item for item, at in self._regrets.items() if at <= now]:
            del self._regrets[item]
            yield (*item, "CLAIM", None, None)


def _other(agency: str, how: Conduct, proposed: str | None) -> str:
    others = [other for other in CLAIMING if other != agency]
    return proposed if proposed in others else others[int(how.choice * 10_000) % len(others)]


def _write(connection: Connection, acts: Sequence[Act], now: datetime) -> None:
    names = ("ents", "items", "agencies", "actions", "targets", "reasons")
    columns = {name: list(values) for name, values in zip(names, zip(*acts, strict=True), strict=True)}
    connection.execute(query(_ACT), {"now": now, **columns})
