"""Departments deal with the registrations that they are told of."""

from __future__ import annotations

from datetime import timedelta

from ops.city import registration
from ops.city.scene import Scene

_TOLD_MAX = 3_000
"""Items that may wait at once: what the departments never get to is forgotten here, and escalates there."""


def acted(scene: Scene) -> None:
    """A department claims an item, refuses it or passes it on; others act after it."""
    told = registration.told(scene.city)
    while len(told) > _TOLD_MAX:
        told.popleft()
    if not told:
        return
    entry = told.popleft()
    if scene.city.rolls["aic.scope_item"].get(entry[0], entry[1]) is None:
        return  # given up meanwhile
    for feed, row in registration.acts(scene.city, entry, scene.now):
        if scene.city.rolls[feed].get(row["ent_id"], row["item_code"], row["agency"]) is None:
            scene.insert(feed, row)


def reconsidered(scene: Scene) -> None:
    """A department claims after all what it had refused."""
    feed = f"{scene.rng.choice(registration.CLAIMING)}.registration_claim"
    act = scene.pick(feed)
    if act is not None and act["action"] == "REFUSE":
        scene.update(feed, act, action="CLAIM", reason=None, acted_at=scene.now)


def claim_archived(scene: Scene) -> None:
    """Claims of entities that are no longer in the register leave with them."""
    feed = f"{scene.rng.choice(registration.CLAIMING)}.registration_claim"
    act = scene.pick(feed)
    if act is not None and scene.city.rolls["aic.scope_item"].get(act["ent_id"], act["item_code"]) is None:
        long_ago = scene.now - act["acted_at"] > timedelta(days=2)
        if long_ago:
            scene.delete(feed, act)
