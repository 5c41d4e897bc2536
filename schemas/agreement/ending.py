"""Ending: what a grant delivered through one `out` topic has to go, and whether the subscriber's side has confirmed it.

A grant that is revoked or expired, or that has to be delivered anew through another topic, ends there. What its subscriber holds by
it is removed, or kept where the grant says so (`at_end`); either way the sink confirms it, and the confirmation stands on
`mesh.endings` under the topic's name. An ending without one is under way, however often delivery is killed (invariant 11).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from schemas.agreement.grant import AtEnd

GRANT_ENDED = "GRANT_ENDED"
"""The reason of the record that tells a subscriber of it (HANDBOOK §2.1: header `reason`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The end of what one topic delivered through one sink.

    `reason` is REVOKED, EXPIRED, OFFBOARDED (its feed or its subscriber left) or SUCCEEDED (delivered anew through another topic).
    `removed` counts rows, None where the sink cannot count them or they are kept.
    """

    topic: str
    grant_id: str
    purpose: str
    subscriber: str
    sink: str
    at_end: AtEnd
    reason: str
    value_schema_id: int
    acknowledged_at: datetime | None = None
    removed: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The record on `mesh.endings`."""
        at = self.acknowledged_at
        return {**asdict(self), "acknowledged_at": at.isoformat() if at else None}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Ending:
        """Read a record of `mesh.endings`."""
        at = record["acknowledged_at"]
        known = {"at_end": AtEnd(record["at_end"]), "acknowledged_at": datetime.fromisoformat(at) if at else None}
        return cls(**{**record, **known})
