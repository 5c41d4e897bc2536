"""Tax offices hear late of what they should know, and see meters read and land paid for. Warnings their own programs answer."""

from __future__ import annotations

from collections import deque

from ops.city.chance import next_period
from ops.city.events.month import Round
from ops.city.events.person import find
from ops.city.firms import firms, taxes
from ops.city.firms.taxes import PARCEL, USAGE
from ops.city.people.roll import Row
from ops.city.scene import Scene

_READINGS = 30
"""Meters read in one round of the reader."""


def registered_late(scene: Scene) -> None:
    """A firm that should have registered for tax long ago does: the warning about it is settled."""
    unregistered = taxes.books(scene.city).unregistered
    if not unregistered:
        return
    firm = unregistered.popleft()
    if firm["status"] != "ACTIVE" or scene.city.rolls["aic.enterprise"].get(firm["ent_id"]) is not firm:
        return
    for tax in firms.TAXES:
        columns = firms.tax_columns(scene.city, firm, tax) | {"registered_date": scene.today}
        if scene.city.rolls[f"{tax}.registration"].get(columns["tax_no"]) is None:
            scene.insert(f"{tax}.registration", columns)


def registration_lost(scene: Scene) -> None:
    """A tax registration was entered by mistake: it is deleted, and its firm is one of those that never registered."""
    firm = find(scene, "aic.enterprise", lambda row: row["status"] == "ACTIVE" and row["org_code"] is not None)
    if firm is None:
        return
    number = firm["uscc"] or f"440199{firm['org_code']}"
    rows = [(feed, scene.city.rolls[feed].get(number)) for feed in (f"{tax}.registration" for tax in firms.TAXES)]
    if any(row is not None for _, row in rows):
        taxes.books(scene.city).unregistered.append(firm)
    for feed, row in rows:
        if row is not None:
            scene.delete(feed, row)


def parcel_sold(scene: Scene) -> None:
    """A parcel of land is sold (土地出让)."""
    parcel = scene.insert(PARCEL, taxes.parcel_columns(scene.city, scene.today))
    if float(parcel["paid_amount"]) < float(parcel["price"]):
        taxes.books(scene.city).unpaid.append(parcel)


def parcel_paid(scene: Scene) -> None:
    """A parcel is paid in full; most buyers file land-use tax from then on."""
    unpaid = taxes.books(scene.city).unpaid
    if not unpaid:
        return
    parcel = unpaid.popleft()
    scene.update(PARCEL, parcel, paid_amount=parcel["price"])
    number, period = parcel["grantee_uscc"], next_period(f"{scene.today:%Y%m}")
    if number is None or scene.rng.random() < 0.4:
        return
    if scene.city.rolls["local_tax.filing"].get(number, "LAND_USE", period) is None:
        columns = taxes.land_use_columns(scene.city, number, period) | {"filed_at": scene.now}
        scene.insert("local_tax.filing", columns)


def meters_read(scene: Scene) -> None:
    """The reader goes along a street; when every meter was read, a new month begins."""
    turn: Round = scene.memory.setdefault("meters", Round(taxes.READ_PERIODS[-1]))
    if not turn.waiting:
        turn.period = next_period(turn.period)
        turn.waiting.extend(taxes.books(scene.city).meters)
    kept = _kept(scene)
    for meter in turn.take(_READINGS):
        kept.append(scene.insert(USAGE, taxes.usage_columns(scene.city, meter, turn.period)))


def _kept(scene: Scene) -> deque[Row]:
    if "readings" not in scene.memory:
        scene.memory["readings"] = deque(sorted(scene.city.rolls[USAGE], key=lambda row: row["period"]))
    return scene.memory["readings"]


def readings_archived(scene: Scene) -> None:
    """The oldest readings leave the live table."""
    rows = _kept(scene)
    most = len(taxes.READ_PERIODS) * len(taxes.books(scene.city).meters)
    for _ in range(min(_READINGS, len(rows) - most)):
        scene.delete(USAGE, rows.popleft())


def reading_corrected(scene: Scene) -> None:
    """A reading was wrong."""
    reading = scene.pick(USAGE)
    if reading is not None:
        scene.update(USAGE, reading, quantity=f"{float(reading['quantity']) * (0.9 + scene.rng.random() * 0.2):.2f}")
