"""Disagreements (不一致): rules that numbers must keep to agree with each other, N1 to N11 of HANDBOOK §1.3.

The same rule is held against the brief and against the mesh, and gives the arithmetic beside its verdict. It gives nothing while
there is nothing to count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from ops.figures.numbers import CASES, PERSONS, UNITS, Numbers, Rate, months
from ops.figures.ratio import percent, quotient


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether numbers break a rule, and how that is computed."""

    is_red: bool
    arithmetic: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One disagreement: what must hold, in words, and the computation; None while there are no numbers."""

    code: str
    must: str
    find: Callable[[Numbers], Finding | None]


def completed_of_accepted(numbers: Numbers) -> Finding | None:
    """N1."""
    check = numbers.check
    if check is None:
        return None
    parts: list[str] = []
    is_red = False
    for unit in UNITS:
        there = check.accepted[unit] + check.opening_backlog[unit]
        excess = check.completed[unit] - there
        by_kind = sum(counted[unit] for counted in check.kinds.values())
        is_red |= excess > 0 or by_kind != check.completed[unit]
        sums = f"{check.completed[unit]:,} - ({check.accepted[unit]:,} + {check.opening_backlog[unit]:,} backlog)"
        parts.append(f"{unit}: {sums} = {excess:+,}; the kinds sum to {by_kind:,}")
    return Finding(is_red, "; ".join(parts))


def accuracy_and_recheck(numbers: Numbers) -> Finding | None:
    """N2."""
    if numbers.check is None:
        return None
    found = {rate.rate: rate for rate in numbers.check.rates if rate.unit in {None, CASES}}
    accuracy, recheck = found.get("accuracy"), found.get("recheck")
    if accuracy is None or recheck is None:
        return None
    least = 100 - recheck.percent
    is_red = accuracy.percent < least or None in {accuracy.denominator, recheck.denominator}
    return Finding(is_red, f"100 - {_quoted(recheck)} re-checked = {least}; accuracy is {_quoted(accuracy)}")


def detection_of_what(numbers: Numbers) -> Finding | None:
    """N3."""
    check = numbers.check
    stated = [rate for rate in check.rates if rate.rate == "detection"] if check else []
    if check is None or not stated:
        return None
    bases = "; ".join(
        f"{check.ineligible[unit]:,} / {base[unit]:,} = {percent(check.ineligible[unit], base[unit])} % {words}"
        for unit, base, words in (
            (CASES, check.completed, "by completed case"),
            (PERSONS, check.completed, "by person"),
            (CASES, check.accepted, "by accepted case"),
        )
    )
    quoted = ", ".join(str(rate.percent) for rate in stated)
    return Finding(any(not _is_checked(rate) for rate in stated), f"stated {quoted}; {bases}")


def coverage_of_whom(numbers: Numbers) -> Finding | None:
    """N4."""
    coverage = numbers.coverage
    if coverage is None:
        return None
    shares = "; ".join(
        f"{one.with_code:,} / {one.entities:,} = {percent(one.with_code, one.entities)} % of {one.population}"
        for one in coverage.populations
    )
    declared = coverage.declared
    is_right = quotient(100 * declared.with_code, declared.entities, coverage.percent) == coverage.percent
    is_red = not is_right or any(one.definition is None for one in coverage.populations)
    return Finding(is_red, f"stated {coverage.percent} %; {shares}")


def visits_and_requests(numbers: Numbers) -> Finding | None:
    """N5."""
    quota = numbers.quota
    if quota is None:
        return None
    fan_out = quota.applications * quota.departments
    hours = f"{quota.requests:,} × {quota.hours_per_visit} h = {quota.requests * quota.hours_per_visit:,.0f} h"
    sums = f"{quota.applications:,} applications × {quota.departments} departments = {fan_out:,} requests; {hours}"
    if quota.visits is None:
        return Finding(quota.requests != fan_out, f"{quota.requests:,} requests went out; {sums}")
    each = quotient(quota.visits, quota.applications, Decimal("0.01"))
    saved = f"{quota.visits * quota.hours_per_visit:,.0f} h / {quota.hours_per_visit} h = {quota.visits:,} visits"
    return Finding(quota.visits != fan_out, f"{saved}, {each} an applicant; {sums}")


def warnings_by_taxpayer(numbers: Numbers) -> Finding | None:
    """N6."""
    tax = numbers.tax
    if tax is None:
        return None
    each = quotient(tax.warnings, tax.taxpayers, Decimal("0.01"))
    grouped = "no inboxes" if tax.grouped is None else f"inboxes hold {tax.grouped:,}"
    arithmetic = f"{tax.warnings:,} warnings / {tax.taxpayers:,} taxpayers = {each}; {grouped}"
    return Finding(tax.grouped != tax.warnings, arithmetic)


def every_row_explained(numbers: Numbers) -> Finding | None:
    """N7."""
    credit = numbers.credit
    if credit is None:
        return None
    stored, elsewhere = sum(credit.databases.values()), sum(credit.elsewhere.values())
    missing = credit.received - stored - elsewhere
    other = "".join(f" - {count:,} {name}" for name, count in credit.elsewhere.items())
    sums = f"{credit.received:,} gathered - {stored:,} in {len(credit.databases)} databases{other}"
    return Finding(missing != 0, f"{sums} = {missing:,} unaccounted for")


def one_term(code: str) -> Callable[[Numbers], Finding | None]:
    """N8, N9."""

    def find(numbers: Numbers) -> Finding | None:
        terms = [term for term in numbers.terms if term.disagreement == code]
        names = "; ".join(f"{term.code}: {' = '.join(term.names) or 'by its code only'}" for term in terms)
        return Finding(any(len(term.names) > 1 for term in terms), names) if terms else None

    return find


def lists_complete(numbers: Numbers) -> Finding | None:
    """N10."""
    if not numbers.lists:
        return None
    words = "; ".join(f"{name} {listed.found} of {listed.stated}" for name, listed in numbers.lists.items())
    return Finding(any(listed.found < listed.stated for listed in numbers.lists.values()), words)


def since_when(numbers: Numbers) -> Finding | None:
    """N11."""
    quota = numbers.quota
    if quota is None:
        return None
    loads: list[str] = []
    for start in quota.starts:
        spanned = months(start if quota.first < start <= quota.until else quota.first, quota.until)
        load = quotient(quota.applications, spanned, Decimal(1))
        loads.append(f"since {start}: {quota.applications:,} / {spanned} months = {load:,} a month")
    return Finding(len(quota.starts) > 1 or quota.first < min(quota.starts), "; ".join(loads))


RULES: Sequence[Rule] = (
    Rule("N1", "completed ≤ accepted + opening backlog, and the kinds sum to it", completed_of_accepted),
    Rule("N2", "accuracy ≥ 100 - re-check rate, both with numerator and denominator", accuracy_and_recheck),
    Rule("N3", "each rate names its unit and base, and follows from them", detection_of_what),
    Rule("N4", "the share is of its declared population, and each population is defined", coverage_of_whom),
    Rule("N5", "requests = applications × departments, and no visit is counted for a request", visits_and_requests),
    Rule("N6", "every warning stands in the inbox of a taxpayer", warnings_by_taxpayer),
    Rule("N7", "every row gathered has a named place", every_row_explained),
    Rule("N8", "one name for the fifth credit database", one_term("N8")),
    Rule("N9", "one name for a work and for an agency", one_term("N9")),
    Rule("N10", "as many found (named, active) as listed (stated, configured)", lists_complete),
    Rule("N11", "one first day, and no application before it", since_when),
)


def findings(numbers: Numbers) -> Iterable[tuple[Rule, Finding | None]]:
    """Every rule, held against one side's numbers."""
    return [(rule, rule.find(numbers)) for rule in RULES]


def _quoted(rate: Rate) -> str:
    parts = "of unknown parts" if rate.denominator is None else f"({rate.numerator:,} / {rate.denominator:,})"
    return f"{rate.percent} {parts}"


def _is_checked(rate: Rate) -> bool:
    if rate.unit is None or rate.base is None or rate.numerator is None or rate.denominator is None:
        return False
    return percent(rate.numerator, rate.denominator) == rate.percent
