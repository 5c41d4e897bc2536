"""One certificate (电子证照): its standing now, every use of it, and what about it needs a person."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from schemas.dated.configuration import midnight
from schemas.expression.identifiers import validate_citizen_id, validate_disability_card
from streams.flows.certificate.evidence import card_key, holder_key
from streams.flows.certificate.standing import Known, next_boundary, standing
from streams.flows.certificate.types import QUEUE, TYPES
from streams.flows.certificate.use import USE_FEED, publish_use
from streams.operators.flow import Fact, Outcome, Row, Subject, Tell, queue_item

CERTIFICATE_FEED = "certs.certificate"
CHECK_FEED = "certs.certificate_check"
STATUS = "certificate.status"


def certificates_of(row: Row) -> Iterable[str]:
    """The certificate itself, and the one that it renews."""
    return [f"certificate:{cert_id}" for cert_id in (row["cert_id"], row["previous_cert_id"]) if cert_id]


def fold_certificate(subject: Subject) -> Outcome:
    """The whole of what a certificate says. While a holder or a card has not answered yet, it says nothing."""
    outcome = Outcome()
    own = subject.facts.get(CERTIFICATE_FEED, {}).get(subject.id)
    uses = subject.of(USE_FEED)
    known = None
    if own is not None and own.row is not None:
        if own.row["type_code"] not in TYPES:
            item = queue_item(
                f"{subject.key}|TYPE_UNKNOWN", "TYPE_UNKNOWN", [subject.key], [own], opened_at=own.event_at
            )
            outcome.publish(QUEUE, item)
        else:
            known = _known(subject, own, own.row, outcome)
            if known is None:
                return outcome
            _publish_status(outcome, subject, own, own.row, known)
    for fact in uses:
        publish_use(outcome, subject.id, fact, known)
    return outcome


def _known(subject: Subject, own: Fact, row: Row, outcome: Outcome) -> Known | None:
    """Ask the holder and the card; what is known once they have answered, else None."""
    versions = [fact.with_earlier(()) for fact in (*own.earlier, own) if fact.row is not None]
    successors = [fact for fact in subject.of(CERTIFICATE_FEED) if fact.row_id != own.row_id]
    forged = {
        fact.row["version"]
        for fact in subject.of(CHECK_FEED)
        if fact.row and fact.row["result"] == "FORGED" and _is_of(fact.row, versions)
    }
    known = Known(versions, successors, number_fault=_number_fault(row), forged_versions=frozenset(forged))
    waits = False
    if (holder := holder_key(row["holder_id_type"], row["holder_id"])) is not None:
        outcome.tells.append(Tell(to=holder, tag="asks_holder", row={"certificate": subject.key}))
        answers = subject.told("life")
        waits = not answers
        known = replace(known, life=answers[-1] if answers else None)
    if TYPES[row["type_code"]].number_rule == "DISABILITY_CARD":
        outcome.tells.append(Tell(to=card_key(row["cert_no"]), tag="asks_card", row={"certificate": subject.key}))
        answers = subject.told("card")
        waits = waits or not answers
        known = replace(known, card=answers[-1] if answers else None)
    return None if waits else known


def _number_fault(row: Row) -> str | None:
    """The first step that a certificate's number fails (HANDBOOK J3, §5.4), where its type has a rule for numbers."""
    if TYPES[row["type_code"]].number_rule != "DISABILITY_CARD":
        return None
    holder = validate_citizen_id(row["holder_id"]).normalised or row["holder_id"]
    return validate_disability_card(row["cert_no"], declared={"citizen_id": holder}).code


def _is_of(check: Row, versions: Sequence[Fact]) -> bool:
    """Whether a check of a signature was made of a file that this certificate has or had."""
    return any(
        fact.row and (fact.row["version"], fact.row["file_digest"]) == (check["version"], check["file_digest"])
        for fact in versions
    )


def _publish_status(outcome: Outcome, subject: Subject, own: Fact, row: Row, known: Known) -> None:
    # The clock may be a tick behind what the rows tell of: a death or a renewal that is reported has happened.
    told = [fact.event_at for fact in (own, *known.successors)]
    if known.life is not None and known.life["death_date"] is not None:
        told.append(midnight(known.life["death_date"]))
    moment = max(subject.now, *told)
    found = standing(known, moment)
    if (boundary := next_boundary(known, moment)) is not None:
        outcome.wake(boundary)
    entry = TYPES[row["type_code"]]
    checked = {fact.row["version"] for fact in subject.of(CHECK_FEED) if fact.row and _is_of(fact.row, known.versions)}
    is_forged = row["version"] in known.forged_versions
    outcome.publish(
        STATUS,
        {
            "cert_id": subject.id,
            "type_code": entry.type_code,
            "type_name": entry.name,
            "is_public": entry.is_public,
            "issuer": row["issuer"],
            "issue_date": row["issue_date"],
            "valid_from": row["valid_from"],
            "valid_to": row["valid_to"],
            "version": row["version"],
            "file_digest": row["file_digest"],
            "signature_check": "FORGED" if is_forged else "GENUINE" if row["version"] in checked else "NOT_CHECKED",
            "status": found.status,
            "cause": found.cause,
            "since": found.since,
            "previous_cert_id": row["previous_cert_id"],
            "next_cert_id": known.successors[-1].row_id if known.successors else None,
        },
    )
    _queue(outcome, subject, own, known, found.cause)


def _queue(outcome: Outcome, subject: Subject, own: Fact, known: Known, cause: str) -> None:
    claims: Sequence[Fact] = [own]
    kinds: list[str] = []
    if cause in {"COUNTERFEIT_NUMBER", "FORGED_SIGNATURE", "HOLDER_DEAD"}:
        kinds.append(cause)
    revoked = {fact.row["status_date"]: fact for fact in known.versions if fact.row and fact.row["status"] == "REVOKED"}
    if len(revoked) > 1:
        kinds.append("REVOKED_TWICE")
        claims = list(revoked.values())
    if len(known.successors) > 1:
        kinds.append("RENEWED_TWICE")
    for kind in kinds:
        item = queue_item(f"{subject.key}|{kind}", kind, [subject.key], claims, opened_at=own.event_at)
        outcome.publish(QUEUE, item)
