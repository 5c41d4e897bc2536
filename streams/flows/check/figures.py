"""Figures (统计): cases and persons per window, district and kind; and how well each source answers.

Every figure is kept by case (宗) and by person (人次). A ratio always says its unit and its base and carries numerator and
denominator. A statistic is red unless completed <= accepted + opening backlog (HANDBOOK §1.3, N1): more cannot be finished
than there were.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from schemas.dated.calendar import day_at
from schemas.dated.configuration import Entry, dated, midnight
from streams.flows.check.sources import HERE
from streams.operators.flow import Fact, Outcome, Row, Subject

STATISTIC, QUALITY = "check.statistic", "check.provider_quality"
ALL = "ALL"
CASES, PERSONS = "cases", "persons"
FIGURES = ("accepted", "opening_backlog", "completed", "ineligible", "rechecked", "corrected", "withdrawn")
WINDOWS = dated(HERE / "windows.yaml", key=["window"])
_OUTCOMES = {
    "RECORDS": "records",
    "NO_RECORD": "no_record",
    "TIMEOUT": "timeouts",
    "ERROR": "errors",
    "AMBIGUOUS": "ambiguous",
}
_OBJECTIONS = {"REJECTED": "rejected", "CORRECTED": "corrected"}
_MEASURES = (*_OUTCOMES.values(), "objections", *_OBJECTIONS.values())


def contribute(outcome: Outcome, case: Row, member_count: int, decisions: Sequence[Row]) -> None:
    """Count a case, and its persons, in every window where it was accepted, waited or was finished."""
    for entry in WINDOWS.entries:
        for figure in _figures(case, decisions, entry):
            for district in (case["district"], ALL):
                for kind in (case["kind"], ALL):
                    to = f"statistic:{entry.values['window']}|{district}|{kind}"
                    outcome.counts[to, f"{figure}_{CASES}"] = 1
                    if member_count:
                        outcome.counts[to, f"{figure}_{PERSONS}"] = member_count


def _figures(case: Row, decisions: Sequence[Row], entry: Entry) -> Iterable[str]:
    ended = midnight(case["status_date"]) if case["status_date"] is not None else None
    is_closed, is_withdrawn = case["status"] == "CLOSED", case["status"] == "WITHDRAWN"
    ended_at = ended if is_closed or is_withdrawn else None
    begins = entry.valid_from if entry.valid_from is not None else 0
    if entry.is_valid_at(case["accepted_at"]):
        yield "accepted"
    elif case["accepted_at"] < begins and (ended_at is None or ended_at >= begins):
        yield "opening_backlog"
    if ended_at is None or not entry.is_valid_at(ended_at):
        return
    if is_withdrawn:
        yield "withdrawn"
        return
    yield "completed"
    outcomes = [row["outcome"] for row in decisions]
    if outcomes and outcomes[-1] == "INELIGIBLE":
        yield "ineligible"
    if len(outcomes) > 1:
        yield "rechecked"
        if outcomes[-1] != outcomes[0]:
            yield "corrected"


def fold_statistic(subject: Subject) -> Outcome:
    """One window, district and kind."""
    outcome = Outcome()
    if not subject.counts:
        return outcome
    window, district, kind = subject.id.split("|")
    entry = next((one for one in WINDOWS.entries if one.values["window"] == window), None)
    if entry is None:
        return outcome  # a window that configuration no longer has
    begins = entry.valid_from if entry.valid_from is not None else 0
    counts = {
        f"{figure}_{unit}": subject.counts.get(f"{figure}_{unit}", 0) for figure in FIGURES for unit in (CASES, PERSONS)
    }
    excess = {unit: max(_excess(counts, unit), 0) for unit in (CASES, PERSONS)}
    row: dict[str, Any] = {
        "window": window,
        "district": district,
        "kind": kind,
        "region_as_of": day_at(begins),
        "window_from": begins,
        "window_to": entry.valid_to,
        **counts,
        "is_red": any(excess.values()),
        "excess_cases": excess[CASES],
        "excess_persons": excess[PERSONS],
        "ratios": [ratio for unit in (CASES, PERSONS) for ratio in _ratios(counts, unit)],
    }
    outcome.publish(STATISTIC, row)
    return outcome


def _excess(counts: Mapping[str, int], unit: str) -> int:
    return counts[f"completed_{unit}"] - counts[f"accepted_{unit}"] - counts[f"opening_backlog_{unit}"]


def _ratios(counts: Mapping[str, int], unit: str) -> Iterable[dict[str, Any]]:
    completed, accepted = counts[f"completed_{unit}"], counts[f"accepted_{unit}"]
    yield ratio("detection", unit, "completed", counts[f"ineligible_{unit}"], completed)
    yield ratio("detection", unit, "accepted", counts[f"ineligible_{unit}"], accepted)
    yield ratio("recheck", unit, "completed", counts[f"rechecked_{unit}"], completed)
    yield ratio("accuracy", unit, "completed", completed - counts[f"corrected_{unit}"], completed)
    waiting = accepted + counts[f"opening_backlog_{unit}"]
    yield ratio("completion", unit, "accepted and opening backlog", completed, waiting)


def ratio(name: str, unit: str, base: str, numerator: int, denominator: int) -> dict[str, Any]:
    """A ratio that cannot be quoted without its parts. `percent` has two decimals, null over an empty base."""
    percent = None
    if denominator:
        percent = str((Decimal(100 * numerator) / denominator).quantize(Decimal("0.01"), ROUND_HALF_UP))
    return {
        "ratio": name,
        "unit": unit,
        "base": base,
        "numerator": numerator,
        "denominator": denominator,
        "percent": percent,
    }


# ── the sources ──────────────────────────────────────────────────────────────────────────────────────────────────────


def contribute_quality(outcome: Outcome, report: Row | None, objections: Iterable[tuple[Fact, str]]) -> None:
    """Count how each source answered for the newest report, and what became of objections (fact and the agency)."""
    agencies = {line["source"]: line["agency"] for line in report["sources"]} if report else {}
    for answer in report["answers"] if report else ():
        _count(outcome, agencies[answer["source"]], answer["source"], _OUTCOMES[answer["outcome"]])
    for fact, agency in objections:
        row = fact.row or {}
        _count(outcome, agency, row["source"], "objections")
        if row["status"] in _OBJECTIONS:
            _count(outcome, agency, row["source"], _OBJECTIONS[row["status"]])


def _count(outcome: Outcome, agency: str, source: str, measure: str) -> None:
    place = (f"quality:{agency}|{source}", measure)
    outcome.counts[place] = outcome.counts.get(place, 0) + 1


def fold_quality(subject: Subject) -> Outcome:
    """One source of one agency."""
    outcome = Outcome()
    if not subject.counts:
        return outcome
    agency, source = subject.id.split("|")
    counts = {measure: subject.counts.get(measure, 0) for measure in _MEASURES}
    answers = sum(counts[measure] for measure in _OUTCOMES.values())
    spoken = answers - counts["timeouts"] - counts["errors"]
    row = {
        "agency": agency,
        "source": source,
        "answers": answers,
        **counts,
        "ratios": [
            ratio("answered", "answers", "asked", spoken, answers),
            ratio("corrected", "objections", "objections", counts["corrected"], counts["objections"]),
        ],
    }
    outcome.publish(QUALITY, row)
    return outcome
