"""Settings of the statistics: what is counted, of which population, since when, in which age bands."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

from schemas.dated.calendar import day_number
from schemas.dated.configuration import dated
from schemas.errors import Misconfigured

_FILE = Path(__file__).with_name("statistics.yaml")
_EPOCH = date(1970, 1, 1)
UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Statistic:
    """One statistic: its unit, and the population that it counts (no figure without its definition, HANDBOOK §1.3)."""

    unit: str
    population: str


@dataclass(frozen=True, slots=True)
class Settings:
    """What the file says. `opens`: the day on which series begin; `age_bands`: first age of each band, rising from 0."""

    opens: int
    stock_months: int
    age_bands: tuple[int, ...]
    statistics: Mapping[str, Statistic]


def _read() -> Settings:
    name = f"configuration statistics/{_FILE.name}"
    values: Mapping[str, Any] = dated(_FILE).at(0)
    try:
        settings = Settings(
            opens=day_number(str(values["opens"])),
            stock_months=int(values["stock_months"]),
            age_bands=tuple(values["age_bands"]),
            statistics={key: Statistic(it["unit"], it["population"]) for key, it in values["statistics"].items()},
        )
    except (KeyError, TypeError, ValueError) as error:
        fix = "write opens as a date, stock_months, age_bands as a list, and statistics with unit and population"
        raise Misconfigured(name, "is not complete", fix=fix) from error
    if list(settings.age_bands) != sorted(set(settings.age_bands)) or settings.age_bands[:1] != (0,):
        raise Misconfigured(name, "age bands overlap", fix="begin age_bands with 0 and let them rise")
    return settings


SETTINGS = _read()


def age_band(birth: int | None, day: int) -> str:
    """The age band of somebody born on a day, on another day (both Avro dates)."""
    if birth is None or birth > day:
        return UNKNOWN
    bands = SETTINGS.age_bands
    place = bisect_right(band_days(birth), day) - 1
    return f"{bands[place]}-{bands[place + 1] - 1}" if place + 1 < len(bands) else f"{bands[place]}+"


@lru_cache(maxsize=50_000)
def band_days(birth: int) -> tuple[int, ...]:
    """The days on which somebody born on a day enters each age band."""
    return tuple(birthday(birth, age) for age in SETTINGS.age_bands)


def birthday(birth: int, age: int) -> int:
    """The day on which an age is reached; who was born on 29 February reaches it on 1 March of a common year."""
    born = date.fromordinal(birth + _EPOCH.toordinal())
    try:
        reached = born.replace(year=born.year + age)
    except ValueError:
        reached = date(born.year + age, 3, 1)
    return (reached - _EPOCH).days


def month_of(day: int) -> str:
    """The month of a day, such as 2016-10."""
    return f"{date.fromordinal(day + _EPOCH.toordinal()):%Y-%m}"


def iso(day: int) -> str:
    """A day as an ISO date."""
    return date.fromordinal(day + _EPOCH.toordinal()).isoformat()


def first_day_after(month: str) -> int:
    """The first day of the month after this one."""
    year, number = int(month[:4]), int(month[5:])
    return (date(year + number // 12, number % 12 + 1, 1) - _EPOCH).days


def month_after(month: str) -> str:
    """The next month."""
    return month_of(first_day_after(month))


def months_before(month: str, count: int) -> str:
    """The month so many months ago."""
    number = int(month[:4]) * 12 + int(month[5:]) - 1 - count
    return f"{number // 12:04}-{number % 12 + 1:02}"
