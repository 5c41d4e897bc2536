"""Number: a text in an identity number's place that is nobody's for certain: a wrong check digit, an uncertain century.

If the police state what it was changed to (错号), all that came under it goes to the right person. Until then it merges with
nobody: rows that say a name and a birth date ask the index, the others wait in the queue.
"""

from __future__ import annotations

from schemas.expression.identifiers import NumberStatus, validate_citizen_id
from streams.flows.person.evidence import claim_key
from streams.flows.person.identifier import handed_over
from streams.flows.person.move import gather
from streams.operators.flow import Outcome, Subject, Tell
from streams.operators.merge import conflict

_NO_CLAIM = ("police.id_change", "health.birth_certificate")
"""A parent's wrong number is not the child's: the certificate is matched by the child's name."""


def number(subject: Subject) -> Outcome:
    """Fold a number that is nobody's."""
    gathered = gather(subject)
    if (moved := handed_over(subject, gathered)) is not None:
        return moved
    outcome = Outcome()
    found = validate_citizen_id(subject.id)
    is_ambiguous = found.status is NumberStatus.AMBIGUOUS_CENTURY
    kind = "AMBIGUOUS_CENTURY" if is_ambiguous else "CITIZEN_ID_INVALID"
    candidates = [f"CITIZEN_ID:{candidate}" for candidate in found.candidates]
    for fact in gathered.facts:
        if fact.row is None or fact.feed in _NO_CLAIM:
            continue
        key = claim_key(fact.feed, fact.row)
        if key is None:
            item = conflict(kind, candidates, [fact], detail=found.code or "", within=subject.key)
            outcome.publish("base.conflict", item)
        else:
            outcome.tells.append(
                Tell(
                    to=key,
                    tag="claim",
                    id=f"{fact.feed}|{fact.row_id}",
                    event_at=fact.event_at,
                    row={
                        "feed": fact.feed,
                        "row_id": fact.row_id,
                        "position": fact.position,
                        "event_at": fact.event_at,
                        "committed_at_ms": fact.committed_at_ms,
                        "row": fact.row,
                        "why": kind,
                    },
                )
            )
    return outcome
