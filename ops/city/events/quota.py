"""The quota for new cars goes on: people apply, withdraw and buy, and the draws are held.

What departments do about it is theirs (ops/city/office): answers, verdicts, re-reviews, awards.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

from ops.city import quota
from ops.city.chance import next_period
from ops.city.people import assets
from ops.city.quota import APPLICATION, DRAW
from ops.city.scene import Scene


def applied(scene: Scene) -> None:
    """Somebody applies; after the cut-off it is for the month after."""
    month = f"{scene.today:%Y%m}"
    period = month if scene.today.day <= quota.CUTOFF_DAY else next_period(month)
    columns = quota.application_columns(scene.city, scene.rng.random() < 0.98, period, scene.now)
    scene.insert(APPLICATION, columns)


def withdrawn(scene: Scene) -> None:
    """Somebody withdraws an application before its period's freeze."""
    application = scene.pick(APPLICATION)
    if application is None or application["status"] == "WITHDRAWN":
        return
    month = f"{scene.today:%Y%m}"
    if application["period"] > month or (application["period"] == month and scene.today.day < quota.FREEZE_DAY):
        scene.update(APPLICATION, application, status="WITHDRAWN", status_date=scene.today)


def applicant_buys_a_car(scene: Scene) -> None:
    """Somebody who has applied buys a car all the same, as a winner may before the award (E8)."""
    application = scene.pick(APPLICATION)
    if application is not None and application["id_type"] == "CITIZEN_ID":
        owner = {
            "owner_id_type": "CITIZEN_ID",
            "owner_id": application["applicant_id"],
            "owner_name": application["name"],
        }
        scene.insert("police.vehicle", assets.vehicle_columns(scene.city, scene.today) | owner)


# ── draws ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Step:
    """What is to be done about a period on a day."""

    day: date
    act: Callable[[Scene, str], None]
    period: str


def draw_goes_on(scene: Scene) -> None:
    """The next step of a draw, if its day has come: commitment, then key."""
    if "draws" not in scene.memory:
        first = _Step(scene.today + timedelta(days=1), _reveal, quota.CLOSED_PERIOD)
        scene.memory["draws"] = deque([first, _Step(_day(quota.OPEN_PERIOD, 10), _promise, quota.OPEN_PERIOD)])
    steps: deque[_Step] = scene.memory["draws"]
    if steps and steps[0].day <= scene.today:
        step = steps.popleft()
        step.act(scene, step.period)


def _plan(scene: Scene, *steps: _Step) -> None:
    scene.memory["draws"] = deque(sorted([*scene.memory["draws"], *steps], key=lambda step: step.day))


def _day(period: str, day: int) -> date:
    return date(int(period[:4]), int(period[4:]), day)


def _promise(scene: Scene, period: str) -> None:
    """The commitment to the draw key is published, before the key is (E7)."""
    for kind in ("ORDINARY", "NEW_ENERGY"):
        if scene.city.rolls[DRAW].get(period, kind) is None:
            scene.insert(DRAW, quota.draw_columns(scene.city, period, kind))
    follower = next_period(period)
    _plan(
        scene,
        _Step(_day(period, quota.DRAW_DAY), _reveal, period),
        _Step(_day(follower, quota.CUTOFF_DAY + 1), _promise, follower),
    )


def _reveal(scene: Scene, period: str) -> None:
    """The draw: the key is public, and with it who has won."""
    for kind in ("ORDINARY", "NEW_ENERGY"):
        draw = scene.city.rolls[DRAW].get(period, kind)
        if draw is not None and draw["draw_key"] is None:
            scene.update(DRAW, draw, draw_key=quota.draw_key(scene.city, period, kind).hex())
