r"""Division: by how many tasks the flows' subjects are divided, as one of the tasks knows it.

More tasks come while everything goes on (`mesh tasks`, streams/engine/division/moving.py):

    4 tasks                 both topics grow to 16 partitions; nobody sends there yet
    DIVIDE 16 ──▶ task p    sends what belongs to p+4, p+8 and p+12 there, entry by entry, and is one of 16 from then on:
                            a message that is no longer its own it sends on, and so it does with what goes to all
    ROUTE 16 ──▶ all        once every task has: from then on whoever sends chooses among 16

What goes to all (a tick, a watermark, a truncate) is always sent to the tasks that the flows began with, and comes to the others from
these: behind whatever they send on, so that no deadline passes before evidence that came in time.

Who sends by an old number is right for ever, only slower: his messages take one step more. Hence nobody has to be waited for, and
nobody stopped. The number is a multiple of the former one, so a subject stays where it is, or moves to a task that has nothing else
yet. Steps are taken one after the other: task 1 of 4 that became one of 8 and of 16 sends what belongs to 13 of 16 to 5 of 8.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from streams.engine.inbox.bundle import partition_of
from streams.engine.inbox.message import pack, unpack

ENTRY = b"n"
"""The key of its state entry, which is there once a task has grown, or was born by growth."""


@dataclass(slots=True)
class Division:
    """`steps` are the numbers of tasks that this one was among, ascending; `routed` is by which one messages are sent.

    `epoch` begins the positions of its derived rows: a task that took over subjects must go on above those of the former one
    (invariant 2).
    """

    partition: int
    steps: list[int]
    routed: int
    epoch: int = 1

    @classmethod
    def of(cls, entry: bytes | None, partition: int, begun: int, routed: int) -> Division:
        """The division of a state entry; without one the task is one of those that the flows `begun` with, or not born yet."""
        if entry is None:
            return cls(partition, [begun] if partition < begun else [], routed)
        steps, known, epoch = unpack(entry)
        return cls(partition, steps, max(known, routed), epoch)

    def entry(self) -> bytes:
        """As a state entry."""
        return pack([self.steps, self.routed, self.epoch])

    @property
    def tasks(self) -> int:
        """By how many its subjects are divided; 0 while it is not born."""
        return self.steps[-1] if self.steps else 0

    def owner(self, key: bytes) -> int:
        """Which task a message to a subject goes to from here; this one where it is its own."""
        for tasks in self.steps:
            if (owner := partition_of(key, tasks)) != self.partition:
                return owner
        return self.partition

    @property
    def is_divided(self) -> bool:
        """Whether some of what comes may be another's."""
        return len(self.steps) > 1

    def children(self) -> Iterator[int]:
        """The tasks that took over subjects of this one."""
        for former, tasks in pairwise(self.steps):
            yield from self.born(former, tasks)

    def born(self, former: int, tasks: int) -> range:
        """The tasks that take over subjects of this one when so many become so many."""
        return range(self.partition + former, tasks, former)

    def grow(self, tasks: int) -> None:
        """From here on it is one of so many."""
        self.steps.append(tasks)
