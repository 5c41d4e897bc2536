"""The quota for new cars goes on: applications, answers, re-reviews, draws and awards."""

from __future__ import annotations

import hmac
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

from ops.city import assets, quota
from ops.city.chance import next_period
from ops.city.events.person import find
from ops.city.quota import AGENCIES, APPLICATION, AWARD, DRAW, Review
from ops.city.roll import Row
from ops.city.scene import Scene

_KEPT = 5_500_000
"""Applications of the real city that stay in the live table; of what is above that, those that came to an end leave it."""


def applied(scene: Scene) -> None:
    """Somebody applies; after the cut-off it is for the month after."""
    month = f"{scene.today:%Y%m}"
    period = month if scene.today.day <= quota.CUTOFF_DAY else next_period(month)
    columns = quota.application_columns(scene.city, scene.rng.random() < 0.98, period, scene.now)
    quota.desk(scene.city).reviews.append(Review(scene.insert(APPLICATION, columns)))


def answered(scene: Scene) -> None:
    """Departments answer for an application, each in its own register; some take their time."""
    reviews = quota.desk(scene.city).reviews
    if not reviews:
        return
    place = int(scene.rng.random() * len(reviews))
    reviews[place], reviews[-1] = reviews[-1], reviews[place]
    review = reviews.pop()
    if scene.city.rolls[APPLICATION].get(review.application["app_code"]) is None:
        return
    still: list[str] = []
    for agency in review.waiting:
        if scene.rng.random() < 0.25 or not _answers(scene, review, agency):
            still.append(agency)
    review.waiting = still
    quota.place(scene.city, review)
    state = quota.state_of(review)
    if review.application["status"] not in {state, "WITHDRAWN", "AWARDED"}:
        scene.update(APPLICATION, review.application, status=state, status_date=scene.today)


def _answers(scene: Scene, review: Review, agency: str) -> bool:
    """One department's answer; whether it settles the matter there."""
    feed = f"{agency}.quota_result"
    given = scene.city.rolls[feed].get(review.application["app_code"], review.round, agency)
    row = quota.answer_columns(scene.city, review.application, agency, review.round, scene.now)
    if given is None:
        scene.insert(feed, row)
    else:  # it had asked for papers, or answers otherwise than before
        answer = {name: row[name] for name in ("verdict", "reason_code", "evidence_ref", "answered_at")}
        scene.update(feed, given, **answer)
    if row["verdict"] == "FAIL":
        review.failed.append(agency)
    return row["verdict"] in {"PASS", "FAIL"}


def contradicted(scene: Scene) -> None:
    """A department takes its answer back and gives another one."""
    feed = f"{scene.rng.choice(AGENCIES)}.quota_result"
    given = scene.pick(feed)
    if given is not None and given["verdict"] == "PASS":
        reason = scene.rng.choice(quota.REASONS[given["agency"]])
        scene.update(feed, given, verdict="FAIL", reason_code=reason, answered_at=scene.now)


def re_review(scene: Scene) -> None:
    """Somebody who was refused asks for a re-review (复核)."""
    refused = quota.desk(scene.city).refused
    if not refused:
        return
    review = refused.pop()
    application = review.application
    if application["status"] != "NOT_VALID" or scene.city.rolls[APPLICATION].get(application["app_code"]) is None:
        return
    scene.insert("transport.quota_review", quota.review_columns(review, scene.now))
    quota.again(review)
    quota.desk(scene.city).reviews.append(review)
    scene.update(APPLICATION, application, status="REVIEWING", status_date=scene.today)


def archived(scene: Scene) -> None:
    """An application withdraws, or one that came to an end leaves the tables with everything that hangs on it."""
    application = scene.pick(APPLICATION)
    if application is None:
        return
    is_over = application["status"] in {"NOT_VALID", "WITHDRAWN"} or _is_drawn(scene, application)
    if application["period"] >= f"{scene.today:%Y%m}":
        if scene.rng.random() < 0.03 and application["status"] not in {"WITHDRAWN", "AWARDED"}:
            scene.update(APPLICATION, application, status="WITHDRAWN", status_date=scene.today)
    elif is_over and len(scene.city.rolls[APPLICATION]) > scene.city.count(_KEPT):
        _delete(scene, application)


def _is_drawn(scene: Scene, application: Row) -> bool:
    draw = scene.city.rolls[DRAW].get(application["period"], application["quota_kind"])
    return draw is not None and draw["draw_key"] is not None and application["status"] != "AWARDED"


def _delete(scene: Scene, application: Row) -> None:
    code = application["app_code"]
    for number in range(1, 6):
        for agency in AGENCIES:
            feed = f"{agency}.quota_result"
            if (row := scene.city.rolls[feed].get(code, number, agency)) is not None:
                scene.delete(feed, row)
        request = scene.city.rolls["transport.quota_review"].get(code, number + 1)
        if request is None:
            break
        scene.delete("transport.quota_review", request)
    scene.delete(APPLICATION, application)


# ── draws ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Step:
    """What is to be done about a period on a day."""

    day: date
    act: Callable[[Scene, str], None]
    period: str


def draw_goes_on(scene: Scene) -> None:
    """The next step of a draw, if its day has come: commitment, key, awards."""
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
            key = quota.draw_key(scene.city, period, kind)
            scene.update(DRAW, draw, draw_key=key.hex())
            winners = _winners(scene, period, kind, key)[: draw["quota"]]
            scene.memory.setdefault("winners", deque()).extend(winners)
    _plan(scene, _Step(scene.today + timedelta(days=1), _award, period))


def _winners(scene: Scene, period: str, kind: str, key: bytes) -> list[Row]:
    """The codes in the order of the draw; looked through once a month, when everybody else does so too."""
    wanted = ("LOTTERY", period, kind, "VALID")
    columns = ("method", "period", "quota_kind", "status")
    codes = [row for row in scene.city.rolls[APPLICATION] if tuple(row[name] for name in columns) == wanted]
    return sorted(codes, key=lambda row: hmac.digest(key, row["app_code"].encode(), "sha256"))


def _award(scene: Scene, period: str) -> None:
    """Winners get their quotas; one in five turns out to have bought a car meanwhile, which is seen before (E8)."""
    winners: deque[Row] = scene.memory.get("winners", deque())
    while winners and winners[0]["period"] <= period:
        application = winners.popleft()
        if scene.city.rolls[APPLICATION].get(application["app_code"]) is None:
            continue
        if scene.rng.random() < 0.2 and application["id_type"] == "CITIZEN_ID":
            owner = {"owner_id": application["applicant_id"], "owner_name": application["name"]}
            scene.insert("police.vehicle", assets.vehicle_columns(scene.city, scene.today) | owner)
            scene.update(APPLICATION, application, status="NOT_VALID", status_date=scene.today)
            continue
        scene.insert(AWARD, quota.award_columns(scene.city, application, scene.today))
        scene.update(APPLICATION, application, status="AWARDED", status_date=scene.today)


def award_used(scene: Scene) -> None:
    """A quota is used for a car, runs out or is withdrawn; one that ended before is deleted in time."""
    award = find(scene, AWARD, lambda row: row["status"] == "VALID")
    if award is not None:
        status = scene.rng.choices(("USED", "WITHDRAWN", "EXPIRED"), (90, 5, 5))[0]
        scene.update(AWARD, award, status=status, status_date=scene.today)
        application = scene.city.rolls[APPLICATION].get(award["app_code"])
        if status == "USED" and application is not None and application["id_type"] == "CITIZEN_ID":
            owner = {"owner_id": application["applicant_id"], "owner_name": application["name"]}
            scene.insert("police.vehicle", assets.vehicle_columns(scene.city, scene.today) | owner)
