"""Key queues: the changes of each key in order, one request of a key out at a time; which keys may go, and which wait for when."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from sinks.lane.dispatch.buffered import BufferedChange, BufferedPartition, KeyOf


@dataclass(slots=True, eq=False)
class _Queue:
    """The changes of one key, in order."""

    entries: deque[BufferedChange] = field(default_factory=deque[BufferedChange])
    is_busy: bool = False


class KeyQueues:
    """The queues of a buffer. Every run that was taken is released once its answer is known.

    Of the keys that may go, the one goes first whose change came first: so that what is settled out of order, and would be sent
    again if the process ended now, is what is out or waits, and not the whole buffer.
    """

    def __init__(self) -> None:
        self._queues: dict[KeyOf, _Queue] = {}
        self._ready: list[tuple[int, KeyOf]] = []
        self._delayed: list[tuple[float, int, KeyOf]] = []
        self._ticket = 0

    def admit(self, partition: BufferedPartition) -> None:
        """Let in what no barrier keeps outside."""
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
                self._let_go(key)

    def take(self, count_max: int, *, is_probe: bool) -> list[BufferedChange]:
        """The next changes for one request, of one key alone for a probe; none while all that is left waits."""
        run: list[BufferedChange] = []
        while len(run) < (1 if is_probe else count_max) and (queue := self._next_ready()) is not None:
            first = queue.entries[0]
            goes_alone = first.is_alone or first.is_barrier
            if run and goes_alone:
                break
            heapq.heappop(self._ready)
            queue.is_busy = True
            run.append(queue.entries.popleft())
            if goes_alone:
                break
            while queue.entries and len(run) < count_max and not queue.entries[0].is_alone:
                run.append(queue.entries.popleft())
        return run

    def put_back(self, entry: BufferedChange) -> None:
        """It goes again before everything else of its key."""
        self._queues[entry.key].entries.appendleft(entry)

    def release(self, run: Sequence[BufferedChange], due: Mapping[KeyOf, float]) -> None:
        """An answer came: the keys may go on, now or when their time has come."""
        for key in dict.fromkeys(entry.key for entry in run if not entry.partition.is_gone):
            queue = self._queues[key]
            queue.is_busy = False
            if not queue.entries:
                del self._queues[key]
            elif key in due:
                self._ticket += 1
                heapq.heappush(self._delayed, (due[key], self._ticket, key))
            else:
                self._let_go(key)

    def drop(self, topic: str, partition: int) -> Collection[KeyOf]:
        """Forget the keys of a partition; which they were."""
        gone = [key for key in self._queues if key[:2] == (topic, partition)]
        for key in gone:
            del self._queues[key]
        return gone

    def wake(self, now: float) -> None:
        """Let the keys go whose time has come."""
        while self._delayed and self._delayed[0][0] <= now:
            self._let_go(heapq.heappop(self._delayed)[2])

    def wake_one(self) -> None:
        """Let one key go, whatever its time: a probe needs one."""
        if not self._ready and self._delayed:
            self._let_go(heapq.heappop(self._delayed)[2])

    def excuse(self) -> None:
        """Let all keys go but those whose own tries are counted: what failed through the receiver's fault waits no longer."""
        delayed, self._delayed = self._delayed, []
        for entry in delayed:
            queue = self._queues.get(entry[2])
            if queue is not None and queue.entries and queue.entries[0].tries:
                heapq.heappush(self._delayed, entry)
            elif queue is not None:
                self._let_go(entry[2])

    def due_at(self, now: float) -> float:
        """When the next key may go; infinite when none waits for a time."""
        if self._ready:
            return now
        return self._delayed[0][0] if self._delayed else math.inf

    def suspects(self) -> int:
        """How many keys wait because of a change that is not taken while others are."""
        heads = (queue.entries[0] for queue in self._queues.values() if queue.entries)
        return sum(1 for head in heads if head.tries > 0)

    def _next_ready(self) -> _Queue | None:
        while self._ready:
            queue = self._queues.get(self._ready[0][1])
            if queue is not None and not queue.is_busy and queue.entries:
                return queue
            heapq.heappop(self._ready)
        return None

    def _let_go(self, key: KeyOf) -> None:
        if (queue := self._queues.get(key)) is not None and queue.entries:
            heapq.heappush(self._ready, (queue.entries[0].ticket, key))
