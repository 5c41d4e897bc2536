"""Life: the city goes on living, at a chosen rate of committed row changes a second."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from ops.city.beside import beside
from ops.city.city import City, address
from ops.city.department.change import RowChange
from ops.city.department.database import Writer
from ops.city.department.opened import department_at
from ops.city.events import EVENTS
from ops.city.office.offices import Offices
from ops.city.opening_day import settle
from ops.city.scene import Scene

TICK_SECONDS = 0.02
DEBT_SECONDS = 0.5
"""After a stall the city catches up at most this much, so that a rate stays a rate and never becomes a burst."""


class Happenings:
    """Draws events by weight, for ever; the same seed draws the same ones."""

    def __init__(self, city: City) -> None:
        settle(city)
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
    """Keeps a filled city living in its databases: its people and registers, and beside them the departments' own programs.

    One thread calls `run`; others may read `committed`.

    A second life of the same city goes on where the first one was stopped. A department whose database is away, or refuses what the
    city writes, is done without until it is back; `hindered` says, by feed or agency, what that is now.

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
        self._refused: dict[str, str] = {}
        self._offices = Offices(dsn_of_agency, city.agencies, seed=city.seed, clock=lambda: self._happenings.scene.now)
        self._dsns = {agency: address(dsn_of_agency, agency) for agency in city.agencies}
        self._clock = clock

    @property
    def total(self) -> int:
        """Row changes committed so far; what offices write is not among them."""
        return sum(self.committed.copy().values())

    def per_feed(self) -> dict[str, int]:
        """Row changes committed so far, per feed."""
        counted: Counter[str] = Counter()
        for (feed, _), count in self.committed.copy().items():
            counted[feed] += count
        return dict(counted)

    @property
    def hindered(self) -> dict[str, str]:
        """What the city, or a department's program, cannot write now, and why."""
        return {**self._offices.hindered.copy(), **self._refused.copy()}

    def run(self, stop: threading.Event) -> None:
        """Live until `stop` is set; everything sent is committed on return."""
        with self._writers() as writers, beside(self._offices.run, "offices") as check:
            last, owed = self._clock(), 0.0
            while not stop.is_set():
                check()
                now = self._clock()
                owed = min(owed + (now - last) * self.rate, self.rate * DEBT_SECONDS)
                last = now
                owed -= self._live(writers, owed)
                stop.wait(max(0.0, TICK_SECONDS - (self._clock() - now)))

    def _live(self, writers: Mapping[str, Writer], owed: float) -> int:
        scene = self._happenings.scene
        before = scene.changes
        busy: set[str] = set()
        while scene.changes - before < owed:
            for agency, changes in self._happenings.next():
                writers[agency].send(changes)
                busy.add(agency)
        for agency in busy:
            self.committed += writers[agency].answers()
        return scene.changes - before

    @contextmanager
    def _writers(self) -> Iterator[dict[str, Writer]]:
        contracts = self._happenings.scene.city.of_agency
        with ExitStack() as stack:
            writers: dict[str, Writer] = {}
            for agency, dsn in self._dsns.items():
                writers[agency] = department_at(dsn).writer(agency, contracts(agency), self._refused)
                stack.callback(writers[agency].close)
            yield writers
