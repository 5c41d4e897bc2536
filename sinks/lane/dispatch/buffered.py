"""Buffered: one change that its receiver has not answered yet, and what is here of its partition."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from schemas.change import Batch, Record

KeyOf = tuple[str, int, bytes]
"""Topic, partition and key: what order holds by (invariant 4)."""


@dataclass(slots=True, eq=False)
class BufferedChange:
    """One change. `ticket` counts them as they come; `tries` are those that count against it, `failures` all."""

    record: Record
    partition: BufferedPartition
    ticket: int = 0
    tries: int = 0
    failures: int = 0
    first_tried_at: float = math.inf
    is_alone: bool = False
    is_settled: bool = False

    @property
    def is_barrier(self) -> bool:
        """Whether it is of every key at once: a truncate."""
        return not self.record.key

    @property
    def key(self) -> KeyOf:
        """What its order holds by."""
        return (self.partition.topic, self.partition.number, self.record.key or b"")

    @property
    def batch(self) -> Batch:
        """The change by itself."""
        return Batch(topic=self.partition.topic, partition=self.partition.number, records=[self.record])


@dataclass(slots=True, eq=False)
class BufferedPartition:
    """What is here of one partition: `outside` waits behind a barrier, `order` is everything above the low watermark."""

    topic: str
    number: int
    durable: int
    end: int = -1
    outside: deque[BufferedChange] = field(default_factory=deque[BufferedChange])
    order: deque[BufferedChange] = field(default_factory=deque[BufferedChange])
    inside: int = 0
    has_barrier_inside: bool = False
    is_gone: bool = False

    def advance(self) -> int:
        """Forget what is settled up to the first that is not; how many."""
        count = 0
        while self.order and self.order[0].is_settled:
            self.order.popleft()
            count += 1
        return count

    @property
    def low_watermark(self) -> int:
        """The offset of the first change that is not settled: everything below is."""
        return self.order[0].record.offset if self.order else self.end
