"""Rewind: a request to deliver an `out` topic again from earlier offsets, and where a lane's requests wait until they are begun."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from schemas.change import Partition

REASON = "it is delivered again from an earlier position, as a person asked with `mesh replay`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """One request: the grant's `out` topic from these offsets on, by partition. They mean nothing in a later one of its topics."""

    request_id: str
    grant_id: str
    topic: str
    starts: Mapping[int, int]


class Replays(Protocol):
    """Where requests to deliver again come from, and where it is said that one is begun for good. Neither call blocks long."""

    def pending(self) -> Collection[Replay]:
        """The requests that are not begun."""
        ...

    def begun(self, replay: Replay) -> None:
        """This one is: its target, or its group, stands at the earlier offsets."""
        ...


@runtime_checkable
class Rewindable(Protocol):
    """A keeper of offsets that can be set back."""

    def rewind(self, starts: Mapping[Partition, int]) -> None:
        """Keep these offsets from now on, for partitions that it has taken over."""
        ...


class Rewinds:
    """The requests for one lane. `add` and `take` come from different threads."""

    def __init__(self, begun: Callable[[Replay], None]) -> None:
        self._begun = begun
        self._lock = threading.Lock()
        self._starts: dict[Partition, tuple[int, Replay]] = {}

    def add(self, topic: str, replay: Replay) -> None:
        """Have this done when the topic's partitions are assigned next."""
        with self._lock:
            self._starts |= {(topic, partition): (offset, replay) for partition, offset in replay.starts.items()}

    def of(self, places: Collection[Partition]) -> dict[Partition, int]:
        """Where these partitions are to begin again, of those for which it was asked."""
        with self._lock:
            return {place: self._starts[place][0] for place in places if place in self._starts}

    def done(self, places: Collection[Partition]) -> None:
        """These stand there for good."""
        with self._lock:
            taken = [self._starts.pop(place)[1] for place in places if place in self._starts]
            left = {replay.request_id for _, replay in self._starts.values()}
        for replay in {replay.request_id: replay for replay in taken if replay.request_id not in left}.values():
            self._begun(replay)
