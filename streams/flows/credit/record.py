"""A credit record (信用记录): one row of a gathered feed, in exactly one database or unmatched, and in the views it may be in.

| state     | meaning                                                       | leaves the views with reason |
|-----------|---------------------------------------------------------------|------------------------------|
| PUBLISHED | in force                                                      |                              |
| EXPIRED   | its term of publication is over, by event time                | PUBLICATION_EXPIRED          |
| REVOKED   | the department revoked, removed or settled it                 | RETRACTED                    |
| ENDED     | it is no longer in force by its own status                    | RETRACTED                    |
| REPAIRED  | credit repair (信用修复) was granted                           | RETRACTED                    |

The databases keep every record; only a deletion in the source takes one out of them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from streams.flows.credit.match import Claim, claim_of, owner_of
from streams.flows.credit.objection import QUEUE, doubts_of, queue_strays
from streams.flows.credit.sources import FEEDS, KINDS, VIEWS, choice, is_live, value
from streams.flows.credit.views import next_change, projections
from streams.operators.flow import Fact, Outcome, RejectedRow, Row, Subject, Tell, queue_item
from streams.operators.publish import term_until

REPAIR_FEED = "aic.credit_repair"
GATHERED = tuple(dict.fromkeys(entry.values["feed"] for entry in FEEDS.entries))
_RECORD_ID = re.compile("[0-9a-f]{32}")
_FOR_A_PERSON = {"KIND_MISMATCH", "AMBIGUOUS"}
_REASONS = {"EXPIRED": "PUBLICATION_EXPIRED"}


def database(kind: str) -> str:
    """The feed of a subject kind's database."""
    return f"credit.{kind.lower()}"


def view(name: str) -> str:
    """The feed of a view."""
    return f"credit.view_{name}"


def record_id_of(feed: str, identity: str) -> str:
    """The public name of a record: a digest, since the key of some feeds holds a citizen ID.

    Enumerating citizen IDs could undo it for who knows the rest of the key: grant it to the public under the mask HASH.
    """
    return hashlib.sha256(f"{feed}|{identity}".encode()).hexdigest()[:32]


def about_record(row: Row) -> list[str]:
    """The record that an objection or a repair is about."""
    if _RECORD_ID.fullmatch(row["record_id"]) is None:
        raise RejectedRow("RECORD_ID_INVALID", "32 hexadecimal digits, as any view shows them")
    return [f"record:{row['record_id']}"]


def fold_record(subject: Subject) -> Outcome:
    """The whole of what one record says: its place, its views, its objections, its share of the statistics."""
    outcome = Outcome()
    fact = next((fact for feed in GATHERED for fact in subject.facts.get(feed, {}).values()), None)
    entry = FEEDS.find(fact.event_at, fact.feed) if fact else None
    has_ended = bool(fact and fact.row and entry and value(entry, "ended", fact.row) is not None)
    doubts = doubts_of(subject, fact, entry, has_ended=has_ended)
    outcome.publish("credit.objection", *doubts.rows)
    queue_strays(subject, fact, entry, outcome)
    if fact is None or fact.row is None:
        _explain(outcome, "SOURCE_DELETED")
        return outcome
    total = f"statistic:{fact.feed}"
    outcome.counts[total, "received"] = 1
    if entry is None:
        _unmatched(outcome, subject, fact, Claim(None, reason="FEED_NOT_IN_FORCE"), None, "FEED_NOT_IN_FORCE")
        return outcome
    claim = claim_of(entry, fact.row)
    owner, reason = _owner(subject, claim, outcome)
    if reason == "PENDING":
        outcome.counts[total, "pending"] = 1
        _explain(outcome, "RETRACTED")
    elif reason is not None:
        _unmatched(outcome, subject, fact, claim, entry, reason)
    elif owner is not None:
        record = _record(subject, fact, entry, claim, owner)
        record |= {"disputed": doubts.is_disputed, "corrected": doubts.is_corrected}
        outcome.counts[total, owner["kind"]] = 1
        _place(outcome, subject, record, entry)
    return outcome


def _owner(subject: Subject, claim: Claim, outcome: Outcome) -> tuple[Mapping[str, Any] | None, str | None]:
    """Who the record is about, or why that is not known; PENDING until the number's registers have answered."""
    if claim.reason is not None:
        return None, claim.reason
    if claim.person is not None:
        return {"key": f"person:{claim.person}", "kind": "PERSON", "number": claim.person}, None
    assert claim.identifier is not None
    asked = "|".join(claim.identifier)
    outcome.tells.append(Tell(to=f"identifier:{asked}", tag="ask", row={"record": subject.key}))
    for answer in subject.told("owner"):
        if answer["identifier"] == asked:
            owner, reason = owner_of(claim, answer["owners"])
            return ({**owner, "number": claim.identifier[1]} if owner else None), reason
    return None, "PENDING"


def _record(
    subject: Subject, fact: Fact, entry: Mapping[str, Any], claim: Claim, owner: Mapping[str, Any]
) -> dict[str, Any]:
    row = fact.row or {}
    happened, until = value(entry, "happened", row), value(entry, "until", row)
    if until is None and entry.get("days") is not None and happened is not None:
        until = happened + int(entry["days"])
    return {
        "record_id": subject.id,
        "subject_kind": owner["kind"],
        "subject_key": owner["key"],
        "subject_id": owner["number"],
        "subject_name": value(entry, "name", row),
        "match_method": claim.method,
        "category": entry["category"],
        "list_kind": choice(entry["list"], row) if isinstance(entry["list"], Mapping) else entry["list"],
        "title": value(entry, "title", row),
        "detail": value(entry, "detail", row),
        "amount": value(entry, "amount", row),
        "happened": happened,
        "publish_until": until,
        "state": _state(subject, entry, row, until),
        "source_feed": fact.feed,
        "source_position": fact.position,
    }


def _state(subject: Subject, entry: Mapping[str, Any], row: Row, until: int | None) -> str:
    if value(entry, "ended", row) is not None:
        return "REVOKED"
    if not is_live(entry, row):
        return "ENDED"
    if any(fact.row and fact.row["status"] == "GRANTED" for fact in subject.of(REPAIR_FEED)):
        return "REPAIRED"
    return "EXPIRED" if term_until(until).is_over(subject.now) else "PUBLISHED"


def _place(outcome: Outcome, subject: Subject, record: dict[str, Any], entry: Mapping[str, Any]) -> None:
    outcome.publish(database(record["subject_kind"]), record)
    if record["list_kind"] == "BLACK":  # told also when it is over: the reason travels with it
        told = ("record_id", "subject_kind", "subject_key", "subject_id", "subject_name", "category")
        row = {name: record[name] for name in (*told, "happened", "state", "disputed")}
        outcome.tells.append(Tell(to=f"party:{record['subject_key']}", tag="black", row=row))
    _explain(outcome, _REASONS.get(record["state"], "RETRACTED"))
    if record["state"] != "PUBLISHED":
        return
    projected = projections(record, subject.now)
    for name in entry["views"]:
        outcome.publish(view(name), projected[name])
        outcome.counts[f"statistic:{record['source_feed']}", name] = 1
    for moment in (term_until(record["publish_until"]).ends, next_change(subject.now)):
        if moment is not None:
            outcome.wake(moment)


def _unmatched(
    outcome: Outcome, subject: Subject, fact: Fact, claim: Claim, entry: Mapping[str, Any] | None, reason: str
) -> None:
    _explain(outcome, "RETRACTED")
    outcome.counts[f"statistic:{fact.feed}", "unmatched"] = 1
    outcome.publish(
        "credit.unmatched",
        {
            "record_id": subject.id,
            "source_feed": fact.feed,
            "category": entry and entry["category"],
            "declared_kind": claim.kind,
            "reason": reason,
            "happened_at": fact.event_at,
            "source_position": fact.position,
        },
    )
    if reason in _FOR_A_PERSON:
        item = queue_item(f"{subject.key}|{reason}", reason, [subject.key], [fact], opened_at=fact.event_at)
        outcome.publish(QUEUE, item)


def _explain(outcome: Outcome, reason: str, names: Sequence[str] = VIEWS) -> None:
    """Say why what this fold takes out of a view goes: the same everywhere, in the same fold."""
    outcome.reasons |= {view(name): reason for name in names}
    if reason == "SOURCE_DELETED":
        outcome.reasons |= {database(kind): reason for kind in KINDS}
