"""Periods: from which day until before which a row said something, and the timeline of statuses that follows.

Days are Avro dates; ends are exclusive; None is open, or unknown at the beginning. Versions of a row are ordered by position,
which is the order of its own registry and no other (invariant 2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.dated.calendar import day_at
from streams.flows.organisation.rules import UNKNOWN
from streams.operators.flow import Fact, Row

ACTIVE = "ACTIVE"
_ALWAYS = -(1 << 31)


@dataclass(frozen=True, slots=True)
class Period:
    """A value and when it held; `first` is the version of the row that brought it."""

    value: Any
    valid_from: int | None
    valid_to: int | None
    first: Fact


def committed_day(fact: Fact) -> int:
    """The day on which a version was committed."""
    return day_at(fact.committed_at_ms * 1000)


def versions(fact: Fact) -> list[Fact]:
    """The versions of a row, oldest first, since it was last deleted: what a registry deletes it takes back whole."""
    kept: list[Fact] = []
    for version in (*fact.earlier, fact):
        if version.row is None:
            kept.clear()
        else:
            kept.append(version)
    return kept


def periods(
    rows: Sequence[Fact], read: Callable[[Row], Any], begins: int | None, ends: int | None = None
) -> list[Period]:
    """When each value held. What the first version known says holds from `begins`; nothing holds from `ends` on.

    What was written down only after the end held before it, since an unknown day.
    """
    found: list[Period] = []
    for fact in rows:
        value = read(fact.row or {})
        if found and found[-1].valid_to is None and found[-1].value == value:
            continue
        day = begins if fact is rows[0] else committed_day(fact)
        _close(found, day)
        if value is not None:
            found.append(Period(value, day, None, fact))
    if ends is not None and found and found[-1].valid_to is None:
        last = found.pop()
        is_known = last.valid_from is None or last.valid_from < ends
        found.append(Period(last.value, last.valid_from if is_known else None, ends, last.first))
    return found


def _close(found: list[Period], day: int | None) -> None:
    if not found or found[-1].valid_to is not None:
        return
    last = found.pop()
    if day is not None and (last.valid_from is None or last.valid_from < day):  # else it never held for a day
        found.append(Period(last.value, last.valid_from, day, last.first))


@dataclass(frozen=True, slots=True)
class StatusPoint:
    """From this day on the status is this one; None: since ever."""

    day: int | None
    status: str


def timeline(
    rows: Sequence[Fact], changes: Iterable[Fact], statuses: Mapping[str, str], established: int | None
) -> list[StatusPoint]:
    """The statuses one after the other: without overlap, no two alike side by side, the last one the row's present status.

    `rows` are the versions of the entity's row, `changes` its registered changes of status (变更登记), which reach back to
    before the first version known. Of two statements about one day the row's wins; a version that corrects the past takes back
    what earlier versions said of the time from then on.
    """
    runs = _runs(rows, statuses)
    present = runs[-1].status
    dated = [(established, 0, StatusPoint(established, ACTIVE))]
    for fact in sorted(changes, key=lambda fact: ((fact.row or {})["changed_date"], (fact.row or {})["seq"])):
        row = fact.row or {}
        status = statuses.get(row["new_value"])
        if status is not None:
            dated.append((row["changed_date"], 1, StatusPoint(row["changed_date"], status)))
    dated += [(run.day, 2, run) for run in runs if run.day is not None]
    dated.sort(key=lambda entry: (_since(entry[2]), entry[1]))
    points: list[StatusPoint] = []
    for _, _, point in dated:
        if points and points[-1].day == point.day:
            points.pop()
        if not points or points[-1].status != point.status:
            points.append(point)
    while points and points[-1].status != present:  # ahead of the row, or taken back by it
        points.pop()
    return points or [StatusPoint(None, present)]


def _runs(rows: Sequence[Fact], statuses: Mapping[str, str]) -> list[StatusPoint]:
    """The statuses that the versions went through. A day of None says no more than that it has been so."""
    found: list[StatusPoint] = []
    for fact in rows:
        row = fact.row or {}
        status = statuses.get(row["status"], UNKNOWN)
        is_same = bool(found) and found[-1].status == status
        day = row["status_date"]
        if is_same and day is None:
            continue
        if day is None and (found or status != ACTIVE):
            day = committed_day(fact)
        if is_same:
            found.pop()
        while found and day is not None and _since(found[-1]) >= day:
            found.pop()
        if not found or found[-1].status != status:
            found.append(StatusPoint(day, status))
    return found


def _since(point: StatusPoint) -> int:
    return _ALWAYS if point.day is None else point.day
