"""Where a source of the kind `mesh` stands: its record in `Progress`, typed, and the steps from one to the next.

phase         ready | resync    in `resync` the truncates of an accepted gap are not durable yet, and nothing is kept
cluster       the other Kafka's id: another one has other offsets
nexts         the next offset that is not durable here, by topic and partition (invariant 1)
read_at       when the place was kept last, Unix seconds
shift         added to the epoch of every position: raised by each accepted gap, 0 until the first
newest_epoch  the highest epoch written so far
asked         which request for a resync was the last to be taken up
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from schemas.change import Partition

READY, RESYNC = "ready", "resync"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerMark:
    """Durable up to here, of what was written with this shift: the truncates of a gap, or records."""

    shift: int
    is_emptied: bool = False
    nexts: Mapping[Partition, int] = field(default_factory=dict[Partition, int])
    newest_epoch: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerPlace:
    """See the top of this file."""

    phase: str = READY
    cluster: str | None = None
    nexts: Mapping[Partition, int] = field(default_factory=dict[Partition, int])
    read_at: float | None = None
    shift: int = 0
    newest_epoch: int = 0
    asked: str | None = None

    def was_asked(self, request: str | None) -> PeerPlace:
        """Somebody accepted the gap: everything is to be read again."""
        return replace(self, phase=RESYNC, asked=request)

    def reopened(self) -> PeerPlace:
        """Before the first record, above all positions that were written so far; an accepted gap is behind it."""
        epoch = self.newest_epoch + 1
        return PeerPlace(phase=RESYNC, shift=epoch, newest_epoch=epoch, asked=self.asked)

    def found_on(self, cluster: str) -> PeerPlace:
        """Whose offsets these are."""
        return replace(self, cluster=cluster)

    def confirmed(self, mark: PeerMark) -> PeerPlace:
        """More is durable; what was written before a gap was accepted says nothing of what is read after it."""
        if mark.shift != self.shift:
            return self
        return replace(
            self,
            phase=READY if mark.is_emptied else self.phase,
            nexts={**self.nexts, **mark.nexts},
            newest_epoch=max(self.newest_epoch, mark.newest_epoch),
        )

    def kept_at(self, now: float) -> PeerPlace:
        """It is kept, hence known to be read, at this moment."""
        return replace(self, read_at=now)

    def to_json(self) -> dict[str, Any]:
        """The record: the offsets as topic to partition to offset."""
        topics: dict[str, dict[str, int]] = {}
        for (topic, partition), offset in self.nexts.items():
            topics.setdefault(topic, {})[str(partition)] = offset
        values = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "nexts"}
        return {**values, "topics": topics}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> PeerPlace:
        """Read it back; the first records say nothing of `asked`."""
        values = {name: value for name, value in record.items() if name in cls.__dataclass_fields__}
        nexts = {
            (topic, int(partition)): offset
            for topic, offsets in record["topics"].items()
            for partition, offset in offsets.items()
        }
        return cls(**values, nexts=nexts)
