"""Rules of tax governance, from the dated files beside this one; months of tax; and the names that its modules share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from schemas.dated.configuration import DAY_MICROS, Dated, dated, day_of, midnight
from schemas.errors import Misconfigured

WARNING, INBOX, FEEDBACK, REFUSAL = "tax.warning", "tax.inbox", "tax.feedback", "tax.refusal"
PRECISION, SOURCE, QUEUE = "tax.rule_precision", "tax.evidence_source", "tax.queue"

SETTLES, RETRACTS = "SETTLES", "RETRACTS"
RULES = tuple(f"W{number}" for number in range(1, 10))

_HERE = Path(__file__).parent
_SECOND_MICROS = 1_000_000
_DECEMBER = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule as it was in force on the day of a cause event; rules.yaml says what each value is."""

    id: str
    title: str
    inputs: Sequence[str]
    needs: frozenset[str]
    grace_days: int
    late: str
    severity: str
    owner: str
    window_days: int | None
    window_periods: int | None
    filing_days: int
    values: Mapping[str, Any]

    def deadline(self, at: int) -> int:
        """Until when evidence of a cause event at `at` is in time, exclusive: microseconds."""
        day = day_of(at)
        if self.window_days is not None:
            return midnight(day + timedelta(days=self.window_days + 1))
        after = day.year * _DECEMBER + day.month + (self.window_periods or 0)  # the month after the last that counts
        return midnight(date(after // _DECEMBER, after % _DECEMBER + 1, 1)) + self.filing_days * DAY_MICROS

    def due(self, at: int) -> int:
        """When absence is judged: the deadline plus grace."""
        return self.deadline(at) + self.grace_days * DAY_MICROS

    @property
    def takes_late(self) -> bool:
        """Whether evidence dated after the deadline retracts as well."""
        return self.late == RETRACTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What holds for all rules; settings.yaml says what each value is. Durations are microseconds."""

    settle: int
    closes_after: int
    precision_percent_min: int
    answers_min: int
    known_max: int
    fallback_region: str


@cache
def _rules() -> Dated:
    return dated(_HERE / "rules.yaml", key=["id"])


@cache
def _settings() -> Dated:
    return dated(_HERE / "settings.yaml")


@cache
def _rule(identity: str, day: date) -> Rule | None:
    values = _rules().find(midnight(day), identity)
    if values is None:
        return None
    days, periods = values.get("window_days"), values.get("window_periods")
    if values["late"] not in {SETTLES, RETRACTS} or (days is None) == (periods is None):
        fix = "give it window_days or window_periods, and late: RETRACTS or SETTLES"
        raise Misconfigured(f"tax rule {identity}", "its window or what late evidence does is not told", fix=fix)
    return Rule(
        id=identity,
        title=values["title"],
        inputs=tuple(values["inputs"]),
        needs=frozenset(values["needs"]),
        grace_days=values["grace_days"],
        late=values["late"],
        severity=values["severity"],
        owner=values["owner"],
        window_days=days,
        window_periods=periods,
        filing_days=values.get("filing_days", 0),
        values=values,
    )


def rule_at(identity: str, moment: int) -> Rule | None:
    """The rule as in force on the day of a moment; None if it was not yet, or no longer."""
    return _rule(identity, day_of(moment))


def settings_at(moment: int) -> Settings:
    """The settings in force at a moment."""
    values = _settings().at(moment)
    return Settings(
        settle=values["settle_seconds"] * _SECOND_MICROS,
        closes_after=values["closes_after_days"] * DAY_MICROS,
        precision_percent_min=values["precision_percent_min"],
        answers_min=values["answers_min"],
        known_max=values["known_max"],
        fallback_region=values["fallback_region"],
    )


# ── months (税款所属期, yyyymm) ──────────────────────────────────────────────────────────────────────────────────────────


def month_of(moment: int) -> str:
    """The month of a moment, in Asia/Shanghai."""
    return f"{day_of(moment):%Y%m}"


def month_after(month: str, count: int = 1) -> str:
    """The month `count` months later."""
    number = int(month[:4]) * _DECEMBER + int(month[4:]) - 1 + count
    return f"{number // _DECEMBER:04}{number % _DECEMBER + 1:02}"


def last_moment(month: str) -> int:
    """The last microsecond of a month."""
    follower = month_after(month)
    return midnight(date(int(follower[:4]), int(follower[4:]), 1)) - 1


def is_month(text: str) -> bool:
    """Whether a text is a month, yyyymm."""
    return len(text) == 6 and text.isascii() and text.isdigit() and 1 <= int(text[4:]) <= _DECEMBER and text >= "1900"
