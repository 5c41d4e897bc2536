"""Power: an enterprise that uses much and declares nothing (rule W6)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from streams.flows.tax.industry import bucket
from streams.flows.tax.report import Party, cause
from streams.flows.tax.rules import last_moment, month_after, rule_at
from streams.flows.tax.taxpayer import answers, question
from streams.operators.flow import Outcome, Row, Subject, Tell
from streams.operators.watch import Cause, Evidence, fired


@dataclass(frozen=True, slots=True)
class Months:
    """What there is to W6: its causes, what to ask of which taxpayer, and what speaks against a cause."""

    causes: Sequence[Cause | None]
    amended: Callable[[Cause], list[Evidence]]
    questions: Mapping[str, Sequence[Row]] = field(default_factory=dict[str, Sequence[Row]])


def _used(subject: Subject) -> dict[str, tuple[int, list[Row]]]:
    """Power by month over all meters, with the rows that say so."""
    found: dict[str, tuple[int, list[Row]]] = {}
    for told in subject.told("power"):
        for month in told["months"]:
            used, sources = found.get(month["period"], (0, []))
            found[month["period"]] = (used + month["used"], [*sources, *month["sources"]])
    return found


def contribute(subject: Subject, outcome: Outcome, industry: str) -> None:
    """Count each month's use in its bucket of the industry."""
    for month, (used, _) in _used(subject).items():
        outcome.counts[f"industry:{industry}|{month}", str(bucket(used))] = 1


def w6(
    subject: Subject, outcome: Outcome, party: Callable[[int], Party], tax_nos: Sequence[str], industry: str
) -> Months:
    """W6: power above the industry's percentile, while the revenue declared is 0, in so many months on end.

    Asks the taxpayers for what they declared in months with power use, and the industry for its threshold in months that
    may matter. A warning that fired keeps the thresholds it was judged by: later readings elsewhere do not undo it.
    """
    used = _used(subject)
    declared = _declared(subject, tax_nos)

    def amended(each: Cause) -> list[Evidence]:
        return [
            Evidence(at=filing["filed_at"], source=filing["source"])
            for month in each.details["thresholds"]
            for filing in declared.get(month, ())
            if filing["revenue"] > 0
        ]

    rule = rule_at("W6", last_moment(max(used))) if used and tax_nos else None
    if rule is None:
        return Months([], amended)
    asked = question(rule.values["tax_kinds"], min(used), max(used))
    count = rule.values["zero_periods"]
    zero = {month for month in used if declared.get(month) and all(each["revenue"] == 0 for each in declared[month])}
    asking = {"who": subject.key}
    for run in _runs(zero):
        if len(run) >= count:
            outcome.tells += [Tell(f"industry:{industry}|{month}", "ask", asking) for month in run]
    causes: list[Cause | None] = []
    for thresholds in _judged(subject, {month: used[month][0] for month in zero}, count, industry):
        months = sorted(thresholds)
        sources = [source for month in months for source in used[month][1]]
        sources += [filing["source"] for month in months for filing in declared[month]]
        at = last_moment(months[-1])
        causes.append(cause("W6", subject, months[0], at, party(at), sources, values={"thresholds": thresholds}))
    return Months(causes, amended, {tax_no: [asked] for tax_no in tax_nos})


def _judged(subject: Subject, used: Mapping[str, int], count: int, industry: str) -> list[dict[str, int]]:
    """The months of each cause, with the bucket that the use lies over: first those that fired, if they still hold."""
    found = [
        past.details["thresholds"]
        for past in fired(subject, "W6")
        if all(month in used and bucket(used[month]) > most for month, most in past.details["thresholds"].items())
    ]
    told = {month for thresholds in found for month in thresholds}
    present = {
        row["month"]: row["bucket"]
        for row in subject.told("threshold")
        if row["industry"] == industry and row["bucket"] is not None
    }
    high = {month for month in used if month in present and bucket(used[month]) > present[month]}
    for run in _runs(high):
        if len(run) >= count and told.isdisjoint(run):  # one that goes on is the same story
            found.append({month: present[month] for month in run[:count]})
    return found


def _runs(months: Iterable[str]) -> list[list[str]]:
    """Months on end, each run in order."""
    found: list[list[str]] = []
    for month in sorted(months):
        if found and month_after(found[-1][-1]) == month:
            found[-1].append(month)
        else:
            found.append([month])
    return found


def _declared(subject: Subject, tax_nos: Sequence[str]) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for tax_no in tax_nos:
        for filing in answers(subject, tax_no):
            found.setdefault(filing["period"], []).append(filing)
    return found
