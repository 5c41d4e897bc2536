"""Objection (异议): a subscriber says that a field of a record is wrong; what became of it stands on `mesh.objections`.

    OPEN ── PROVIDER_CHECKING ──┬── REJECTED     the value stands, with a reason
      └───────────────────────┴── UPHELD ── CORRECTED     a change of that key in which the field differs has come

Of the value that was seen there is a keyed hash alone. The record's key is here in clear, since the provider has to find the row; it
stands nowhere else: neither in a list, nor in the audit, nor in a log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from dataclasses import field as hidden
from datetime import datetime
from enum import StrEnum
from typing import Any

CORRECTION_OF = "correction_of"
"""The header of a change on `out` topics that corrects: the objection's id, or several, separated by commas."""


class ObjectionState(StrEnum):
    """Where an objection is."""

    OPEN = "OPEN"
    PROVIDER_CHECKING = "PROVIDER_CHECKING"
    REJECTED = "REJECTED"
    UPHELD = "UPHELD"
    CORRECTED = "CORRECTED"


FOLLOWS: Mapping[ObjectionState, frozenset[ObjectionState]] = {
    ObjectionState.OPEN: frozenset({ObjectionState.PROVIDER_CHECKING, ObjectionState.REJECTED, ObjectionState.UPHELD}),
    ObjectionState.PROVIDER_CHECKING: frozenset({ObjectionState.REJECTED, ObjectionState.UPHELD}),
    ObjectionState.UPHELD: frozenset({ObjectionState.CORRECTED}),
    ObjectionState.REJECTED: frozenset(),
    ObjectionState.CORRECTED: frozenset(),
}
"""What may follow each state. Only the row itself makes one CORRECTED."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objection:
    """One objection. `record_key`: key columns as people read them. `since`: by partition of the feed, from where on it is corrected.

    `key_id` says under which key `seen_value_hash` was made (ops/trust/subject_key.py). `correction_event` is the position of the
    change that corrected it.
    """

    objection_id: str
    grant_id: str
    feed: str
    record_key: Mapping[str, str] = hidden(repr=False)
    field: str
    seen_value_hash: str
    key_id: str
    claimed: str = hidden(repr=False)
    evidence_ref: str
    raised_by: str
    raised_at: datetime
    due_at: datetime
    since: Mapping[str, int]
    state: ObjectionState = ObjectionState.OPEN
    reason: str | None = None
    answered_at: datetime | None = None
    correction_event: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The record on `mesh.objections`."""
        record = asdict(self)
        for name in ("raised_at", "due_at", "answered_at"):
            record[name] = value.isoformat() if (value := record[name]) else None
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Objection:
        """Read a record of `mesh.objections`."""
        values = {**record, "state": ObjectionState(record["state"])}
        for name in ("raised_at", "due_at", "answered_at"):
            values[name] = datetime.fromisoformat(values[name]) if values[name] else None
        return cls(**values)
