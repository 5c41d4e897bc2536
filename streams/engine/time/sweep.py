r"""Sweep: how far a tick or a truncate has come that concerns more subjects than one transaction should hold.

Its work is done in slices. Each but the last is committed with the inbox position before the message and this entry, so a task
that is killed between two of them takes the message again and goes on behind the last subject that is done, and every event has the
position it would have had. Subjects come in the same order as in one piece. A timer that a fold sets for a time that is past
already waits for the next tick, as it always did: `again` names those that a later slice would meet.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from streams.engine.entry import due_of
from streams.engine.inbox.message import pack, unpack

SLICE_SUBJECTS = 2_000
"""How many subjects are folded in one transaction because of one message."""

CURSOR = b"c"
"""The key of its entry; a task has one sweep at most."""


@dataclass(slots=True)
class Sweep:
    """One message's work. `offset` is the message's, `key` the last timer or entry that is done, `ordinal` the last one given."""

    offset: int
    key: bytes = b""
    ordinal: int = 0
    again: set[bytes] = field(default_factory=set[bytes])
    former: int = 0
    """A tick's: where the clock stood before it."""

    @classmethod
    def of(cls, entry: bytes | None, offset: int) -> Sweep:
        """The sweep of the message at this offset: as an earlier slice has left it, or new."""
        if entry is not None:
            known, key, ordinal, again, *former = unpack(entry)  # an entry of an earlier version ends before
            if known == offset:
                return cls(offset, key, ordinal, set(again), former[0] if former else 0)
        return cls(offset)

    def entry(self) -> bytes:
        """As a state entry."""
        again = sorted(key for key in self.again if key > self.key)
        return pack([self.offset, self.key, self.ordinal, again, self.former])


def merged(stored: Iterable[tuple[bytes, bytes]], changed: Mapping[bytes, bool], after: bytes) -> Iterator[bytes]:
    """Keys behind `after`, in order: those that are stored, less those that are changed to False, with those changed to True."""
    there = (key for key, _ in stored if key > after and changed.get(key, True))
    fresh = sorted(key for key, is_there in changed.items() if is_there and key > after)
    last = b""
    for key in heapq.merge(there, fresh):
        if key != last:
            last = key
            yield key


def due(
    stored: Iterable[tuple[bytes, bytes]], changed: Mapping[bytes, bool], start: int, now: int, sweep: Sweep
) -> list[bytes]:
    """The next timers that are due, one more than a slice has where there are more; `start` is the length of the flow's prefix."""
    found: list[bytes] = []
    for key in merged(stored, changed, sweep.key):
        if due_of(key, start) > now or len(found) > SLICE_SUBJECTS:
            break
        if key not in sweep.again:
            found.append(key)
    return found
