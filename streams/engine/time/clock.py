"""Clock: a flow's event time in a task, from what all workers of the flows tell.

Each worker tells the newest event time that it has seen, and, for each partition that it is behind with, how far time may go
because of that: the watermark of a source partition, as stream processors know it. A task's clock goes to the newest of
the former, but not beyond the smallest of the latter: so no deadline passes while its evidence lies unread with another worker.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from streams.engine.inbox.message import pack, unpack

TELL_AGAIN_SECONDS = 30.0
"""A worker that was given up for dead may have held a partition that is another's by now; its owner says again how it stands."""


@dataclass(slots=True)
class Clock:
    """Event times in microseconds. `watermarks` are by place: see `place_of`."""

    at: int = 0
    newest: int = 0
    moved_ms: int = 0
    """The source's commit that told of the newest, milliseconds: what time alone brings about is because of it."""
    watermarks: dict[str, int] = field(default_factory=dict[str, int])

    @classmethod
    def of(cls, entry: bytes | None, feeds: Collection[str]) -> Clock:
        """The clock of a state entry; the watermarks of feeds that the flow no longer reads bind it no more."""
        if entry is None:
            return cls()
        at, newest, watermarks, *moved_ms = unpack(entry)  # an entry of an earlier version has no commit
        read = {place: bound for place, bound in watermarks.items() if place[0] == "|" or feed_of(place) in feeds}
        return cls(at, newest, moved_ms[0] if moved_ms else 0, read)

    @property
    def allowed(self) -> int:
        """How far it may go."""
        return max(self.at, min(self.newest, *self.watermarks.values())) if self.watermarks else self.newest

    def take(self, bounds: Mapping[str, int | None]) -> None:
        """Take what a worker tells of its partitions; None: nothing is left to read there."""
        for place, bound in bounds.items():
            if bound is None:
                self.watermarks.pop(place, None)
            else:
                self.watermarks[place] = bound

    def entry(self) -> bytes:
        """As a state entry."""
        return pack([self.at, self.newest, self.watermarks, self.moved_ms])


class Reported:
    """What a worker has reported of its partitions, so that it need report only what is new."""

    def __init__(self) -> None:
        self._reported: dict[str, Mapping[str, int | None]] = {}
        self._whole_at = 0.0

    def news(self, flow: str, bounds: Mapping[str, int | None]) -> Mapping[str, int | None]:
        """Of all places of this worker that a flow reads, those that stand otherwise than reported."""
        known = self._reported.get(flow, {})
        self._reported[flow] = bounds
        return {place: bound for place, bound in bounds.items() if place not in known or known[place] != bound}

    def begin(self, now: float) -> None:
        """A look begins, at this monotonic second; now and then all is news."""
        if now - self._whole_at > TELL_AGAIN_SECONDS:
            self._whole_at = now
            self._reported.clear()

    def forget(self) -> None:
        """It is not certain that what was reported arrived."""
        self._reported.clear()


def place_of(feed: str, partition: int) -> str:
    """A source partition as text; the inbox has no feed's name."""
    return f"{feed}|{partition}"


def feed_of(place: str) -> str:
    """The feed of a place."""
    return place.rpartition("|")[0]
