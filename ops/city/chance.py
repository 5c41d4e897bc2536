"""Days and amounts at random, around the day the city opens."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from random import Random

BEIJING = timezone(timedelta(hours=8))
OPENING = date(2016, 10, 31)
"""The day the figures stand for; what happens live happens after it."""
OPENED_AT = datetime(2016, 10, 31, 16, 0, tzinfo=UTC)
"""The midnight that ends the opening day, in Beijing."""
UNLIMITED = date(2099, 12, 31)
"""What the national forms want in a column of dates for something without an end (长期)."""


def days_ago(rng: Random, least: int, most: int) -> date:
    """A day at random, that many days before the opening day."""
    return OPENING - timedelta(days=least + int(rng.random() * (most - least)))


def moment_of(rng: Random, day: date) -> datetime:
    """A moment in the office hours of a day, in UTC."""
    return datetime(day.year, day.month, day.day, 1, 0, tzinfo=UTC) + timedelta(minutes=int(rng.random() * 480))


def at(period: str, day: int) -> datetime:
    """A moment in the period (yyyymm), in UTC."""
    return datetime(int(period[:4]), int(period[4:]), day, 2, 0, tzinfo=UTC)


def next_period(period: str) -> str:
    """The month (yyyymm) after."""
    year, month = int(period[:4]), int(period[4:])
    return f"{year + month // 12}{month % 12 + 1:02}"


def money(rng: Random, least: int, most: int) -> str:
    """An amount as the text of a decimal with two places."""
    return f"{least + int(rng.random() * (most - least))}.{int(rng.random() * 100):02}"


def age_of(born: date, today: date) -> int:
    """Full years since birth, to within a day."""
    return (today - born).days * 4 // 1461
