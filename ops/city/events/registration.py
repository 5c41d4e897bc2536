"""Registers of claims are cleared up; what departments do about what they are told is theirs (ops/city/office)."""

from __future__ import annotations

from datetime import timedelta

from ops.city.firms import registration
from ops.city.scene import Scene


def claim_archived(scene: Scene) -> None:
    """Claims of entities that are no longer in the register leave with them."""
    feed = f"{scene.rng.choice(registration.CLAIMING)}.registration_claim"
    act = scene.pick(feed)
    if act is not None and scene.city.rolls["aic.scope_item"].get(act["ent_id"], act["item_code"]) is None:
        long_ago = scene.now - act["acted_at"] > timedelta(days=2)
        if long_ago:
            scene.delete(feed, act)
