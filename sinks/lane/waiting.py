"""Waiting room: what a lane has read and its receiver has not answered yet, in an order that holds per key (invariant 4).

Used where a receiver answers for each change by itself (sinks/lane/dispatch.py). A change that the receiver does not take
lets its key wait, and only its key; changes of other keys overtake it. A truncate is a barrier: it goes once everything
before it in its partition is settled, and nothing behind it goes before it is. Offsets are durable up to the first change
that is not settled.

A change whose tries are used up is given back as refused. Only tries count that are the change's own fault: other changes were
taken meanwhile. While nobody's are, the receiver is unwell, and one change at a time finds out whether it still is.

Pure: time is passed in, in seconds of any clock that only goes forward.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from schemas.change import Batch, Record
from schemas.errors import ContractBroken, MeshError, Misconfigured, Transient

UNWELL_KEYS = 5
"""So many keys that fail in a row, with nothing taken in between, are the receiver's fault and not the changes'."""

SETTLED_MAX = 200_000
"""Changes settled behind one that waits, which are remembered so that they are not sent twice."""

KeyOf = tuple[str, int, bytes]


@dataclass(slots=True, eq=False)
class WaitingChange:
    """One change in the room. `tries` are those that count against it, `failures` all."""

    record: Record
    partition: Partition
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
class Partition:
    """What is here of one partition: `outside` waits behind a barrier, `order` is everything not yet durable."""

    topic: str
    number: int
    durable: int
    end: int = -1
    outside: deque[WaitingChange] = field(default_factory=deque[WaitingChange])
    order: deque[WaitingChange] = field(default_factory=deque[WaitingChange])
    inside: int = 0
    has_barrier_inside: bool = False
    is_gone: bool = False


@dataclass(slots=True, eq=False)
class _Queue:
    """The changes of one key, in order."""

    entries: deque[WaitingChange] = field(default_factory=deque[WaitingChange])
    is_busy: bool = False


class WaitingRoom:
    """`schedule_seconds`: the waits between the tries of a change; the last repeats for tries that do not count."""

    def __init__(self, schedule_seconds: Sequence[float]) -> None:
        self._schedule = tuple(schedule_seconds)
        self._partitions: dict[tuple[str, int], Partition] = {}
        self._queues: dict[KeyOf, _Queue] = {}
        self._ready: deque[KeyOf] = deque()
        self._delayed: list[tuple[float, int, KeyOf]] = []
        self._ticket = 0
        self._failing: set[KeyOf] = set()
        self._accepted_at = -math.inf
        self._probe_at = 0.0
        self._paused_until = 0.0
        self._settled_count = 0
        self._busy = 0
        self.count = 0
        self.size_bytes = 0
        self.attempts = 0
        self.trouble: MeshError | None = None

    # -- in and out ----------------------------------------------------------------------------------------------------

    def add(self, batch: Batch) -> None:
        """Take a run of a partition in; what is here already is left out."""
        place = (batch.topic, batch.partition)
        partition = self._partitions.get(place)
        if partition is None:
            partition = self._partitions[place] = Partition(*place, durable=batch.records[0].offset)
        for record in batch.records:
            if record.offset < partition.end:
                continue
            partition.end = record.offset + 1
            entry = WaitingChange(record, partition)
            partition.order.append(entry)
            if record.value is None:  # what compaction left of a removal says nothing
                entry.is_settled = True
                self._settled_count += 1
                continue
            self.count += 1
            self.size_bytes += len(record.value)
            partition.outside.append(entry)
        self._admit(partition)
        self._advance(partition)

    def keep(self, holds: Callable[[str, int], bool]) -> bool:
        """Drop the partitions that are no longer ours; what is under way of them is nobody's business any more. Whether any went."""
        known = len(self._partitions)
        for place, partition in list(self._partitions.items()):
            if holds(*place):
                continue
            partition.is_gone = True
            del self._partitions[place]
            for entry in partition.order:
                if entry.is_settled:
                    self._settled_count -= 1
                else:
                    self.count -= 1
                    self.size_bytes -= len(entry.record.value or b"")
            for key in [key for key in self._queues if key[:2] == place]:
                self._failing.discard(key)
                del self._queues[key]
        return len(self._partitions) < known

    def take(self, now: float, count_max: int = 1) -> list[WaitingChange]:
        """The next changes to send in one request: none while all that is left waits for its time or for an answer."""
        if not self._may_send(now):
            return []
        run: list[WaitingChange] = []
        while len(run) < (1 if self.is_unwell else count_max) and (queue := self._next_ready()) is not None:
            first = queue.entries[0]
            goes_alone = first.is_alone or first.is_barrier
            if run and goes_alone:
                break
            self._ready.popleft()
            queue.is_busy = True
            run.append(queue.entries.popleft())
            if goes_alone:
                break
            while queue.entries and len(run) < count_max and not queue.entries[0].is_alone:
                run.append(queue.entries.popleft())
        for entry in run:
            entry.first_tried_at = min(entry.first_tried_at, now)
        self._busy += bool(run)
        return run

    @property
    def is_unwell(self) -> bool:
        """Whether the receiver takes nothing, as far as it was tried."""
        if len(self._failing) >= UNWELL_KEYS:
            return True
        has_taken = self._accepted_at > -math.inf
        return isinstance(self.trouble, Misconfigured) or (isinstance(self.trouble, ContractBroken) and not has_taken)

    @property
    def is_full_of_settled(self) -> bool:
        """Whether so much was settled behind changes that wait that no more may be read."""
        return self._settled_count >= SETTLED_MAX

    def wait_seconds(self, now: float) -> float:
        """How long until something may be sent, if no answer and no record comes; infinite when nothing waits."""
        if not self._ready and not self._delayed:
            return math.inf
        first = self._probe_at if self.is_unwell else now if self._ready else self._delayed[0][0]
        return max(0.0, max(first, self._paused_until) - now)

    def waiting(self) -> Iterator[WaitingChange]:
        """The first unsettled change of each partition."""
        for partition in self._partitions.values():
            if partition.order:
                yield partition.order[0]

    def suspects(self) -> int:
        """How many keys wait because of a change that is not taken while others are."""
        heads = (queue.entries[0] for queue in self._queues.values() if queue.entries)
        return sum(1 for head in heads if head.tries > 0)

    def durable(self) -> Iterator[tuple[str, int, int]]:
        """(topic, partition, next offset) of every partition that got further since this was asked last."""
        for partition in self._partitions.values():
            reached = partition.order[0].record.offset if partition.order else partition.end
            if reached > partition.durable:
                partition.durable = reached
                yield partition.topic, partition.number, reached

    # -- answers -------------------------------------------------------------------------------------------------------

    def accepted(self, run: Sequence[WaitingChange], now: float) -> None:
        """The receiver has them."""
        was_unwell = self.is_unwell
        self._accepted_at, self.attempts, self.trouble = now, 0, None
        self._failing.clear()
        for entry in run:
            self.settle(entry)
        self._release(run)
        if was_unwell:
            self._excuse()

    def failed(self, run: Sequence[WaitingChange], error: MeshError, now: float) -> list[WaitingChange]:
        """They were not taken, this time: their keys wait. Returns those whose tries are used up; settle them."""
        used_up: list[WaitingChange] = []
        waits: dict[KeyOf, float] = {}
        self.trouble = error
        asked = (error.retry_after_seconds if isinstance(error, Transient) else None) or 0.0
        for entry in reversed(run):
            if entry.partition.is_gone:
                continue
            entry.failures += 1
            entry.is_alone = entry.is_alone or len(run) > 1
            self._failing.add(entry.key)
            if self._accepted_at <= entry.first_tried_at:
                self.attempts = max(self.attempts, entry.failures)
            elif not self.is_unwell and len(run) == 1:
                entry.tries += 1
            if entry.tries > len(self._schedule):
                used_up.append(entry)
                self._failing.discard(entry.key)
                continue
            self._queues[entry.key].entries.appendleft(entry)
            waits[entry.key] = max(self._schedule[min(entry.failures, len(self._schedule)) - 1], asked)
        self._release(run, {key: now + wait for key, wait in waits.items()})
        self._probe_at = now + max(waits.values(), default=self._schedule[-1])
        return used_up

    def apart(self, run: Sequence[WaitingChange]) -> None:
        """What is not settled of them was refused together: each goes by itself now, so that none condemns its neighbours."""
        for entry in reversed(run):
            if not entry.partition.is_gone and not entry.is_settled:
                entry.is_alone = True
                self._queues[entry.key].entries.appendleft(entry)
        self._release(run)

    def pause(self, until: float) -> None:
        """The receiver asks for no requests at all until then."""
        self._paused_until = max(self._paused_until, until)

    def settle(self, entry: WaitingChange) -> None:
        """It is at the receiver, or among the dead letters."""
        partition = entry.partition
        if entry.is_settled or partition.is_gone:
            return
        entry.is_settled = True
        self._settled_count += 1
        self.count -= 1
        self.size_bytes -= len(entry.record.value or b"")
        entry.record = entry.record._replace(value=None)  # a long wait before it must not hold the memory of all behind
        partition.inside -= 1
        if not partition.inside:
            partition.has_barrier_inside = False
        self._admit(partition)
        self._advance(partition)

    # -- order ---------------------------------------------------------------------------------------------------------

    def _admit(self, partition: Partition) -> None:
        while partition.outside and not partition.has_barrier_inside:
            if (entry := partition.outside[0]).is_barrier and partition.inside:
                return
            partition.outside.popleft()
            partition.inside += 1
            partition.has_barrier_inside = entry.is_barrier
            key = entry.key
            queue = self._queues.get(key)
            if queue is None:
                queue = self._queues[key] = _Queue()
            queue.entries.append(entry)
            if len(queue.entries) == 1 and not queue.is_busy:
                self._ready.append(key)

    def _advance(self, partition: Partition) -> None:
        while partition.order and partition.order[0].is_settled:
            partition.order.popleft()
            self._settled_count -= 1

    def _release(self, run: Sequence[WaitingChange], due: dict[KeyOf, float] | None = None) -> None:
        """An answer came: the keys may go on, now or when their time has come."""
        self._busy -= bool(run)
        for key in dict.fromkeys(entry.key for entry in run if not entry.partition.is_gone):
            queue = self._queues[key]
            queue.is_busy = False
            if not queue.entries:
                del self._queues[key]
            elif due and key in due:
                self._ticket += 1
                heapq.heappush(self._delayed, (due[key], self._ticket, key))
            else:
                self._ready.append(key)

    def _may_send(self, now: float) -> bool:
        if now < self._paused_until:
            return False
        if self.is_unwell:
            if self._busy or now < self._probe_at:
                return False
            if not self._ready and self._delayed:
                self._ready.append(heapq.heappop(self._delayed)[2])
        self._wake(now)
        return True

    def _next_ready(self) -> _Queue | None:
        while self._ready:
            queue = self._queues.get(self._ready[0])
            if queue is not None and not queue.is_busy and queue.entries:
                return queue
            self._ready.popleft()
        return None

    def _wake(self, now: float) -> None:
        while self._delayed and self._delayed[0][0] <= now:
            self._ready.append(heapq.heappop(self._delayed)[2])

    def _excuse(self) -> None:
        """The receiver is back: what failed through its fault waits no longer."""
        delayed, self._delayed = self._delayed, []
        for entry in delayed:
            queue = self._queues.get(entry[2])
            if queue is not None and queue.entries and queue.entries[0].tries:
                heapq.heappush(self._delayed, entry)
            elif queue is not None:
                self._ready.append(entry[2])
