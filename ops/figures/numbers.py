"""Numbers: what figures and disagreements are computed from, of the brief or of the running mesh alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

CASES, PERSONS = "cases", "persons"
UNITS = (CASES, PERSONS)
Counted = Mapping[str, int]
"""A count in both units: `cases` (宗) and `persons` (人次)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A rate as somebody states it: without unit, base and parts it cannot be checked."""

    rate: str
    percent: Decimal
    unit: str | None = None
    base: str | None = None
    numerator: int | None = None
    denominator: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """Household checks (核对) of one window. `kinds`: completed, by kind of case."""

    accepted: Counted
    opening_backlog: Counted
    completed: Counted
    ineligible: Counted
    kinds: Mapping[str, Counted]
    rates: Sequence[Rate]


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """Whom a coverage is a share of; `definition` says who counts."""

    population: str
    entities: int
    with_code: int
    definition: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Coverage with unified social credit codes. `percent` is what is stated, `declared` the population it is stated of."""

    percent: Decimal
    populations: Sequence[Population]
    declared: Population


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """Car quota: `visits` that applicants were spared, at `hours_per_visit`; `requests` that departments got instead.

    `visits` is None where nobody counts them. `starts`: every day that is given as the first; `first` and `until`: the first and last
    month with applications.
    """

    applications: int
    departments: int
    requests: int
    visits: int | None
    hours_per_visit: Decimal
    starts: Sequence[date]
    first: date
    until: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Tax:
    """Tax warnings. `grouped`: how many stand in the taxpayers' inboxes together; None without inboxes."""

    warnings: int
    taxpayers: int
    grouped: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """Credit records gathered, those in each database, and those that have another named place (unmatched, pending)."""

    received: int
    databases: Mapping[str, int]
    elsewhere: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """Names in use for one thing."""

    disagreement: str
    code: str
    names: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """How many members a list has (stated, configured), and how many of them can be found (named, active)."""

    stated: int
    found: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """All of one side; a part is None (or empty) while there is nothing to count."""

    check: Checks | None
    coverage: Coverage | None
    quota: Quota | None
    tax: Tax | None
    credit: Credit | None
    terms: Sequence[Term]
    lists: Mapping[str, Listed]


def months(first: date, last: date) -> int:
    """How many calendar months there are from one to the other, both counted."""
    return (last.year - first.year) * 12 + last.month - first.month + 1
