"""Key-ordered buffer: what a lane has read and its receiver has not answered yet, in an order that holds per key (invariant 4).

A change that the receiver does not take lets its key wait, and only its key; changes of other keys overtake it. A truncate is a
barrier: it goes once everything before it in its partition is settled, and nothing behind it goes before it is. Offsets are durable
up to the low watermark, the first change that is not settled.

A change whose tries are used up is given back as refused. Only tries count that are the change's own fault (breaker.py).

Pure: time is passed in, in seconds of any clock that only goes forward.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from schemas.change import Batch
from schemas.errors import MeshError, asked_seconds
from sinks.lane.dispatch.breaker import CircuitBreaker
from sinks.lane.dispatch.buffered import BufferedChange, BufferedPartition, KeyOf
from sinks.lane.dispatch.key_queues import KeyQueues

SETTLED_MAX = 200_000
"""Changes settled behind one that waits, which are remembered so that they are not sent twice."""


class KeyOrderedBuffer:
    """`schedule_seconds`: the waits between the tries of a change; the last repeats for tries that do not count.

    They are no Backoff: whoever owns the receiver writes each of them, and how many there are is how often a change is tried.
    """

    def __init__(self, schedule_seconds: Sequence[float]) -> None:
        self._schedule = tuple(schedule_seconds)
        self._partitions: dict[tuple[str, int], BufferedPartition] = {}
        self._queues = KeyQueues()
        self._settled_count = 0
        self._busy = 0
        self._ticket = 0
        self.breaker = CircuitBreaker()
        self.count = 0
        self.size_bytes = 0

    # -- in and out ----------------------------------------------------------------------------------------------------

    def add(self, batch: Batch) -> None:
        """Take a run of a partition in; what is here already is left out."""
        place = (batch.topic, batch.partition)
        partition = self._partitions.get(place)
        if partition is None:
            partition = self._partitions[place] = BufferedPartition(*place, durable=batch.records[0].offset)
        for record in batch.records:
            if record.offset < partition.end:
                continue
            partition.end = record.offset + 1
            self._ticket += 1
            entry = BufferedChange(record, partition, self._ticket)
            partition.order.append(entry)
            if record.value is None:  # what compaction left of a removal says nothing
                entry.is_settled = True
                self._settled_count += 1
                continue
            self.count += 1
            self.size_bytes += len(record.value)
            partition.outside.append(entry)
        self._queues.admit(partition)
        self._settled_count -= partition.advance()

    def keep(self, owns: Callable[[str, int], bool]) -> bool:
        """Drop the partitions that are no longer ours; what is under way of them is nobody's business any more. Whether any went."""
        known = len(self._partitions)
        for place, partition in list(self._partitions.items()):
            if owns(*place):
                continue
            partition.is_gone = True
            del self._partitions[place]
            for entry in partition.order:
                if entry.is_settled:
                    self._settled_count -= 1
                else:
                    self.count -= 1
                    self.size_bytes -= len(entry.record.value or b"")
            for key in self._queues.drop(*place):
                self.breaker.forget(key)
        return len(self._partitions) < known

    def take(self, now: float, count_max: int = 1) -> list[BufferedChange]:
        """The next changes to send in one request: none while all that is left waits for its time or for an answer."""
        if not self.breaker.allows(now, is_asked=self._busy > 0):
            return []
        is_probe = self.breaker.is_open
        if is_probe:
            self._queues.wake_one()
        self._queues.wake(now)
        run = self._queues.take(count_max, is_probe=is_probe)
        for entry in run:
            entry.first_tried_at = min(entry.first_tried_at, now)
        self._busy += bool(run)
        return run

    @property
    def is_full_of_settled(self) -> bool:
        """Whether so much was settled behind changes that wait that no more may be read."""
        return self._settled_count >= SETTLED_MAX

    def wait_seconds(self, now: float) -> float:
        """How long until something may be sent, if no answer and no record comes; infinite when nothing waits."""
        return self.breaker.wait_seconds(now, self._queues.due_at(now))

    def waiting(self) -> Iterator[BufferedChange]:
        """The first unsettled change of each partition."""
        for partition in self._partitions.values():
            if partition.order:
                yield partition.order[0]

    def suspects(self) -> int:
        """How many keys wait because of a change that is not taken while others are."""
        return self._queues.suspects()

    def durable(self) -> Iterator[tuple[str, int, int]]:
        """(topic, partition, next offset) of every partition that got further since this was asked last."""
        for partition in self._partitions.values():
            reached = partition.low_watermark
            if reached > partition.durable:
                partition.durable = reached
                yield partition.topic, partition.number, reached

    # -- answers -------------------------------------------------------------------------------------------------------

    def accepted(self, run: Sequence[BufferedChange], now: float) -> None:
        """The receiver has them."""
        was_open = self.breaker.is_open
        self.breaker.accepted(now)
        for entry in run:
            self.settle(entry)
        self._release(run)
        if was_open:
            self._queues.excuse()

    def failed(self, run: Sequence[BufferedChange], error: MeshError, now: float) -> list[BufferedChange]:
        """They were not taken, this time: their keys wait. Returns those whose tries are used up; settle them."""
        used_up: list[BufferedChange] = []
        waits: dict[KeyOf, float] = {}
        self.breaker.trouble = error
        asked = asked_seconds(error) or 0.0
        for entry in reversed(run):
            if entry.partition.is_gone:
                continue
            entry.failures += 1
            entry.is_alone = entry.is_alone or len(run) > 1
            if self.breaker.blames(entry) and len(run) == 1:
                entry.tries += 1
            if entry.tries > len(self._schedule):
                used_up.append(entry)
                self.breaker.forget(entry.key)
                continue
            self._queues.put_back(entry)
            waits[entry.key] = max(self._schedule[min(entry.failures, len(self._schedule)) - 1], asked)
        self._release(run, {key: now + wait for key, wait in waits.items()})
        self.breaker.probe_at(now + max(waits.values(), default=self._schedule[-1]))
        return used_up

    def apart(self, run: Sequence[BufferedChange]) -> None:
        """What is not settled of them was refused together: each goes by itself now, so that none condemns its neighbours."""
        for entry in reversed(run):
            if not entry.partition.is_gone and not entry.is_settled:
                entry.is_alone = True
                self._queues.put_back(entry)
        self._release(run)

    def settle(self, entry: BufferedChange) -> None:
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
        self._queues.admit(partition)
        self._settled_count -= partition.advance()

    def _release(self, run: Sequence[BufferedChange], due: Mapping[KeyOf, float] | None = None) -> None:
        self._busy -= bool(run)
        self._queues.release(run, due or {})
