"""Evidence (证据): what the shared registers have of a person, told to a case only while the case may ask.

A case asks by a tell; the person answers with counts and the few columns that a report shows, per source that was asked for,
and so do the rows without a number that bear its name. Once the asking ends, the answers are withdrawn (minimisation).

| tell     | to            | row                                                                                              |
|----------|---------------|--------------------------------------------------------------------------------------------------|
| asked    | person, name  | case_no, citizen_id (the member's), name, sources, visited (numbers that the question came by)      |
| evidence | case          | citizen_id, by (the teller), visited, asked, forwarded, found {source: count, uncertain, tier, …}   |

A corrected number (police.id_change) forwards a question to the person's other numbers; `forwarded` names them, so that the case
knows whom it has yet to hear.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from streams.flows.inquiry.identity import CERTAIN, Member, canonical, tier, tier_by_name
from streams.flows.inquiry.sources import Source, Sources
from streams.operators.flow import Fact, Fold, Input, Outcome, RejectedRow, Row, Subject, Tell
from streams.operators.name import comparable

ASKED, EVIDENCE = "asked", "evidence"
ITEMS_MAX = 20
"""Items of one source that a case is told of; the count is of all."""
_RESIDENT, _CHANGE = "police.resident", "police.id_change"
_SHARED_NUMBER = "DUPLICATE_NUMBER"
_CANDIDATE = "P5"


def folds(sources: Sources) -> Mapping[str, Fold]:
    """How a flow that asks these sources folds its persons and names."""
    return {
        "person": Fold(partial(fold_person, sources), waits_for=ASKED),
        "name": Fold(partial(fold_name, sources), waits_for=ASKED),
    }


def inputs(sources: Sources) -> list[Input]:
    """What such a flow reads for them: the sources' shared registers, and corrections of identity numbers."""
    return [*sources.inputs(), changes_input()]


def changes_input() -> Input:
    """Corrections of identity numbers: a question to one number goes on to the other."""

    def subjects(row: Row) -> Iterable[str]:
        old, new = canonical(row["old_id"]), canonical(row["new_id"])
        if old is None or new is None:
            raise RejectedRow("ID_CHANGE_INVALID", "old_id, new_id")
        return () if old == new else (f"person:{old}", f"person:{new}")

    return Input(feed=_CHANGE, subjects=subjects, columns=["old_id", "new_id", "reason"])


def fold_person(sources: Sources, subject: Subject) -> Outcome:
    """A person: every case that asks is told what it asked for, and nothing else."""
    outcome = Outcome()
    for asked in subject.told(ASKED):
        others = _other_numbers(subject, asked["visited"])
        for number, is_shared in others:
            visited = [*asked["visited"], number]
            forwarded = {**asked, "visited": visited, "is_candidate": asked["is_candidate"] or is_shared}
            outcome.tells.append(_asking(f"person:{number}", forwarded))
        found = _found(sources, subject, asked)
        outcome.tells.append(_answer(subject, asked, found, [f"person:{number}" for number, _ in others]))
    return outcome


def fold_name(sources: Sources, subject: Subject) -> Outcome:
    """Rows that name somebody without a number: to everybody of that name who is asked about, a count, never the data."""
    outcome = Outcome()
    for asked in subject.told(ASKED):
        found: dict[str, Any] = {}
        for source in _asked_sources(sources, asked):
            candidates: list[tuple[str, Fact]] = []
            for fact, row in _rows(subject, source):
                if (grade := tier_by_name(row, source.birth, asked["citizen_id"])) is not None:
                    candidates.append((grade, fact))
            if candidates:
                found[source.code] = _summary([], candidates, [])
        outcome.tells.append(_answer(subject, asked, found, []))
    return outcome


def _asking(to: str, asked: Row) -> Tell:
    # By its whole way: two numbers may forward the same question to a third.
    return Tell(to=to, tag=ASKED, row=asked, id=f"{asked['case_no']}|{'>'.join(asked['visited'])}")


def questions(case_no: str, household: Iterable[Member], sources: Sequence[str]) -> list[Tell]:
    """A case's questions about its members, to the persons and to their names. The subject `case:<case_no>` is told."""
    found: list[Tell] = []
    for member in household:
        row = {
            "case_no": case_no,
            "citizen_id": member.citizen_id,
            "name": member.name,
            "sources": list(sources),
            "visited": [member.citizen_id],
            "is_candidate": False,
        }
        found.append(_asking(f"person:{member.citizen_id}", row))
        if name := comparable(member.name):
            found.append(_asking(f"name:{name}", row))
    return found


def _answer(subject: Subject, asked: Row, found: Row, forwarded: Sequence[str]) -> Tell:
    row = {
        "citizen_id": asked["citizen_id"],
        "by": subject.key,
        "visited": asked["visited"],
        "asked": asked["sources"],
        "found": found,
        "forwarded": list(forwarded),
    }
    return Tell(to=f"case:{asked['case_no']}", tag=EVIDENCE, row=row, id=">".join(asked["visited"]))


def _other_numbers(subject: Subject, visited: Iterable[str]) -> list[tuple[str, bool]]:
    """The other numbers that this person had or has, and whether such a one was somebody else's as well (重号)."""
    found: dict[str, bool] = {}
    seen = {subject.id, *visited}
    for fact in subject.of(_CHANGE):
        row = fact.row or {}
        for number in (canonical(row["old_id"]), canonical(row["new_id"])):
            if number is not None and number not in seen:
                found[number] = found.get(number, False) or row["reason"] == _SHARED_NUMBER
    return sorted(found.items())


def _asked_sources(sources: Sources, asked: Row) -> list[Source]:
    wanted = set(asked["sources"])
    return [source for source in sources.every() if source.code in wanted]


def _rows(subject: Subject, source: Source) -> list[tuple[Fact, Row]]:
    return [(fact, fact.row) for fact in subject.of(source.feed) if fact.row is not None and source.counts(fact.row)]


def _found(sources: Sources, subject: Subject, asked: Row) -> dict[str, Any]:
    registered = [fact.row for fact in subject.of(_RESIDENT) if fact.row is not None]
    present = [asked["name"], *(row["name"] for row in registered if row["name"])]
    former = [row["former_name"] for row in registered if row["former_name"]]
    found: dict[str, Any] = {}
    for source in _asked_sources(sources, asked):
        certain: list[tuple[str, Fact]] = []
        uncertain: list[tuple[str, Fact]] = []
        rows: list[Row] = []
        # The register of residents is what names are compared with; its own is compared with what the household wrote.
        names = [asked["name"]] if source.feed == _RESIDENT else present
        for fact, row in _rows(subject, source):
            grade = tier(row, source.holders, subject.id, names, former)
            if grade is None:
                continue
            if asked["is_candidate"]:
                grade = max(grade, _CANDIDATE)
            if grade in CERTAIN:
                certain.append((grade, fact))
                rows.append(source.item(row))
            else:
                uncertain.append((grade, fact))
        if certain or uncertain:
            found[source.code] = _summary(certain, uncertain, rows)
    return found


def _summary(
    certain: Sequence[tuple[str, Fact]], uncertain: Sequence[tuple[str, Fact]], items: Iterable[Row]
) -> dict[str, Any]:
    graded = certain or uncertain
    return {
        "count": len(certain),
        "uncertain": len(uncertain),
        "tier": max(grade for grade, _ in graded),
        "items": _newest(items),
        "at": max(fact.committed_at_ms for _, fact in (*certain, *uncertain)) * 1000,
    }


def _newest(items: Iterable[Row]) -> list[Row]:
    """One item per reference, its newest: months of one employer's insurance are one finding."""
    by_reference: dict[str, Row] = {}
    for item in items:
        known = by_reference.get(item["reference"] or "")
        if known is None or _age(item) > _age(known):
            by_reference[item["reference"] or ""] = item
    return sorted(by_reference.values(), key=_age, reverse=True)[:ITEMS_MAX]


def _age(item: Row) -> tuple[int, str, int]:
    return (item["day"] or 0, item["value"] or "", item["amount"] or 0)
