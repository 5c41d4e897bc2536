"""Objections (疑义) to credit records: OPEN → PROVIDER_CHECKING → REJECTED, or UPHELD → CORRECTED (HANDBOOK §6.3).

The provider says whether an objection is upheld; that it is *corrected* is what we see: the record has ended, or the field no
longer has the value that was seen. Until then the record stays disputed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from streams.operators.flow import Fact, Outcome, Subject, queue_item

FEED = "aic.credit_objection"
QUEUE = "credit.queue"
_STANDING = {"OPEN", "PROVIDER_CHECKING", "UPHELD"}
VIEW_FIELDS = {
    "subject_name": "name",
    "title": "title",
    "detail": "detail",
    "amount": "amount",
    "happened": "happened",
    "publish_until": "until",
}
_EPOCH = date(1970, 1, 1)
_SCALE = -2


@dataclass(slots=True)
class Doubts:
    """What objections come to for their record; `rows` are those of `credit.objection`."""

    is_disputed: bool = False
    is_corrected: bool = False
    rows: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])


def value_hash(entry: Mapping[str, Any], column: str, value: Any) -> str:
    """SHA-256 of a value as people read it: dates as 2016-10-31, amounts with two decimals, null as empty text."""
    if value is None:
        text = ""
    elif isinstance(value, bytes):
        text = str(Decimal(int.from_bytes(value, "big", signed=True)).scaleb(_SCALE))
    elif isinstance(value, int) and column in {entry.get("happened"), entry.get("until"), entry.get("ended")}:
        text = (_EPOCH + timedelta(days=value)).isoformat()
    else:
        text = str(value)
    return hashlib.sha256(text.encode()).hexdigest()


def doubts_of(subject: Subject, record: Fact | None, entry: Mapping[str, Any] | None, *, has_ended: bool) -> Doubts:
    """Judge all objections to a record. `record` is its newest version, its row None once the source deleted it."""
    doubts = Doubts()
    for fact in subject.of(FEED):
        row = fact.row or {}
        state, correction = row["state"], None
        if state == "UPHELD" and record is not None and _is_corrected(row, record, entry, has_ended=has_ended):
            state, correction = "CORRECTED", record.position
        doubts.is_disputed |= state in _STANDING
        doubts.is_corrected |= state == "CORRECTED"
        doubts.rows.append(
            {
                "objection_id": row["objection_id"],
                "record_id": subject.id,
                "field": row["field"],
                "state": state,
                "raised_at": row["raised_at"],
                "decided_at": row["decided_at"],
                "correction_of": correction and row["seen_value_hash"],
                "correction_position": correction,
            }
        )
    return doubts


def _is_corrected(row: Mapping[str, Any], record: Fact, entry: Mapping[str, Any] | None, *, has_ended: bool) -> bool:
    if record.row is None or has_ended:
        return True
    column = column_of(entry, row["field"])
    if entry is None or column not in record.row:
        return False
    return value_hash(entry, column, record.row[column]) != row["seen_value_hash"]


def column_of(entry: Mapping[str, Any] | None, name: str) -> str:
    """The source's column for a field that an objection names, as the source or as a view calls it."""
    return (entry or {}).get(VIEW_FIELDS.get(name, ""), name)


def queue_strays(subject: Subject, record: Fact | None, entry: Mapping[str, Any] | None, outcome: Outcome) -> None:
    """Objections that name a record or a field which we do not have wait for a person."""
    for fact in subject.of(FEED):
        row = fact.row or {}
        kind = None
        if record is None:
            kind = "OBJECTION_WITHOUT_RECORD"
        elif record.row is not None and column_of(entry, row["field"]) not in record.row:
            kind = "OBJECTION_FIELD_UNKNOWN"
        if kind:
            item = queue_item(f"objection:{row['objection_id']}", kind, [subject.key], [fact], opened_at=fact.event_at)
            outcome.publish(QUEUE, item)
