"""Household checks go on: cases are accepted, authorisations change, some withdraw.

What departments answer and decide is theirs (ops/city/office).
"""

from __future__ import annotations

from datetime import timedelta

from ops.city.events.person import find
from ops.city.people import household
from ops.city.people.household import AUTHORISATION, CASE
from ops.city.scene import Scene

_WITHDRAWN_WITHIN_DAYS = 12
"""Before any report: the slowest source has fifteen working days."""


def accepted(scene: Scene) -> None:
    """A household check is accepted: case, members, authorisations and declarations in one transaction."""
    kind = scene.rng.choices(household.KINDS, tuple(household.COMPLETED.values()))[0]
    wanted = household.check_rows(scene.city, scene.now, kind)
    for feed, found in wanted.items():
        for row in found:
            scene.insert(feed, row)


def withdrawn(scene: Scene) -> None:
    """Somebody withdraws, with the authorisations, while it is still being asked about."""
    case = scene.pick(CASE)
    if case is None or case["status"] != "ACCEPTED" or (scene.now - case["accepted_at"]).days >= _WITHDRAWN_WITHIN_DAYS:
        return
    scene.update(CASE, case, status="WITHDRAWN", status_date=scene.today)
    for paper in [paper for paper in scene.city.rolls[AUTHORISATION] if paper["case_no"] == case["case_no"]]:
        scene.update(AUTHORISATION, paper, revoked_at=scene.now)


def authorisation_changes(scene: Scene) -> None:
    """Somebody renews an authorisation, or seldom takes it back while the case is under way (G1)."""
    paper = find(scene, AUTHORISATION, lambda row: row["revoked_at"] is None)
    if paper is None:
        return
    if scene.rng.random() < 0.1:
        scene.update(AUTHORISATION, paper, revoked_at=scene.now)
    elif paper["valid_to"].year < household.UNLIMITED.year:
        scene.update(AUTHORISATION, paper, valid_to=scene.today + timedelta(days=180))
