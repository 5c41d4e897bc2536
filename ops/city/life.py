"""Life: the city goes on living, at a chosen rate of committed row changes a second."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from ops.city.city import City, address
from ops.city.events import EVENTS
from ops.city.office import Office
from ops.city.scene import Scene
from ops.city.statement import RowChange

TICK_SECONDS = 0.02
DEBT_SECONDS = 0.5
"""After a stall the city catches up at most this much, so that a rate stays a rate and never becomes a burst."""


class Happenings:
    """Draws events by weight, for ever; the same seed draws the same ones."""

    def __init__(self, city: City) -> None:
        city.settle()
        self.scene = Scene(city)
        self._events = tuple(EVENTS)
        weights = list(EVENTS.values())
        self._cumulative = [sum(weights[: place + 1]) for place in range(len(weights))]

    def next(self) -> Iterator[tuple[str, list[RowChange]]]:
        """Let one event happen; its transactions, by department."""
        event = self.scene.rng.choices(self._events, cum_weights=self._cumulative)[0]
        event(self.scene)
        return self.scene.transactions()


class Life:
    """Keeps a filled city living in its databases. One thread calls `run`; others may read `committed`.

    A second life of the same city goes on where the first one was stopped.

    `rate` is in committed row changes a second, over all departments, and may be set while it runs.
    """

    def __init__(
        self,
        city: City,
        dsn_of_agency: Mapping[str, str],
        rate: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rate = rate
        self.committed: Counter[tuple[str, str]] = Counter()
        self._happenings = Happenings(city)
        self._dsns = {agency: address(dsn_of_agency, agency) for agency in city.agencies}
        self._clock = clock

    @property
    def total(self) -> int:
        """Row changes committed so far."""
        return sum(self.committed.copy().values())

    def per_feed(self) -> dict[str, int]:
        """Row changes committed so far, per feed."""
        counted: Counter[str] = Counter()
        for (feed, _), count in self.committed.copy().items():
            counted[feed] += count
        return dict(counted)

    def run(self, stop: threading.Event) -> None:
        """Live until `stop` is set; everything sent is committed on return. Raises Transient when a database is gone."""
        with self._offices() as offices:
            last, owed = self._clock(), 0.0
            while not stop.is_set():
                now = self._clock()
                owed = min(owed + (now - last) * self.rate, self.rate * DEBT_SECONDS)
                last = now
                owed -= self._live(offices, owed)
                stop.wait(max(0.0, TICK_SECONDS - (self._clock() - now)))

    def _live(self, offices: Mapping[str, Office], owed: float) -> int:
        scene = self._happenings.scene
        before = scene.changes
        busy: set[str] = set()
        while scene.changes - before < owed:
            for agency, changes in self._happenings.next():
                offices[agency].send(changes)
                busy.add(agency)
        for agency in busy:
            self.committed += offices[agency].answers()
        return scene.changes - before

    @contextmanager
    def _offices(self) -> Iterator[dict[str, Office]]:
        with ExitStack() as stack:
            offices: dict[str, Office] = {}
            for agency, dsn in self._dsns.items():
                offices[agency] = Office(agency, dsn)
                stack.callback(offices[agency].close)
            yield offices
