"""Licences, court lists and permits come, change and go."""

from __future__ import annotations

from datetime import timedelta

from ops.city.events.person import find
from ops.city.firms import papers, registration
from ops.city.people import names
from ops.city.scene import Scene

DEBTOR, BUILDING = "court.dishonest_debtor", "construction.permit"
_LICENCES = tuple(papers.LICENCES)


def _register(scene: Scene) -> str:
    return scene.rng.choices(_LICENCES, (55, 18, 15, 12))[0]


def licence_issued(scene: Scene) -> None:
    """A licence is issued."""
    feed = _register(scene)
    trades = papers.LICENCES[feed][0]
    firm = find(scene, "aic.enterprise", lambda row: row["status"] == "ACTIVE" and row["industry"] in trades)
    if firm is not None:
        scene.insert(feed, papers.licence_columns(scene.city, feed, firm, scene.today))


def licence_changes(scene: Scene) -> None:
    """A licence is renewed, changes its item or district, or ends."""
    feed = _register(scene)
    licence = scene.pick(feed)
    if licence is None:
        return
    choice = scene.rng.random()
    if choice < 0.4:
        until = scene.today + timedelta(days=5 * 365)
        scene.update(feed, licence, valid_to=until, status="VALID", status_date=None)
    elif choice < 0.6:
        items = registration.ITEMS_OF[feed.partition(".")[0]]
        scene.update(feed, licence, item_code=scene.rng.choice(items))
    elif choice < 0.8:
        scene.update(feed, licence, region=names.other_region(scene.rng, licence["region"]))
    else:
        status = scene.rng.choice(("REVOKED", "CANCELLED"))
        scene.update(feed, licence, status=status, status_date=scene.today)


def licence_archived(scene: Scene) -> None:
    """A licence that ended is deleted."""
    feed = _register(scene)
    licence = find(scene, feed, lambda row: row["status"] != "VALID")
    if licence is not None:
        scene.delete(feed, licence)


def debtor_listed(scene: Scene) -> None:
    """A court lists a dishonest debtor (失信被执行人)."""
    scene.insert(DEBTOR, papers.debtor_columns(scene.city, scene.today))


def debtor_removed(scene: Scene) -> None:
    """A debtor has paid and is shielded from the list."""
    debtor = find(scene, DEBTOR, lambda row: row["removed_date"] is None)
    if debtor is not None:
        scene.update(DEBTOR, debtor, removed_date=scene.today)


def debtor_archived(scene: Scene) -> None:
    """An entry that was shielded is deleted."""
    debtor = find(scene, DEBTOR, lambda row: row["removed_date"] is not None)
    if debtor is not None:
        scene.delete(DEBTOR, debtor)


def permit_issued(scene: Scene) -> None:
    """A construction permit is issued."""
    scene.insert(BUILDING, papers.construction_columns(scene.city, scene.today))


def permit_changes(scene: Scene) -> None:
    """A building site stops, goes on or is completed; completed ones are deleted in time."""
    permit = scene.pick(BUILDING)
    if permit is None:
        return
    if permit["status"] == "COMPLETED":
        scene.delete(BUILDING, permit)
    else:
        status = scene.rng.choice(("SUSPENDED", "ISSUED", "COMPLETED", "COMPLETED"))
        scene.update(BUILDING, permit, status=status, status_date=scene.today)
