"""Cycle: when a period (配置期) of the car quota closes, freezes and is drawn, and how many quotas it has.

Periods read yyyymm. All moments are microseconds of event time; a day ends at midnight in Asia/Shanghai.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from schemas.dated.configuration import DAY_MICROS, dated, day_of, midnight
from schemas.errors import Misconfigured
from streams.operators.ask import Part, by_answerer

HERE = Path(__file__).parent
CYCLE_MONTHS = 12
MINUTE_MICROS = 60_000_000
LOTTERY = "LOTTERY"

_packs = dated(HERE / "cycle.yaml")
_departments = dated(HERE / "departments.yaml", key=["applicant_kind"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """One period with its moments.

    Applications count until `cutoff_at`; the first answers are due by `due_at`; what counts at all comes before `freeze_at`;
    the roster is taken at `roster_at`, when what was on its way has arrived.
    """

    name: str
    first_day: int
    cutoff_at: int
    due_at: int
    freeze_at: int
    draw_on: date
    redraw_on: tuple[date, ...]
    pack: Mapping[str, Any]

    @property
    def grace(self) -> int:
        """How long after a deadline what is on its way may still arrive, microseconds."""
        return self.pack["grace_minutes"] * MINUTE_MICROS

    @property
    def roster_at(self) -> int:
        """When the roster is taken: cases close one grace after the freeze, and their word needs another to arrive."""
        return self.freeze_at + 2 * self.grace

    @property
    def next(self) -> str:
        """The period after this one."""
        return _name(_month(self.name) + 1)

    def parts(self, applicant_kind: str) -> tuple[Part, ...]:
        """The departments that answer for such an applicant in this period, with the columns that each sees."""
        return _parts(applicant_kind, self.first_day)

    def has_unique(self, applicant_kind: str) -> bool:
        """Whether such an applicant may apply only once in the period."""
        return applicant_kind in self.pack["unique_applicants"]

    def allotment(self, quota_kind: str, method: str = LOTTERY) -> int:
        """Quotas of this month: the cycle's, spread evenly, so that twelve months sum exactly to the cycle's."""
        number = self._month_of_cycle
        total = _share(self.pack, quota_kind, method)
        return total * (number + 1) // CYCLE_MONTHS - total * number // CYCLE_MONTHS

    def available(self, quota_kind: str, drawn: Mapping[str, int], method: str = LOTTERY) -> int:
        """What the cycle has allotted up to this month, less what earlier periods of the same cycle drew."""
        earlier = self.before_in_cycle()
        months = [found for name in (*earlier, self.name) if (found := find_period(name)) is not None]
        allotted = sum(month.allotment(quota_kind, method) for month in months)
        return allotted - sum(drawn.get(name, 0) for name in earlier)

    def before_in_cycle(self) -> list[str]:
        """The earlier periods of the same cycle."""
        month = _month(self.name)
        return [_name(number) for number in range(month - self._month_of_cycle, month)]

    def after_in_cycle(self) -> list[str]:
        """The later periods of the same cycle, as far as the same pack rules them."""
        month = _month(self.name)
        names = [_name(number) for number in range(month + 1, month - self._month_of_cycle + CYCLE_MONTHS)]
        return [name for name in names if (found := find_period(name)) is not None and found.pack is self.pack]

    @property
    def _month_of_cycle(self) -> int:
        return (_month(self.name) - _month(self.pack["first_period"])) % CYCLE_MONTHS


@lru_cache(maxsize=4096)
def find_period(name: str) -> Period | None:
    """The period of this name; None where it is no yyyymm, or before the first pack."""
    if len(name) != 6 or not name.isascii() or not name.isdigit() or not 1 <= int(name[4:]) <= 12 or int(name) < 190001:
        return None
    first = date(int(name[:4]), int(name[4:]), 1)
    pack = _packs.find(midnight(first))
    if pack is None:
        return None
    return Period(
        name=name,
        first_day=midnight(first),
        cutoff_at=_end(first, pack["cutoff_day"]),
        due_at=_end(first, pack["answers_due_day"]),
        freeze_at=_end(first, pack["freeze_day"]),
        draw_on=first.replace(day=pack["draw_day"]),
        redraw_on=tuple(first.replace(day=day) for day in pack["redraw_days"]),
        pack=pack,
    )


def period_of(name: str) -> Period:
    """The period of this name. Raises Misconfigured where there is none."""
    found = find_period(name)
    if found is None:
        raise Misconfigured("configuration quota/cycle.yaml", f"has no period {name}", fix="add a pack for that time")
    return found


def periods_from(period: Period) -> Iterator[Period]:
    """The periods after one, in order, as far as packs go."""
    found = find_period(period.next)
    while found is not None:
        yield found
        found = find_period(found.next)


def days_micros(days: int) -> int:
    """Days as microseconds."""
    return days * DAY_MICROS


@lru_cache(maxsize=1024)
def _parts(applicant_kind: str, moment: int) -> tuple[Part, ...]:
    return by_answerer(_departments.at(moment, applicant_kind)["columns"])


def agencies() -> Sequence[str]:
    """Every department that any pack asks, in order of first mention."""
    return list(dict.fromkeys(agency for entry in _departments.entries for agency in entry.values["columns"]))


def first_days() -> Sequence[date]:
    """The first day of every pack, the first of all first."""
    return [day_of(entry.valid_from) for entry in _packs.entries if entry.valid_from is not None]


def asked_columns() -> Sequence[str]:
    """Every column of an application that some department sees, in order of first mention."""
    found = (columns for entry in _departments.entries for columns in entry.values["columns"].values())
    return list(dict.fromkeys(column for columns in found for column in columns))


def _share(pack: Mapping[str, Any], quota_kind: str, method: str) -> int:
    percent = sum(
        share["percent"] for share in pack["shares"] if (share["quota_kind"], share["method"]) == (quota_kind, method)
    )
    return pack["quota_per_cycle"] * percent // 100


def _end(first: date, day: int) -> int:
    return midnight(first.replace(day=day) + timedelta(days=1))


def _month(name: str) -> int:
    return int(name[:4]) * 12 + int(name[4:]) - 1


def _name(month: int) -> str:
    return f"{month // 12:04}{month % 12 + 1:02}"
