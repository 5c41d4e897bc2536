"""Shelf: changes laid out by a lane until their subscriber takes and acknowledges them.

What is taken is leased: not acknowledged within `visibility_seconds`, it lies there again, first in the row. The lane lays out one
change of a key at a time, so none is taken while an earlier one of its key is out (invariant 4). A lease counts against a change
only where others were acknowledged since it was first taken: a subscriber that is away makes no dead letters.

Any thread may call. Nothing here waits.
"""

from __future__ import annotations

import itertools
import math
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field

from schemas.change import Partition
from schemas.errors import MeshError, Rejected
from sinks.ending import OUTSIDE


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveMessage:
    """One change as it is told: the topic it came by, its feed, and the JSON of sinks/http/webhook.py in one line."""

    topic: str
    feed: str
    body: bytes


@dataclass(slots=True, eq=False, kw_only=True)
class Laid:
    """A message that lies out or is leased. `receipt` is the last one that was given for it."""

    place: Partition
    offset: int
    message: LiveMessage
    answer: Future[MeshError | None] = field(default_factory=Future)
    deliveries: int = 0
    tries: int = 0
    first_taken_at: float = math.inf
    due: float = math.inf
    receipt: str = ""

    @property
    def is_ending(self) -> bool:
        """Whether it tells of the end of a grant, and stands on no topic."""
        return self.place[1] == OUTSIDE

    def resolve(self, error: MeshError | None) -> None:
        """Answer the lane, unless it asks no more."""
        with suppress(InvalidStateError):  # where it was withdrawn
            self.answer.set_result(error)


class Shelf:
    """One life of a sink's. `now` is a clock that only goes forward."""

    def __init__(
        self,
        *,
        visibility_seconds: float,
        leases_max: int,
        deliveries_max: int,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._visibility_seconds = visibility_seconds
        self._leases_max = leases_max
        self._deliveries_max = deliveries_max
        self._now = now
        self._lock = threading.Lock()
        self._row: deque[Laid] = deque()
        self._leased: dict[str, Laid] = {}  # in the order in which they fall due
        self._confirmed: dict[Partition, int] = {}
        self._endings: dict[str, Laid] = {}
        self._acknowledged_at = -math.inf

    # -- the lane's side -----------------------------------------------------------------------------------------------

    def lay(self, place: Partition, offset: int, message: LiveMessage) -> Future[MeshError | None]:
        """Lay one out; the answer is None once it is acknowledged. Cancelling it takes it back."""
        laid = Laid(place=place, offset=offset, message=message)
        with self._lock:
            if offset < self._confirmed.get(place, 0):
                laid.resolve(None)
            else:
                self._row.append(laid)
                if len(self._row) > self._leases_max:
                    self._row = deque(each for each in self._row if not each.answer.cancelled())
        return laid.answer

    def lay_ending(self, message: LiveMessage) -> bool:
        """Lay out that a grant has ended, once; whether that was acknowledged."""
        with self._lock:
            laid = self._endings.get(message.topic)
            if laid is None:
                laid = Laid(place=(message.topic, OUTSIDE), offset=0, message=message)
                self._endings[message.topic] = laid
                self._row.append(laid)
            return laid.answer.done()

    # -- the subscriber's side -----------------------------------------------------------------------------------------

    @property
    def is_all_leased(self) -> bool:
        """Whether as many are out as may be."""
        with self._lock:
            self._expire()
            return len(self._leased) >= self._leases_max

    @property
    def due_seconds(self) -> float:
        """How long until the first of what is out lies here again; infinite when nothing is out."""
        with self._lock:
            first = next(iter(self._leased.values()), None)
            return math.inf if first is None else max(0.0, first.due - self._now())

    def take(self, count_max: int, granted: Mapping[str, str]) -> Sequence[Laid]:
        """Lease the next ones. Only of topics that are granted at this moment (invariant 6), beside ends of grants."""
        taken: list[Laid] = []
        with self._lock:
            self._expire()
            now = self._now()
            aside: list[Laid] = []
            while self._row and len(taken) < count_max and len(self._leased) < self._leases_max:
                laid = self._row.popleft()
                if laid.answer.done():
                    continue
                if not laid.is_ending and laid.message.topic not in granted:
                    aside.append(laid)  # its lane takes it back in a moment
                    continue
                laid.deliveries += 1
                laid.first_taken_at = min(laid.first_taken_at, now)
                laid.due = now + self._visibility_seconds
                laid.receipt = secrets.token_urlsafe(18)
                self._leased[laid.receipt] = laid
                taken.append(laid)
            self._row.extendleft(reversed(aside))
        return taken

    def acknowledge(self, receipts: Iterable[str]) -> Sequence[str]:
        """The subscriber has these for good. Returns those that are none any more: late, or acknowledged before."""
        unknown: list[str] = []
        with self._lock:
            self._expire()
            for receipt in receipts:
                laid = self._leased.pop(receipt, None)
                if laid is None:
                    unknown.append(receipt)
                else:
                    laid.resolve(None)
                    self._acknowledged_at = self._now()
        return unknown

    def confirm(self, offsets: Mapping[Partition, int]) -> None:
        """The subscriber has everything below these offsets for good, by its stream: what lies here, and what is still to come."""
        with self._lock:
            for place, offset in offsets.items():
                self._confirmed[place] = max(offset, self._confirmed.get(place, 0))
            for laid in itertools.chain(self._row, self._leased.values()):
                if laid.offset < self._confirmed.get(laid.place, 0):
                    laid.resolve(None)
            self._row = deque(laid for laid in self._row if not laid.answer.done())
            self._leased = {receipt: laid for receipt, laid in self._leased.items() if not laid.answer.done()}

    def endings(self) -> Sequence[LiveMessage]:
        """The ends of grants that were not acknowledged yet."""
        with self._lock:
            return [laid.message for laid in self._endings.values() if not laid.answer.done()]

    def _expire(self) -> None:
        """What was not acknowledged in time lies here again, or is given up."""
        now = self._now()
        late: list[Laid] = []
        while self._leased:
            receipt, laid = next(iter(self._leased.items()))
            if laid.due > now:
                break
            del self._leased[receipt]
            if self._acknowledged_at > laid.first_taken_at:
                laid.tries += 1
            if laid.tries >= self._deliveries_max and not laid.is_ending:
                text = f"taken {laid.deliveries} times and never acknowledged, while others were"
                laid.resolve(Rejected("not_acknowledged", text))
            else:
                late.append(laid)
        self._row.extendleft(reversed(late))
