"""Households apply for homes at a capped price (限价房), and are answered."""

from __future__ import annotations

from collections import deque

from ops.city.events.person import find
from ops.city.people import homes
from ops.city.people.homes import APPLICATION, MEMBER
from ops.city.people.roll import Row
from ops.city.scene import Scene

_KEPT = 25


def applied(scene: Scene) -> None:
    """A household applies: the application and its members in one transaction."""
    wanted = homes.application_rows(scene.city, scene.now)
    rows = {feed: [scene.insert(feed, row) for row in found] for feed, found in wanted.items()}
    done: deque[dict[str, list[Row]]] = scene.memory.setdefault("homes", deque())
    done.append(rows)
    if len(done) > _KEPT and done[0][APPLICATION][0]["status"] != "SUBMITTED":
        for feed, old in done.popleft().items():
            for row in old:
                scene.delete(feed, row)


def decided(scene: Scene) -> None:
    """The office decides about an application, or the household withdraws it."""
    application = find(scene, APPLICATION, lambda row: row["status"] == "SUBMITTED")
    if application is None or (scene.now - application["submitted_at"]).days < 1:
        return
    status = scene.rng.choices(("APPROVED", "REFUSED", "WITHDRAWN"), (50, 40, 10))[0]
    scene.update(APPLICATION, application, status=status, status_date=scene.today)


def member_changes(scene: Scene) -> None:
    """A name on an application is corrected."""
    member = scene.pick(MEMBER)
    resident = None if member is None else scene.city.rolls["police.resident"].get(member["citizen_id"])
    if member is not None and resident is not None and member["name"] != resident["name"].strip():
        scene.update(MEMBER, member, name=resident["name"].strip())
