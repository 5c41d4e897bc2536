"""Calendar: working days (工作日), with public holidays and make-up working days (调休), as the State Council announces them.

Days are raw Avro dates: days since 1970-01-01, calendar days in Asia/Shanghai. Moments are microseconds UTC. A year that the
file does not name (not announced yet) has its Mondays to Fridays.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path

from schemas.dated.configuration import DAY_MICROS, midnight
from schemas.errors import Misconfigured

_EPOCH = date(1970, 1, 1)
_EPOCH_WEEKDAY = 3  # a Thursday
_SATURDAY = 5
_FILE = Path(__file__).parent / "working_days.csv"


def day_number(text: str) -> int:
    """An ISO date as days since 1970-01-01. Raises ValueError."""
    return (date.fromisoformat(text) - _EPOCH).days


def day_at(moment: int) -> int:
    """The calendar day in Asia/Shanghai at a moment in microseconds."""
    return (moment - midnight(0)) // DAY_MICROS


@dataclass(frozen=True, slots=True)
class Calendar:
    """Which days are worked: `exceptions` maps a day to True (make-up) or False (holiday); others go by their weekday."""

    exceptions: Mapping[int, bool]

    @classmethod
    def read(cls, path: Path) -> Calendar:
        """A calendar from a CSV of first, last, kind {HOLIDAY, MAKE_UP}, name. Raises Misconfigured."""
        exceptions: dict[int, bool] = {}
        with path.open(encoding="utf-8", newline="") as lines:
            for number, line in enumerate(csv.DictReader(lines), start=2):
                try:
                    first, last = day_number(line["first"]), day_number(line["last"])
                    is_worked = {"HOLIDAY": False, "MAKE_UP": True}[line["kind"]]
                except (KeyError, ValueError) as error:
                    raise Misconfigured(
                        f"{path.name}:{number}",
                        "not a line of a calendar",
                        fix="write first and last as ISO dates and kind as HOLIDAY or MAKE_UP",
                    ) from error
                days = range(first, last + 1)
                if not days or any(day in exceptions for day in days):
                    raise Misconfigured(
                        f"{path.name}:{number}",
                        "no days, or days that an earlier line has",
                        fix="name each day once, the first not after the last",
                    )
                exceptions.update(dict.fromkeys(days, is_worked))
        return cls(exceptions)

    def is_working_day(self, day: int) -> bool:
        """Whether offices are open on a day."""
        known = self.exceptions.get(day)
        return (day + _EPOCH_WEEKDAY) % 7 < _SATURDAY if known is None else known

    def add_working_days(self, day: int, count: int) -> int:
        """The `count`-th working day after a day, which itself does not count; with 0 the first working day not before it."""
        if count == 0:
            while not self.is_working_day(day):
                day += 1
            return day
        while count > 0:
            day += 1
            count -= self.is_working_day(day)
        return day

    def deadline(self, moment: int, count: int) -> int:
        """The end, microseconds, of the `count`-th working day after the day of a moment: due before it, late from it on."""
        return midnight(self.add_working_days(day_at(moment), count) + 1)


@cache
def city_calendar() -> Calendar:
    """The calendar of the city's offices."""
    return Calendar.read(_FILE)


def is_working_day(day: int) -> bool:
    """Whether the city's offices are open on a day."""
    return city_calendar().is_working_day(day)


def add_working_days(day: int, count: int) -> int:
    """The `count`-th working day of the city's offices after a day."""
    return city_calendar().add_working_days(day, count)


def deadline(moment: int, count: int) -> int:
    """The end of the `count`-th working day of the city's offices after the day of a moment, microseconds."""
    return city_calendar().deadline(moment, count)
