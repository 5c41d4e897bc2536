"""Figure (指标): one quoted figure, computed from numbers with its unit, its base and both parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from ops.figures.numbers import CASES, PERSONS, Numbers, Quota
from ops.figures.ratio import quotient

_CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """What follows, rounded once; `parts` are what it follows from: numerator and denominator, or visits and hours a visit."""

    value: Decimal
    parts: Mapping[str, int | str]
    arithmetic: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure's meaning; `values` has what follows for either side."""

    figure: str
    title: str
    unit: str
    base: str


FIGURES: Sequence[Figure] = (
    Figure(figure="detection_by_case", title="detection rate 检出率", unit="% of cases 宗", base="completed"),
    Figure(figure="detection_by_person", title="detection rate 检出率", unit="% of persons 人次", base="completed"),
    Figure(figure="detection_by_accepted_case", title="detection rate 检出率", unit="% of cases 宗", base="accepted"),
    Figure(
        figure="uscc_coverage",
        title="coverage with unified codes 统一代码覆盖率",
        unit="% of entities 户",
        base="population declared",
    ),
    Figure(figure="warnings_per_taxpayer", title="tax warnings 税源预警", unit="warnings", base="taxpayers warned"),
    Figure(
        figure="visits_per_applicant",
        title="visits spared 少跑次数",
        unit="visits",
        base="applications; counted by nobody: the brief's hours / hours a visit",
    ),
    Figure(
        figure="hours_by_visit",
        title="hours saved 节省时间",
        unit="hours",
        base="visits spared an application × hours a visit",
    ),
    Figure(
        figure="hours_by_request",
        title="hours saved 节省时间",
        unit="hours",
        base="requests to departments × hours a visit: a fan-out is no visit",
    ),
)


def values(numbers: Numbers, brief: Numbers) -> Mapping[str, Value]:
    """Every figure that the numbers give. What nobody counts on this side, visits, is taken from the brief's ratio."""
    found: dict[str, Value | None] = {}
    if check := numbers.check:
        found["detection_by_case"] = _percent(check.ineligible[CASES], check.completed[CASES])
        found["detection_by_person"] = _percent(check.ineligible[PERSONS], check.completed[PERSONS])
        found["detection_by_accepted_case"] = _percent(check.ineligible[CASES], check.accepted[CASES])
    if coverage := numbers.coverage:
        found["uscc_coverage"] = _percent(coverage.declared.with_code, coverage.declared.entities)
    if tax := numbers.tax:
        found["warnings_per_taxpayer"] = _ratio(tax.warnings, tax.taxpayers)
    if (quota := numbers.quota) and (told := brief.quota) and told.visits is not None:
        found |= _quota(quota, told, told.visits)
    return {figure: value for figure, value in found.items() if value is not None}


def _quota(quota: Quota, told: Quota, visits: int) -> Mapping[str, Value | None]:
    each = quotient(visits, told.applications, _CENT)
    spared = int(Decimal(visits * quota.applications) / told.applications)
    return {
        "visits_per_applicant": None if quota.visits is None else _ratio(quota.visits, quota.applications),
        "hours_by_visit": _hours(spared, quota, f"{quota.applications:,} applications × {each} visits"),
        "hours_by_request": _hours(quota.requests, quota, f"{quota.requests:,} requests"),
    }


def _percent(numerator: int, denominator: int) -> Value | None:
    return _ratio(numerator, denominator, times=100)


def _ratio(numerator: int, denominator: int, times: int = 1) -> Value | None:
    value = quotient(times * numerator, denominator, _CENT)
    if value is None:
        return None
    parts = {"numerator": numerator, "denominator": denominator}
    return Value(value=value, parts=parts, arithmetic=f"{numerator:,} / {denominator:,}")


def _hours(visits: int, quota: Quota, counted: str) -> Value:
    hours = quota.hours_per_visit
    value = (visits * hours).quantize(Decimal(1))
    parts = {"visits": visits, "hours_per_visit": str(hours)}
    return Value(value=value, parts=parts, arithmetic=f"{counted} × {hours} h")
