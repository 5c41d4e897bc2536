"""DeadLetter: the original bytes, the reason, the hop and the place: enough to replay.

The record on `dlq.<topic>` has the original key and value untouched and these headers: Kafka Connect's names (KIP-298),
so that existing tools read them, then our own. No header carries a value of the row (invariant 3; SK-10).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One record that a hop could not take. `hop` is capture, enrich, egress or deliver; `reason` a short safe code.

    `key` and `value` are the original bytes: framed Avro where a record existed, the source's own bytes where capture could
    not encode a row (then `partition` and `offset` are -1 and `position` tells where the row stands in its source).
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    hop: str
    reason: str
    detail: str = ""
    position: str = ""
    subscriber: str = ""
    attempts: int = 1

    def headers(self) -> Sequence[tuple[str, bytes]]:
        """The headers of the dead-letter record."""
        texts = {
            "__connect.errors.topic": self.topic,
            "__connect.errors.partition": str(self.partition),
            "__connect.errors.offset": str(self.offset),
            "__connect.errors.stage": self.hop,
            "__connect.errors.exception.message": self.detail or self.reason,
            "mesh.errors.reason": self.reason,
            "mesh.errors.event.id": self.position,
            "mesh.errors.subscriber": self.subscriber,
            "mesh.errors.attempts": str(self.attempts),
        }
        return [(name, text.encode()) for name, text in texts.items() if text]
