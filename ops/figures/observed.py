"""Observed: the same numbers as the brief's, computed from the rows that stand in the derived feeds of a running mesh.

Nothing is stated here that no row says: a part whose feeds have no rows is None. Lists count who is configured and who is active:
who has answered, or whose rows are there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from ops.figures.numbers import (
    UNITS,
    Checks,
    Counted,
    Coverage,
    Credit,
    Listed,
    Numbers,
    Population,
    Quota,
    Rate,
    Tax,
    Term,
)
from ops.figures.ratio import percent
from schemas.agreement.directory import Directory
from streams.flows.check.figures import ALL
from streams.flows.check.sources import SOURCES
from streams.flows.quota.cycle import agencies, first_days

STATISTIC, QUALITY, COVERAGE = "check.statistic", "check.provider_quality", "base.uscc_coverage"
VERDICT, INBOX, PRECISION = "quota.verdict", "tax.inbox", "tax.rule_precision"
EVIDENCE, CREDIT, TOPIC = "tax.evidence_source", "credit.statistic", "registration.topic"
FEEDS = (STATISTIC, QUALITY, COVERAGE, VERDICT, INBOX, PRECISION, EVIDENCE, CREDIT, TOPIC)
_DATABASES = ("person", "enterprise", "institution", "social_organisation", "government")
_ELSEWHERE = ("unmatched", "pending")

Rows = Sequence[Mapping[str, Any]]


def observe(
    rows: Mapping[str, Rows],
    directory: Directory,
    *,
    window: str,
    hours_per_visit: Decimal,
    terms: Sequence[Term],
    works: Listed | None = None,
) -> Numbers:
    """The numbers of the rows of FEEDS. `terms` are looked for in the titles and names of the directory; `works` is its own count."""
    return Numbers(
        check=_check(rows.get(STATISTIC, ()), window),
        coverage=_coverage(rows.get(COVERAGE, ())),
        quota=_quota(rows.get(VERDICT, ()), hours_per_visit),
        tax=_tax(rows.get(INBOX, ()), rows.get(PRECISION, ())),
        credit=_credit(rows.get(CREDIT, ())),
        terms=_terms(terms, directory),
        lists=({"works": works} if works and works.stated and works.found else {}) | _lists(rows),
    )


def _check(rows: Rows, window: str) -> Checks | None:
    city = {row["kind"]: row for row in rows if (row["window"], row["district"]) == (window, ALL)}
    total = city.pop(ALL, None)
    if total is None:
        return None
    rates = [
        Rate(
            rate=ratio["ratio"],
            percent=Decimal(ratio["percent"]),
            unit=ratio["unit"],
            base=ratio["base"],
            numerator=ratio["numerator"],
            denominator=ratio["denominator"],
        )
        for ratio in total["ratios"]
        if ratio["percent"] is not None
    ]
    return Checks(
        accepted=_counted(total, "accepted"),
        opening_backlog=_counted(total, "opening_backlog"),
        completed=_counted(total, "completed"),
        ineligible=_counted(total, "ineligible"),
        kinds={kind: _counted(row, "completed") for kind, row in sorted(city.items())},
        rates=rates,
    )


def _counted(row: Mapping[str, Any], figure: str) -> Counted:
    return {unit: row[f"{figure}_{unit}"] for unit in UNITS}


def _coverage(rows: Rows) -> Coverage | None:
    populations = {
        row["population"]: Population(
            population=row["population"],
            entities=row["entities"],
            with_code=row["with_uscc"],
            definition=row["definition"],
        )
        for row in sorted(rows, key=lambda row: row["population"])
    }
    declared = next((populations[row["population"]] for row in rows if row["is_declared_base"]), None)
    share = None if declared is None else percent(declared.with_code, declared.entities)
    if declared is None or share is None:
        return None
    return Coverage(percent=share, populations=list(populations.values()), declared=declared)


def _quota(rows: Rows, hours_per_visit: Decimal) -> Quota | None:
    asked: dict[str, set[str]] = {}
    for row in rows:
        answered = {answer["agency"] for answer in row["answers"]}
        asked.setdefault(row["app_code"], set()).update(answered, row["missing"])
    asked = {code: departments for code, departments in asked.items() if departments}
    if not asked:
        return None
    periods = sorted({row["period"] for row in rows})
    return Quota(
        applications=len(asked),
        departments=len(agencies()),
        requests=sum(map(len, asked.values())),
        visits=None,
        hours_per_visit=hours_per_visit,
        starts=first_days()[:1],
        first=_first_day(periods[0]),
        until=_first_day(periods[-1]),
    )


def _first_day(period: str) -> date:
    return date(int(period[:4]), int(period[4:]), 1)


def _tax(inboxes: Rows, rules: Rows) -> Tax | None:
    if not inboxes and not any(row["warnings"] for row in rules):
        return None
    return Tax(
        warnings=sum(row["warnings"] for row in rules),
        taxpayers=len(inboxes),
        grouped=sum(row["warning_count"] for row in inboxes),
    )


def _credit(rows: Rows) -> Credit | None:
    total = next((row for row in rows if row["source_feed"] == ALL), None)
    if total is None:
        return None
    return Credit(
        received=total["received"],
        databases={name: total[name] for name in _DATABASES},
        elsewhere={name: total[name] for name in _ELSEWHERE},
    )


def _terms(terms: Sequence[Term], directory: Directory) -> list[Term]:
    """Which names for one thing the catalogue uses."""
    if not directory.feeds:
        return []
    titles = [entry.contract.gov.get("resource", "") for entry in directory.feeds.values()]
    text = "\n".join([*titles, *(agency.name for agency in directory.agencies.values())])
    return [
        Term(disagreement=term.disagreement, code=term.code, names=[name for name in term.names if name in text])
        for term in terms
    ]


def _lists(rows: Mapping[str, Rows]) -> dict[str, Listed]:
    """Configured and active, of every list that any row tells of."""
    lists: dict[str, Listed] = {}
    if verdicts := rows.get(VERDICT):
        answered = {answer["agency"] for row in verdicts for answer in row["answers"]}
        lists["quota"] = Listed(stated=len(agencies()), found=len(answered.intersection(agencies())))
    if sources := rows.get(QUALITY):
        spoken = {row["source"] for row in sources if row["answers"] > row["timeouts"] + row["errors"]}
        lists["check"] = Listed(stated=len({source.code for source in SOURCES.every()}), found=len(spoken))
    if departments := rows.get(EVIDENCE):
        lists["tax"] = Listed(stated=len(departments), found=sum(row["is_active"] for row in departments))
    if topics := rows.get(TOPIC):
        connected = {row["agency"] for row in topics if row["is_connected"]}
        lists["registration"] = Listed(stated=len({row["agency"] for row in topics}), found=len(connected))
    return lists
