"""DeadLetter: the original bytes, the reason, the hop and the place: enough to replay.

The record on `dlq.<topic>` has the original key, value and headers untouched and these headers: Kafka Connect's names (KIP-298),
so that existing tools read them, then our own. No header carries a value of the row (invariant 3; SK-10).

| header                                      | what it says                                                                  |
|---------------------------------------------|-------------------------------------------------------------------------------|
| `__connect.errors.topic/partition/offset`   | where the original record stands                                              |
| `…connector.name`, `…task.id`               | who could not take it: the lane or hop, and the partition that it worked on    |
| `…stage`, `…class.name`                     | the hop, and the part of it                                                   |
| `…exception.class.name/message/stacktrace`  | the error: its kind, its words, and places in code |
| `mesh.errors.reason`                        | why, as a short safe code                                                     |
| `mesh.errors.event.id`, `…schema.id`        | the change's position in its source, and the schema of its value               |
| `mesh.errors.subscriber`                    | whose it is, where its target refused it                                      |
| `mesh.errors.attempts`                      | how often it was tried                                                        |
| `mesh.errors.first_failed_at/last_failed_at`| when, UTC                                                                     |
| `mesh.errors.http.status`                   | what a receiver answered at last                                              |
| `mesh.errors.replay.count`                  | how often it had been delivered again before                                  |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from schemas.errors import MeshError
from schemas.trace import places

CONNECT, OURS = "__connect.errors.", "mesh.errors."
REPLAY_COUNT = "mesh.replay.count"
"""The header of a record that is delivered again: for the how manieth time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What is known of the tries of one record. Times are Unix seconds; 0 is not known."""

    attempts: int = 1
    first_at: float = 0.0
    last_at: float = 0.0
    http_status: int | None = None
    error_class: str = ""
    places: str = ""

    @classmethod
    def of(cls, error: MeshError, *, at: float, first_at: float | None = None, attempts: int = 1) -> Failure:
        """Of an error that is as it was raised: it knows where in the code it came from."""
        return cls(
            attempts=attempts,
            first_at=at if first_at is None else first_at,
            last_at=at,
            http_status=error.http_status,
            error_class=type(error).__name__,
            places=places(error) if error.__traceback__ else "",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One record that a hop could not take. `hop` is capture, enrich, egress or deliver; `reason` a short safe code.

    `key` and `value` are the original bytes: framed Avro where a record existed, the source's own bytes where capture could
    not encode a row (then `partition` and `offset` are -1 and `position` tells where the row stands in its source).
    `record_headers` are those of the original record, `taker` who could not take it.
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
    taker: str = ""
    failure: Failure = field(default_factory=Failure)
    record_headers: Sequence[tuple[str, bytes]] = ()

    def headers(self) -> Sequence[tuple[str, bytes]]:
        """The headers of the dead-letter record; what is not known is left out."""
        failure, value = self.failure, self.value or b""
        is_framed = self.offset >= 0 and len(value) >= 5 and value[0] == 0
        connect = {
            "topic": self.topic,
            "partition": str(self.partition),
            "offset": str(self.offset),
            "connector.name": self.taker or self.hop,
            "task.id": str(self.partition),
            "stage": self.hop,
            "class.name": f"pearlmesh.{self.hop}",
            "exception.class.name": failure.error_class or "Rejected",
            "exception.message": self.detail or self.reason,
            "exception.stacktrace": failure.places,
        }
        ours = {
            "reason": self.reason,
            "event.id": self.position,
            "schema.id": str(int.from_bytes(value[1:5], "big")) if is_framed else "",
            "subscriber": self.subscriber,
            "attempts": str(failure.attempts),
            "first_failed_at": _moment(failure.first_at),
            "last_failed_at": _moment(failure.last_at),
            "http.status": str(failure.http_status) if failure.http_status else "",
            "replay.count": str(self.replays) if self.hop == "deliver" else "",
        }
        told = {f"{CONNECT}{name}": text for name, text in connect.items()}
        told |= {f"{OURS}{name}": text for name, text in ours.items()}
        return [*self.record_headers, *((name, text.encode()) for name, text in told.items() if text)]

    @property
    def replays(self) -> int:
        """How often the record had been delivered again before."""
        given = next((value for name, value in self.record_headers if name == REPLAY_COUNT), b"")
        return int(given) if given.isdigit() else 0


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds") if seconds else ""
