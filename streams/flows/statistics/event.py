"""Event: one birth or marriage, counted on its own day at its own place."""

from __future__ import annotations

from schemas.dated.calendar import day_at
from schemas.dated.configuration import DAY_MICROS
from streams.flows.statistics.book import Book
from streams.flows.statistics.place import Place, named, report
from streams.operators.flow import Outcome, Subject

BIRTH, MARRIAGE = "health.birth_certificate", "civil.marriage"
_MARRIAGES = {"MARRIAGE": "marriages", "DIVORCE": "divorces"}


def birth(subject: Subject) -> Outcome:
    """Fold of one birth certificate: born on that day in that district."""
    outcome = Outcome()
    for fact in subject.of(BIRTH):
        row = fact.row or {}
        day = (
            row["born_at"] // DAY_MICROS if row["born_at"] is not None else day_at(fact.event_at)
        )  # Beijing's own time
        place = Place(row["birth_region"], day)
        sex = row["sex"] or "0"
        Book(outcome, subject.now).flow("births", day, lambda on, place=place, sex=sex: (place.on(on), f"sex={sex}"))
        report(place, subject.key, fact, outcome)
    return outcome


def marriage(subject: Subject) -> Outcome:
    """Fold of one entry of the marriage register: where it was registered, from the office's name. A reissue is no event."""
    outcome = Outcome()
    for fact in subject.of(MARRIAGE):
        row = fact.row or {}
        statistic = _MARRIAGES.get(row["kind"])
        if statistic is None:
            continue
        day = row["registered_date"] if row["registered_date"] is not None else day_at(fact.event_at)
        place = Place(named(row["registry"] or "", day), day)
        Book(outcome, subject.now).flow(statistic, day, lambda on, place=place: (place.on(on), ""))
    return outcome
