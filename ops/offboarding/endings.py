"""Endings on their control topic (schemas/agreement/ending.py): a subscriber's side confirms that it applied the end of a grant."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from ops.audit.audited_log import Act, AuditedLog
from ops.trust.audit import audit
from schemas.agreement.ending import Ending
from schemas.feed import ENDINGS
from schemas.log.control.records import publish

WITHIN_SECONDS = 30.0


class EndingLog:
    """What delivery calls once an end is applied; returns when that is on record. Raises Transient."""

    def __init__(self, log: AuditedLog) -> None:
        self._log = log

    def __call__(self, ending: Ending, removed: int | None) -> None:
        """The subscriber's side confirms the end; `removed` counts rows, where it can."""
        done = replace(ending, acknowledged_at=datetime.now(UTC), removed=removed)
        act = Act()
        publish(act.append, ENDINGS, ending.topic, done.to_json())
        audit(
            act.append,
            "grant ended",
            ending.grant_id,
            reason=ending.reason,
            topic=ending.topic,
            sink=f"{ending.subscriber}.{ending.sink}",
            at_end=str(ending.at_end),
            removed=removed,
        )
        self._log.write(act, WITHIN_SECONDS)
