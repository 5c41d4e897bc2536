"""Household checks go on: accepted, answered, read, decided, objected to, checked again, archived."""

from __future__ import annotations

from datetime import timedelta

from ops.city import household
from ops.city.events.person import find
from ops.city.household import ACCESS, ANSWERS, AUTHORISATION, CASE, DECISION, OBJECTION, Check
from ops.city.roll import Row
from ops.city.scene import Scene

_KEPT = 40
"""Decided cases that stay in the live tables at least."""


def _add(scene: Scene, check: Check, feed: str, *rows: Row) -> None:
    check.rows.setdefault(feed, []).extend(scene.insert(feed, row) for row in rows)


def accepted(scene: Scene) -> None:
    """A household check is accepted: case, members, authorisations and declarations in one transaction."""
    kind = scene.rng.choices(household.KINDS, tuple(household.COMPLETED.values()))[0]
    wanted = household.check_rows(scene.city, scene.now, kind)
    rows = {feed: [scene.insert(feed, row) for row in found] for feed, found in wanted.items()}
    due = scene.today + timedelta(days=household.REPORT_DAYS)
    household.files(scene.city).asked.append(Check(rows[CASE][0], rows, due))


def answered(scene: Scene) -> None:
    """The agencies that answer themselves do so; one case in twelve is withdrawn instead, with its authorisations."""
    asked = household.files(scene.city).asked
    if not asked:
        return
    check = asked.popleft()
    if not check.is_signed or scene.rng.random() < 0.08:
        scene.update(CASE, check.case, status="WITHDRAWN", status_date=scene.today)
        for paper in check.rows[AUTHORISATION]:
            scene.update(AUTHORISATION, paper, revoked_at=scene.now)
        household.files(scene.city).decided.append(check)
        return
    for feed in ANSWERS:
        _add(scene, check, feed, *household.answer_rows(scene.city, check, feed, scene.now))
    scene.update(CASE, check.case, status="CHECKING", status_date=scene.today)
    household.files(scene.city).reporting.append(check)


def authorisation_changes(scene: Scene) -> None:
    """Somebody renews an authorisation, or seldom takes it back while the case is under way (G1)."""
    paper = find(scene, AUTHORISATION, lambda row: row["revoked_at"] is None)
    if paper is None:
        return
    if scene.rng.random() < 0.1:
        scene.update(AUTHORISATION, paper, revoked_at=scene.now)
    elif paper["valid_to"].year < household.UNLIMITED.year:
        scene.update(AUTHORISATION, paper, valid_to=scene.today + timedelta(days=180))


def decided(scene: Scene) -> None:
    """Officers read the report of the oldest case that is due, and it is decided; some object (G6)."""
    files = household.files(scene.city)
    if not files.reporting or files.reporting[0].due > scene.today:
        return
    check = files.reporting.popleft()
    files.decided.append(check)
    for _ in range(scene.rng.choice((1, 1, 2))):
        _add(scene, check, ACCESS, household.access_columns(scene.city, check.case, scene.now))
    is_ineligible = scene.rng.random() < household.INELIGIBLE / sum(household.COMPLETED.values())
    _add(scene, check, DECISION, household.decision_columns(check.case, 1, scene.now, is_ineligible=is_ineligible))
    scene.update(CASE, check.case, status="CLOSED", status_date=scene.today)
    if scene.rng.random() < (0.5 if is_ineligible else 0.02):
        _add(scene, check, OBJECTION, household.objection_columns(scene.city, check, scene.now))


_NEXT = {
    "OPEN": ("PROVIDER_CHECKING",),
    "PROVIDER_CHECKING": ("REJECTED", "REJECTED", "UPHELD"),
    "UPHELD": ("CORRECTED",),
}


def objection_moves_on(scene: Scene) -> None:
    """An objection goes one step on; one that was right brings a re-check (复核), which may find otherwise."""
    objection = find(scene, OBJECTION, lambda row: row["status"] in _NEXT)
    if objection is None:
        return
    status = scene.rng.choice(_NEXT[objection["status"]])
    scene.update(OBJECTION, objection, status=status, status_date=scene.today)
    case_no = objection["case_no"]
    case, first = scene.city.rolls[CASE].get(case_no), scene.city.rolls[DECISION].get(case_no, 1)
    if status != "CORRECTED" or case is None or first is None or scene.city.rolls[DECISION].get(case_no, 2):
        return
    scene.insert(
        DECISION,
        household.decision_columns(case, 2, scene.now, is_ineligible=first["outcome"] != "INELIGIBLE"),
    )


def archived(scene: Scene) -> None:
    """The oldest decided case goes, with everything that hangs on it."""
    done = household.files(scene.city).decided
    if len(done) <= _KEPT:
        return
    check = done.popleft()
    case_no = check.case["case_no"]
    if (second := scene.city.rolls[DECISION].get(case_no, 2)) is not None:
        scene.delete(DECISION, second)
    for feed, rows in check.rows.items():
        for row in rows:
            scene.delete(feed, row)
