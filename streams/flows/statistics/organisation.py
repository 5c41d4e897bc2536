"""Organisation: one organisation of the base archive in the city's figures: by district, kind, industry and status.

Counted since it was established, with the status of each day from its timeline. The district is the registered one; before the
archive first saw it, the first one known.
"""

from __future__ import annotations

from schemas.dated.calendar import day_at
from streams.flows.statistics.book import Book, State
from streams.flows.statistics.place import Place, report
from streams.flows.statistics.settings import UNKNOWN
from streams.operators.flow import Fact, Outcome, Row, Subject

ORGANISATION = "base.organisation"


def organisation(subject: Subject) -> Outcome:
    """Fold of one organisation."""
    outcome = Outcome()
    for fact in subject.facts.get(ORGANISATION, {}).values():
        versions = (*fact.earlier, fact)
        known = [version for version in versions if version.row is not None]
        if known:
            _count(subject, fact, known, outcome)
    return outcome


def _count(subject: Subject, fact: Fact, known: list[Fact], outcome: Outcome) -> None:
    book = Book(outcome, subject.now)
    newest: Row = known[-1].row or {}
    steps = [(day_at(version.event_at), version.row or {}) for version in known]
    first_seen, gone = steps[0][0], day_at(fact.event_at) if fact.row is None else None
    begins = newest["established"] if newest["established"] is not None else first_seen
    industry = (newest["industry"] or "")[:1] or UNKNOWN

    def place_on(day: int) -> Place:
        since, row = next(((since, row) for since, row in reversed(steps) if since <= day), steps[0])
        as_of = row["region_as_of"]
        return Place(row["reg_region"], as_of if as_of is not None else since)

    def state_on(day: int) -> State | None:
        if day < begins or (gone is not None and day >= gone):
            return None
        status = _status_on(newest, day)
        return place_on(day), f"kind={newest['kind']};industry={industry};status={status}"

    days = {begins, *(day for day, _ in steps)} | ({gone} if gone is not None else set())
    days |= {entry["valid_from"] for entry in newest["status_timeline"] if entry["valid_from"] is not None}
    days |= {entry["valid_to"] for entry in newest["status_timeline"] if entry["valid_to"] is not None}
    book.stock("organisations", days, state_on)
    if newest["established"] is not None and gone is None:
        place = place_on(begins)
        book.flow("registrations", begins, lambda on: (place.on(on), f"kind={newest['kind']}"))
    if fact.row is not None:
        report(place_on(steps[-1][0]), subject.key, fact, outcome)


def _status_on(row: Row, day: int) -> str:
    """The status of a day: by the timeline where it reaches, else the present one."""
    for entry in row["status_timeline"]:
        begins, ends = entry["valid_from"], entry["valid_to"]
        if (begins is None or begins <= day) and (ends is None or day < ends):
            return entry["status"]
    return row["status"]
