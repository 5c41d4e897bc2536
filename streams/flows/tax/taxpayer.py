"""Taxpayer (纳税人): registrations and filings of one tax number at both tax offices (subjects `tax:<number>`); rule W9.

It is at the crossroads of its numbers. Filings stay here: who needs some to judge a cause asks by question, and hears of no
others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from schemas.dated.configuration import midnight
from schemas.expression.identifiers import normalise
from streams.flows.tax.identity import CITIZEN_ID, NOT_MATCHED, grouping_key, join, known, taxpayer_numbers
from streams.flows.tax.place import region_at
from streams.flows.tax.report import Party, cause, count_rows, report
from streams.flows.tax.rules import QUEUE, is_month
from streams.operators.flow import Fact, Outcome, RejectedRow, Row, Subject, Tell, queue_item
from streams.operators.name import comparable
from streams.operators.watch import Cause, Evidence, cite

REGISTRATIONS = ("state_tax.registration", "local_tax.registration")
REGISTRATION_COLUMNS = ("uscc", "org_code", "name", "region", "registered_date", "status", "status_date")
FILINGS = ("state_tax.filing", "local_tax.filing")
FILING_COLUMNS = ("revenue", "filed_at")

CANCELLED, NORMAL = "CANCELLED", "NORMAL"


def tax_subjects(row: Row) -> list[str]:
    """The subject of a row with a tax number: the same at both offices if the number is."""
    number = normalise(row["tax_no"])
    if not number:
        raise RejectedRow("TAX_NO_INVALID", "the tax number is empty")
    return [f"tax:{number}"]


def filing_subjects(row: Row) -> list[str]:
    """The subject of a filing. One of no month cannot be evidence."""
    if not is_month(row["period"]):
        raise RejectedRow("PERIOD_INVALID", "a filing's period is no month (yyyymm)")
    return tax_subjects(row)


def fold(subject: Subject) -> Outcome:
    """Say who this is, answer questions about filings, and watch whether anybody knows the entity (W9)."""
    outcome = Outcome()
    registrations = subject.of(*REGISTRATIONS)
    rows = [fact.row for fact in registrations if fact.row is not None] or [{"tax_no": subject.id}]
    numbers = list(dict.fromkeys(number for row in rows for number in taxpayer_numbers(row, subject.now)))
    info = {"key": subject.id, "registrations": [_registration(fact) for fact in registrations]}
    join(subject, outcome, numbers, taxpayer=info)
    _answer(subject, outcome)
    if registrations and not numbers:
        item = queue_item(
            f"{NOT_MATCHED}|{subject.key}",
            NOT_MATCHED,
            [subject.key],
            registrations,
            opened_at=registrations[0].event_at,
            detail="a tax registration without a number that can be matched on",
        )
        outcome.publish(QUEUE, item)
    entities = _entities(subject, numbers, registrations)
    proofs = [Evidence(at=entity["stays"][0][0], source=entity["source"]) for entity in entities]
    report(subject, outcome, [w9(subject, numbers, registrations)], {"W9": lambda _: proofs})
    count_rows(subject, outcome, *REGISTRATIONS, *FILINGS)
    return outcome


def w9(subject: Subject, numbers: Sequence[str], registrations: Sequence[Fact]) -> Cause | None:
    """W9: a tax registration exists; then commerce, staffing or civil affairs must know the entity."""
    living = [fact for fact in registrations if fact.row is not None and fact.row["status"] != CANCELLED]
    if not living:
        return None
    first = min(living, key=lambda fact: (fact.event_at, fact.feed))
    row = first.row or {}
    party = Party(
        key=grouping_key(numbers, f"TAX_NO:{subject.id}"), name=row["name"], tax_no=subject.id, region=row["region"]
    )
    return cause("W9", subject, "registered", first.event_at, party, living)


def _registration(fact: Fact) -> Row:
    row = fact.row or {}
    ended = row["status_date"]
    return {
        "source": cite(fact),
        "at": fact.event_at,
        "status": row["status"],
        "ended_at": fact.committed_at_ms * 1000 if ended is None else midnight(ended),
        "name": row["name"],
        "region": row["region"],
    }


def _entities(subject: Subject, numbers: Sequence[str], registrations: Sequence[Fact]) -> list[Mapping[str, Any]]:
    """Entities that this taxpayer is: by its codes, or by its owner where name and region agree (O3)."""
    codes = [number for number in numbers if not number.startswith(CITIZEN_ID)]
    found = known(subject, codes, "entities")
    owners = [number for number in numbers if number.startswith(CITIZEN_ID)]
    for entity in known(subject, owners, "entities"):
        if any(agrees(_registration(fact), entity) for fact in registrations):
            found.append(entity)
    return found


def agrees(registration: Row, entity: Row) -> bool:
    """O3: the owner's ID is equal already; so are the normalised name and the region of registration."""
    region = region_at(entity["stays"], registration["at"])
    names = comparable(registration["name"] or ""), comparable(entity["name"] or "")
    return names[0] == names[1] and registration["region"] == region


# ── questions about filings ──────────────────────────────────────────────────────────────────────────────────────────────


def ask(subject: Subject, outcome: Outcome, tax_no: str, questions: Iterable[Row]) -> None:
    """Ask a taxpayer for filings: rows of `feeds` and `kinds` (empty: any), of the months `first` to `last`."""
    told = sorted(questions, key=lambda row: (row["first"], row["last"], row["kinds"], row["feeds"]))
    if told:
        outcome.tells.append(Tell(f"tax:{tax_no}", "question", {"who": subject.key, "questions": told}))


def question(kinds: Iterable[str], first: str, last: str, feeds: Iterable[str] = ()) -> Row:
    """A question for `ask`."""
    return {"kinds": sorted(kinds), "feeds": sorted(feeds), "first": first, "last": last}


def answers(subject: Subject, tax_no: str) -> list[Mapping[str, Any]]:
    """The filings that a taxpayer told on being asked, ordered by month, kind and feed."""
    return [filing for row in subject.told("filings") if row["tax_no"] == tax_no for filing in row["filings"]]


def _answer(subject: Subject, outcome: Outcome) -> None:
    filings = [_filing(fact) for fact in subject.of(*FILINGS)]
    filings.sort(key=lambda filing: (filing["period"], filing["kind"], filing["source"]["feed"]))
    for told in subject.told("question"):
        found = [filing for filing in filings if any(_is_meant(filing, each) for each in told["questions"])]
        if found:
            outcome.tells.append(Tell(told["who"], "filings", {"tax_no": subject.id, "filings": found}))


def _is_meant(filing: Row, asked: Row) -> bool:
    return (
        asked["first"] <= filing["period"] <= asked["last"]
        and (not asked["kinds"] or filing["kind"] in asked["kinds"])
        and (not asked["feeds"] or filing["source"]["feed"] in asked["feeds"])
    )


def _filing(fact: Fact) -> Row:
    row = fact.row or {}
    return {
        "source": cite(fact),
        "kind": row["tax_kind"],
        "period": row["period"],
        "filed_at": fact.event_at,
        "revenue": int.from_bytes(row["revenue"] or b"", "big", signed=True),
    }
