"""Credit records come, are objected to, repaired and settled, and go."""

from __future__ import annotations

from collections import deque

from ops.city.chance import money
from ops.city.events.person import find
from ops.city.firms import credit
from ops.city.firms.credit import ARREARS, LIST, OBJECTION, PENALTIES, REPAIR
from ops.city.people.roll import Row
from ops.city.scene import Scene


def penalty_decided(scene: Scene) -> None:
    """A penalty is decided, by one of two departments."""
    feed, firm = scene.rng.choice(PENALTIES), scene.pick("aic.enterprise")
    if firm is not None:
        scene.insert(feed, credit.penalty_columns(scene.city, feed, firm, scene.today))


def penalty_revoked(scene: Scene) -> None:
    """A penalty is revoked, or its amount corrected."""
    feed = scene.rng.choice(PENALTIES)
    penalty = scene.pick(feed)
    if penalty is None:
        return
    if scene.rng.random() < 0.5:
        scene.update(feed, penalty, revoked_date=scene.today)
    else:
        scene.update(feed, penalty, amount=money(scene.rng, 500, 50_000))


def penalty_archived(scene: Scene) -> None:
    """A penalty is no longer published and leaves its table."""
    feed = scene.rng.choice(PENALTIES)
    penalty = scene.pick(feed)
    if penalty is None or len(scene.city.rolls[feed]) <= scene.city.count(90_000):
        return
    if penalty["publish_until"] < scene.today or penalty["revoked_date"] is not None:
        scene.delete(feed, penalty)


def list_changes(scene: Scene) -> None:
    """Somebody is put on a red or black list, or taken off; who was taken off is deleted."""
    entry = scene.pick(LIST)
    if entry is None or scene.rng.random() < 0.4:
        scene.insert(LIST, credit.list_columns(scene.city, scene.today))
    elif entry["removed_date"] is None:
        scene.update(LIST, entry, removed_date=scene.today)
    else:
        scene.delete(LIST, entry)


def arrears_change(scene: Scene) -> None:
    """An employer falls behind with insurance, or settles; what was settled is deleted."""
    arrears = scene.pick(ARREARS)
    if arrears is None or scene.rng.random() < 0.45:
        columns = credit.arrears_columns(scene.city, f"{scene.today:%Y%m}")
        if columns is not None and scene.city.rolls[ARREARS].key_of(columns) not in scene.city.rolls[ARREARS]:
            scene.insert(ARREARS, columns)
    elif arrears["settled_date"] is None:
        if arrears["due_date"] <= scene.today:
            scene.update(ARREARS, arrears, settled_date=scene.today)
    else:
        scene.delete(ARREARS, arrears)


def _contested(scene: Scene) -> deque[tuple[Row, str, Row]]:
    """Objections under way, each with the feed and the row that it is about."""
    return scene.memory.setdefault("contested", deque())


def objection_raised(scene: Scene) -> None:
    """Somebody objects to a record (疑义)."""
    feed = scene.rng.choice(credit.OBJECTED_TO)
    row = scene.pick(feed)
    if row is not None:
        objection = scene.insert(OBJECTION, credit.objection_columns(scene.city, feed, row, scene.now))
        _contested(scene).append((objection, feed, row))


def objection_moves_on(scene: Scene) -> None:
    """The provider looks into an objection, then rejects it with a reason, or finds it right and corrects the record."""
    if not _contested(scene):
        return
    objection, feed, row = _contested(scene).popleft()
    if objection["state"] == "OPEN":
        scene.update(OBJECTION, objection, state="PROVIDER_CHECKING")
        _contested(scene).append((objection, feed, row))
    elif objection["state"] == "UPHELD":
        if scene.city.rolls[feed].get(*scene.city.rolls[feed].key_of(row)) is not row:
            return
        if objection["field"] == "amount":
            scene.update(feed, row, amount=money(scene.rng, 100, 5_000))
        elif "removed_date" in row:
            scene.update(feed, row, removed_date=scene.today)
        else:
            scene.update(feed, row, revoked_date=scene.today)
    else:
        state = scene.rng.choice(("REJECTED", "UPHELD"))
        scene.update(OBJECTION, objection, **credit.answer_columns(state, scene.now))
        if state == "UPHELD":
            _contested(scene).append((objection, feed, row))


def objection_archived(scene: Scene) -> None:
    """An objection that was answered long ago leaves the live table."""
    objection = scene.pick(OBJECTION)
    if objection is not None and objection["state"] == "REJECTED":
        scene.delete(OBJECTION, objection)


def repair_applied(scene: Scene) -> None:
    """Somebody who was punished applies for credit repair (信用修复)."""
    penalty = scene.pick("fda.penalty")
    if penalty is not None and (scene.today - penalty["decided_date"]).days > 30:
        scene.insert(REPAIR, credit.repair_columns(scene.city, "fda.penalty", penalty, scene.today))


def repair_decided(scene: Scene) -> None:
    """A repair is granted or refused."""
    repair = find(scene, REPAIR, lambda row: row["status"] == "APPLIED")
    if repair is not None:
        status = scene.rng.choice(("GRANTED", "GRANTED", "REFUSED"))
        scene.update(REPAIR, repair, status=status, status_date=scene.today)
