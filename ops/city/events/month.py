"""What comes every month: insurance, pensions, tax filings. Each run is one transaction of many rows, and old months go."""

from __future__ import annotations

from collections import deque
from typing import Any

from ops.city.chance import money, next_period
from ops.city.firms import firms
from ops.city.people import livelihood
from ops.city.people.roll import Row
from ops.city.scene import Scene

RUN_ROWS = 24
"""Rows of one run at most."""
INSURANCE, PENSION = "hrss.insurance_month", "hrss.pension_payment"


class Round:
    """Goes round a register in runs; a new month begins when all had their turn."""

    def __init__(self, period: str) -> None:
        self.period = period
        self.waiting: deque[Any] = deque()

    def take(self, count: int) -> list[Any]:
        """The next few of this month."""
        return [self.waiting.popleft() for _ in range(min(count, len(self.waiting)))]


def _round(scene: Scene, name: str, done: str = "201610") -> Round:
    return scene.memory.setdefault(name, Round(done))


def _kept(scene: Scene, feed: str) -> tuple[deque[Row], int]:
    """The feed's rows, oldest first, and how many there were in the beginning."""
    if feed not in scene.memory:
        kept = (row for row in scene.city.rolls[feed] if row["period"] >= livelihood.OPENING_PERIODS[0])
        rows = sorted(kept, key=lambda row: row["period"])
        scene.memory[feed] = deque(rows), len(rows)
    return scene.memory[feed]


def _archive(scene: Scene, feed: str) -> None:
    rows, opening = _kept(scene, feed)
    for _ in range(min(RUN_ROWS, len(rows) - opening)):
        scene.delete(feed, rows.popleft())


def insurance_due(scene: Scene) -> None:
    """An employer's insurance for the month is due: a row per employee and kind, not yet paid."""
    rows, _ = _kept(scene, INSURANCE)
    turn = _round(scene, "insurance")
    if not turn.waiting:
        turn.period = next_period(turn.period)
        firms_by_id = scene.city.rolls["aic.enterprise"]
        for ent_id, staff in scene.city.staff.items():
            firm = firms_by_id.get(ent_id)
            if firm is not None and firm["status"] == "ACTIVE":
                turn.waiting.extend((number, person, firm) for number, person in staff)
    base = money(scene.rng, 3000, 18000)
    due: list[Row] = []
    for number, person, firm in turn.take(RUN_ROWS // 2):
        if person["status"] != "REGISTERED":
            continue
        for kind in livelihood.INSURANCE_KINDS:
            columns = livelihood.insurance_columns(firm, person, number, kind, turn.period, base)
            due.append(scene.insert(INSURANCE, columns))
    rows.extend(due)
    if due:
        scene.memory.setdefault("unpaid", deque()).append(due)


def insurance_paid(scene: Scene) -> None:
    """What was due is paid, the whole run at once."""
    unpaid: deque[list[Row]] = scene.memory.setdefault("unpaid", deque())
    if unpaid:
        for row in unpaid.popleft():
            scene.update(INSURANCE, row, paid=True, paid_at=scene.now)


def insurance_archived(scene: Scene) -> None:
    """The oldest months leave the live table."""
    _archive(scene, INSURANCE)


def pensions_paid(scene: Scene) -> None:
    """A run of pensions is paid; who died since gets none."""
    rows, _ = _kept(scene, PENSION)
    turn = _round(scene, "pension")
    if not turn.waiting:
        turn.waiting.extend(row for row in scene.city.rolls[PENSION] if row["period"] == turn.period)
        turn.period = next_period(turn.period)
    for last in turn.take(RUN_ROWS):
        if last["status"] != "STOPPED":
            person = {"citizen_id": last["citizen_id"]}
            columns = livelihood.pension_columns(scene.city, person, turn.period) | {"paid_at": scene.now}
            rows.append(scene.insert(PENSION, columns))


def pensions_archived(scene: Scene) -> None:
    """The oldest payments leave the live table."""
    _archive(scene, PENSION)


def _file(scene: Scene, tax: str) -> None:
    feed = f"{tax}.filing"
    rows, _ = _kept(scene, feed)
    turn = _round(scene, tax, firms.FILED_PERIODS[-1])
    if not turn.waiting:
        turn.period = next_period(turn.period)
        turn.waiting.extend(scene.city.rolls[f"{tax}.registration"])
    kinds = firms.TAXES[tax]
    for payer in turn.take(RUN_ROWS // 2):
        if payer["status"] != "CANCELLED":
            for kind in kinds[: scene.rng.choice((1, 2))]:
                columns = firms.filing_columns(scene.city, payer, kind, turn.period) | {"filed_at": scene.now}
                if scene.city.rolls[feed].get(columns["tax_no"], columns["tax_kind"], columns["period"]) is None:
                    rows.append(scene.insert(feed, columns))


def state_taxes_filed(scene: Scene) -> None:
    """A run of state tax filings."""
    _file(scene, "state_tax")


def local_taxes_filed(scene: Scene) -> None:
    """A run of local tax filings."""
    _file(scene, "local_tax")


def filing_amended(scene: Scene) -> None:
    """A taxpayer amends a filing."""
    feed = scene.rng.choice(("state_tax.filing", "local_tax.filing"))
    filing = scene.pick(feed)
    if filing is not None:
        amounts = {"declared_amount": money(scene.rng, 50, 90_000), "revenue": money(scene.rng, 2_000, 3_000_000)}
        scene.update(feed, filing, **amounts)


def filings_archived(scene: Scene) -> None:
    """The oldest filings leave the live tables."""
    _archive(scene, "state_tax.filing")
    _archive(scene, "local_tax.filing")
