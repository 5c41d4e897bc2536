"""Identifier: which person a number leads to, as `base.identifier`.

Each row has one subject that writes it, whoever the number belongs to now; otherwise the delete of the one person and the
create of the other would meet under one key, in no order. An identity number's row is written by that number's own subject,
also when it went out of use; the row of another document by a subject of the document, which its holder tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from schemas.expression.identifiers import normalise
from streams.flows.person.evidence import ID_TYPES, holder, key_of, number_of
from streams.flows.person.ladder import Judged
from streams.flows.person.move import Change, Gathered, hand_over, successor
from streams.operators.flow import Outcome, Row, Subject, Tell
from streams.operators.merge import IdentifierClaim, spans


def identify(outcome: Outcome, subject: Subject, gathered: Gathered, judged: Judged) -> None:
    """Publish the number in use, in all its forms, and tell former numbers and documents whose they are."""
    key = key_of(subject)
    outcome.publish("base.identifier", *_rows(_own_forms(subject, gathered, None), key))
    for former in gathered.superseded:
        outcome.tells.append(Tell(to=holder(former), tag="holder", row={"subject_key": key}))
    for fact in judged.accepted:
        row = fact.row or {}
        match fact.feed:
            case "police.residence_permit":
                document, valid_from, valid_to = "RESIDENCE_PERMIT", row["valid_from"], row["valid_to"] + 1
            case "disabled.card":
                document, valid_from, valid_to = "DISABILITY_CARD", row["issue_date"], row["valid_to"] + 1
            case "edu.student":
                document, valid_from, valid_to = "STUDENT_NO", None, None
            case _:
                continue
        row = {"subject_key": key, "valid_from": valid_from, "valid_to": valid_to}
        outcome.tells.append(Tell(to=f"document:{document}|{fact.row_id}", tag="holder", row=row))


def former_number(subject: Subject, gathered: Gathered, change: Change) -> Iterator[Row]:
    """The rows of a number that went out of use: they lead to who tells it to be its holder, else to the next number."""
    holders = sorted(row["subject_key"] for row in subject.told("holder"))
    key = holders[0] if holders else f"CITIZEN_ID:{change.new}"
    return _rows(_own_forms(subject, gathered, change.effective), key)


def handed_over(subject: Subject, gathered: Gathered) -> Outcome | None:
    """What is said of a number that went out of use: to whom everything goes. None for one in use."""
    change = successor(subject, gathered)
    if change is None:
        return None
    outcome = hand_over(subject, gathered, change)
    outcome.publish("base.identifier", *former_number(subject, gathered, change))
    return outcome


def document(subject: Subject) -> Outcome:
    """Fold a document other than an identity number: one row, that of its holder."""
    outcome = Outcome()
    id_type, _, id_no = subject.id.partition("|")
    told = sorted(subject.told("holder"), key=lambda row: row["subject_key"])
    if told:
        claim = IdentifierClaim(id_type, id_no, told[0]["valid_from"], told[0]["valid_to"], "")
        outcome.publish("base.identifier", *_rows([claim], told[0]["subject_key"]))
    return outcome


def _own_forms(subject: Subject, gathered: Gathered, until: int | None) -> Iterator[IdentifierClaim]:
    """The number as it is, and the forms of 15 digits under which rows or the police know it; `until` ends them all."""
    id_type = ID_TYPES.get(subject.kind, "CITIZEN_ID")
    yield IdentifierClaim(id_type, subject.id, None, until, "")
    for fact in gathered.facts:
        row = fact.row or {}
        if fact.feed == "police.id_change" and fact.row is not None:
            if number_of(row["new_id"]) == subject.id:
                yield IdentifierClaim(id_type, subject.id, row["effective_date"], until, fact.feed)
                if (
                    number_of(row["old_id"]) == subject.id
                ):  # from 15 digits to 18: nobody else, and both stay resolvable
                    yield IdentifierClaim(id_type, normalise(row["old_id"]), None, row["effective_date"], fact.feed)
        elif (text := row.get("citizen_id")) is not None and number_of(text) == subject.id:
            yield IdentifierClaim(id_type, normalise(text), None, until, fact.feed)


def _rows(claims: Iterable[IdentifierClaim], key: str) -> Iterator[Row]:
    for claim in spans(claims):
        yield {
            "id_type": claim.id_type,
            "id_no": claim.id_no,
            "subject_kind": "PERSON",
            "subject_key": key,
            "valid_from": claim.valid_from,
            "valid_to": claim.valid_to,
        }
