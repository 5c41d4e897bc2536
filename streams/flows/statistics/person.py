"""Person: one person of the base archive in the city's figures: by district, sex, age band and life status; deaths and moves.

Counted while in the archive, where they live (residence, else household registration). Sex, dates and life status are taken as
the archive knows them now, for the past too: they do not change, they get corrected. A change of district is a move.
"""

from __future__ import annotations

from schemas.dated.calendar import day_at
from streams.flows.statistics.book import Book, State
from streams.flows.statistics.place import Place, report
from streams.flows.statistics.settings import UNKNOWN, age_band, band_days
from streams.operators.flow import Fact, Outcome, Row, Subject

PERSON = "base.person"
DECEASED = "DECEASED"


def person(subject: Subject) -> Outcome:
    """Fold of one person."""
    outcome = Outcome()
    for fact in subject.facts.get(PERSON, {}).values():
        versions = (*fact.earlier, fact)
        known = [version.row for version in versions if version.row is not None]
        if known:
            _count(subject, versions, known[-1], outcome)
    return outcome


def _count(subject: Subject, versions: tuple[Fact, ...], newest: Row, outcome: Outcome) -> None:
    book = Book(outcome, subject.now)
    steps = [(day_at(version.event_at), version.row) for version in versions]
    life = _life_steps(steps, newest)
    birth = newest["birth_date"]
    sex = newest["sex"] or "0"

    def state_on(day: int) -> State | None:
        row = _row_on(steps, day)
        if row is None:
            return None
        status = next(status for since, status in reversed(life) if since <= day)
        age = "" if status == DECEASED else f";age={age_band(birth, day)}"
        return place_of(row, _since(steps, day)), f"sex={sex}{age};life={status}"

    days = [day for day, _ in steps]
    begins = min(days)  # of a replayed past, a later version may tell of an earlier day
    days += [day for day, _ in life if day > begins]
    days += [day for day in (band_days(birth) if birth is not None else ()) if day > begins]
    book.stock("persons", days, state_on)
    _death(steps, newest, life, sex, book)
    _moves(steps, book)
    last_day, last = steps[-1]
    if last is not None:
        report(place_of(last, last_day), subject.key, versions[-1], outcome)


def place_of(row: Row, day: int) -> Place:
    """Where a person is counted."""
    as_of = row["region_as_of"]
    return Place(row["residence_region"] or row["hukou_region"], as_of if as_of is not None else day)


def _row_on(steps: list[tuple[int, Row | None]], day: int) -> Row | None:
    return next((row for since, row in reversed(steps) if since <= day), None)


def _since(steps: list[tuple[int, Row | None]], day: int) -> int:
    return max((since for since, _ in steps if since <= day), default=day)


def _life_steps(steps: list[tuple[int, Row | None]], newest: Row) -> list[tuple[int, str]]:
    """Since when which life status holds: as known now, from the date of death where there is one."""
    status, begins = newest["life_status"] or UNKNOWN, min(day for day, _ in steps)
    if status == "ALIVE":
        return [(begins, status)]
    since = newest["death_date"] if status == DECEASED else None
    if since is None:
        since = begins
        for day, row in reversed(steps):
            if row is not None and row["life_status"] != status:
                break
            since = day
    return [(begins, status)] if since <= begins else [(begins, "ALIVE"), (since, status)]


def _death(steps: list[tuple[int, Row | None]], newest: Row, life: list[tuple[int, str]], sex: str, book: Book) -> None:
    if newest["life_status"] != DECEASED or steps[-1][1] is None:
        return
    day = newest["death_date"] if newest["death_date"] is not None else life[-1][0]
    row = _row_on(steps, day)
    first = next((day, row) for day, row in steps if row is not None)
    place = place_of(row, _since(steps, day)) if row is not None else place_of(first[1], first[0])
    book.flow("deaths", day, lambda on: (place.on(on), f"sex={sex}"))


def _moves(steps: list[tuple[int, Row | None]], book: Book) -> None:
    """A change of district, in the boundaries of that day; one of boundaries alone is none."""
    former: Place | None = None
    for day, row in steps:
        if row is None:
            former = None
            continue
        place = place_of(row, day)
        if former is not None and former.code and place.code:
            book.flow("moves", day, _Move(former, place))
        former = place


class _Move:
    """A move between two places: an entry at the second, unless both are one region in the boundaries asked for."""

    def __init__(self, origin: Place, place: Place) -> None:
        self._origin, self._place = origin, place

    def __call__(self, on: int) -> tuple[str, str] | None:
        origin, place = self._origin.on(on), self._place.on(on)
        return (place, f"from={origin}") if origin != place else None
