"""Prefix: which runs of a partition are under way, and how far the finished ones reach without a hole.

Faust's own bookkeeping can step over a record that is still in flight at the committed head (FA-03), and it
takes a failed commit for a done one (FA-04). Here an offset is due only when every run opened before it is finished
(invariant 1), and it stays due until the broker has it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from schemas.change import Partition


class Prefix:
    """The runs of all partitions of one consumer, each known by the offset of its last record.

    Runs of a partition are opened in offset order and may be finished in any order. Not safe for several threads.
    """

    def __init__(self) -> None:
        self._open: dict[Partition, deque[int]] = {}
        self._finished: dict[Partition, set[int]] = {}
        self._due: dict[Partition, int] = {}

    def open(self, partition: Partition, last_offset: int) -> None:
        """A run was handed on; nothing at or behind its records may be committed until it is finished."""
        self._open.setdefault(partition, deque()).append(last_offset)

    def finish(self, partition: Partition, last_offset: int) -> bool:
        """A run is durable downstream. False for a run that is not open: its partition was forgotten meanwhile."""
        waiting = self._open.get(partition)
        if not waiting or last_offset not in waiting:
            return False
        finished = self._finished.setdefault(partition, set())
        finished.add(last_offset)
        while waiting and waiting[0] in finished:
            end = waiting.popleft()
            finished.discard(end)
            self._due[partition] = end + 1
        return True

    def due(self) -> Mapping[Partition, int]:
        """Per partition the next offset to commit, where one is due."""
        return dict(self._due)

    def committed(self, offsets: Mapping[Partition, int]) -> None:
        """The broker has these offsets. What became due in the meantime stays due."""
        for partition, offset in offsets.items():
            if self._due.get(partition) == offset:
                del self._due[partition]

    def forget(self) -> None:
        """Every partition is taken away or will be read again from its committed offset (FA-20)."""
        self._open.clear()
        self._finished.clear()
        self._due.clear()

    @property
    def is_idle(self) -> bool:
        """Whether no run is under way."""
        return not any(self._open.values())


class Unconfirmed:
    """For how long runs have been finished, one soon after another, without the broker having taken a position.

    Where nothing is finished, as while the broker is away, nothing is counted. Times are of any clock, in seconds.
    """

    PAUSE_SECONDS = 30.0

    def __init__(self) -> None:
        self._began = self._finished_at = float("-inf")

    def finished(self, now: float) -> None:
        """A run is durable downstream."""
        if now - self._finished_at > self.PAUSE_SECONDS:
            self._began = now
        self._finished_at = now

    def confirmed(self, now: float) -> None:
        """The broker has taken positions."""
        self._began = now

    def seconds(self, now: float) -> float:
        """How long it has been so; 0 where nothing is finished any more."""
        return now - self._began if now - self._finished_at <= self.PAUSE_SECONDS else 0.0
