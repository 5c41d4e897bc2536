"""Book: how a subject enters itself into series: one contribution per subject and cell, withdrawn when it no longer holds.

A *stock* (存量) is counted at the end of each period: the subject enters +1 in the month in which a cell begins and -1 in the
month in which it ends, so that late and corrected events change the past months too. A *flow* (流量) is counted on its day.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from schemas.dated.calendar import day_at
from schemas.dated.configuration import midnight
from streams.flows.regions import city_regions
from streams.flows.statistics.place import AS_THEN, TODAY, Place
from streams.flows.statistics.settings import SETTINGS, iso, month_of
from streams.operators.flow import Outcome

State = tuple[Place, str]
"""Where a subject is counted, and in which group."""


class Book:
    """Enters one subject's contributions, as far as its flow's clock has come."""

    def __init__(self, outcome: Outcome, now: int) -> None:
        self._outcome = outcome
        self.today = day_at(now)
        change = city_regions().next_change(self.today)
        if change is not None:
            outcome.wake(midnight(change))

    def stock(self, statistic: str, days: Iterable[int], state_on: Callable[[int], State | None]) -> None:
        """Enter a state that can change on some days (and where boundaries do); None: not counted there."""
        ordered = sorted(set(days))
        if not ordered:
            return
        moments = sorted({*ordered, *(change for change in city_regions().changes if change > ordered[0])})
        for scheme in (AS_THEN, TODAY):
            former: str | None = None
            for day in moments:
                if day > self.today:
                    self._outcome.wake(midnight(day))
                    break
                state = state_on(day)
                cell = None
                if state is not None:
                    region = state[0].on(day if scheme == AS_THEN else self.today)
                    cell = f"stock:{scheme}|{statistic}|{region}|{state[1]}"
                if cell != former:
                    month = month_of(max(day, SETTINGS.opens))
                    self._add(former, month, -1)
                    self._add(cell, month, 1)
                    former = cell

    def flow(self, statistic: str, day: int, entry_on: Callable[[int], tuple[str, str] | None]) -> None:
        """Enter an event of a day. `entry_on` gives region and group in the boundaries of a day; None: not counted in them."""
        if day < SETTINGS.opens:
            return
        if day > self.today:
            self._outcome.wake(midnight(day))
            return
        for scheme, boundaries in ((AS_THEN, day), (TODAY, self.today)):
            entry = entry_on(boundaries)
            if entry is not None:
                self._add(f"flow:{scheme}|{statistic}|{entry[0]}|{entry[1]}|{iso(day)[:4]}", iso(day), 1)

    def _add(self, cell: str | None, period: str, count: int) -> None:
        if cell is None:
            return
        counts = self._outcome.counts
        counts[cell, period] = counts.get((cell, period), 0) + count
        if not counts[cell, period]:
            del counts[cell, period]
