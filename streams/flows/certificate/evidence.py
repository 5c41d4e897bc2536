"""Those who know something of certificates: holders (are they alive?) and disability cards (is the number genuine?).

A certificate asks, they answer; nobody known is an answer too, so that a certificate need not guess meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from schemas.expression.identifiers import normalise, validate_citizen_id, validate_disability_card
from streams.flows.certificate.types import QUEUE
from streams.operators.flow import Outcome, Row, Subject, Tell, queue_item

PERSON_FEED = "base.person"
CARD_FEED = "disabled.card"


def holder_key(id_type: str, number: str) -> str | None:
    """The subject of a natural person by a validated citizen ID; None for organisations and numbers that are no good."""
    canonical = validate_citizen_id(number).normalised if id_type == "CITIZEN_ID" else None
    return canonical and f"holder:{canonical}"


def holders_of(row: Row) -> Iterable[str]:
    """The holders that a row of the person archive speaks of: the person's number and those that it supersedes."""
    numbers = (holder_key(row["id_type"], number) for number in (row["id_no"], *(row["supersedes"] or ())))
    return dict.fromkeys(number for number in numbers if number is not None)


def fold_holder(subject: Subject) -> Outcome:
    """Tells the certificates of a person whether that person is alive, as the archive has it."""
    outcome = Outcome()
    lives = [fact.row for fact in subject.of(PERSON_FEED) if fact.row is not None]
    own = [row for row in lives if row["id_no"] == subject.id] or lives
    life: dict[str, Any] = {"life_status": None, "death_date": None}
    if own:
        life = {name: own[-1][name] for name in life}
    for ask in subject.told("asks_holder"):
        outcome.tells.append(Tell(to=ask["certificate"], tag="life", row=life))
    return outcome


def card_key(number: str) -> str:
    """The subject of a disability card number as written."""
    return f"card:{normalise(number) or '-'}"


def fold_card(subject: Subject) -> Outcome:
    """A card's own check (HANDBOOK J3): characters 1-18 are the citizen ID, then the digits of kind and level."""
    outcome = Outcome()
    answer: dict[str, Any] = {"fault": "UNKNOWN", "status": None, "citizen_id": None}
    for fact in subject.of(CARD_FEED):
        row = fact.row or {}
        declared = {name: row[name] for name in ("citizen_id", "kind", "level")}
        result = validate_disability_card(row["card_no"], declared=declared)
        answer = {"fault": result.code, "status": row["status"], "citizen_id": result.facts.get("citizen_id")}
        if result.code is not None:
            detail = "the number and the columns citizen_id, kind, level do not agree"
            kind = f"CARD_{result.code}"
            item = queue_item(f"{CARD_FEED}|{fact.position}", kind, [], [fact], opened_at=fact.event_at, detail=detail)
            outcome.publish(QUEUE, item)
    for ask in subject.told("asks_card"):
        outcome.tells.append(Tell(to=ask["certificate"], tag="card", row=answer))
    return outcome
