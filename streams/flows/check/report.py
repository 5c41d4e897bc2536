"""Report (核对报告): all sources and what each said, what does not agree with the declaration or the limits, and the finding.

Only certain records (P0 to P2) count against a household. Whatever nobody said, or nobody can be sure of, asks for a person:
it is never zero, and it is never a ground to refuse. The limits are those in force on the day the case was accepted, and their
version is printed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.dated.calendar import day_at
from schemas.dated.configuration import DAY_MICROS, dated
from streams.flows.check.sources import HERE
from streams.flows.inquiry.cell import AMBIGUOUS, ERROR, NO_RECORD, RECORDS, TIMEOUT, Cell
from streams.flows.inquiry.identity import canonical
from streams.flows.inquiry.sources import ASSET, DECLARED, FEED, INCOME, Source, cents_of, decimal_bytes, yuan
from streams.operators.flow import Row, Subject

NOT_ASKED = "NOT_ASKED"
WITHIN_LIMITS, OVER_LIMITS, MANUAL_REVIEW = "WITHIN_LIMITS", "OVER_LIMITS", "MANUAL_REVIEW"
UNDECLARED, OVER_THRESHOLD = "UNDECLARED", "OVER_THRESHOLD"
DECLARATIONS = "civil.check_declaration"
_INCOME_PER_PERSON = "INCOME_PER_PERSON"
_CONFLICT = "P3"
_RANK = {outcome: rank for rank, outcome in enumerate((NO_RECORD, RECORDS, AMBIGUOUS, ERROR, TIMEOUT, NOT_ASKED))}
THRESHOLDS = dated(HERE / "thresholds.yaml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Matter:
    """What a report is made from: the case's row, all sources of its time, those not asked and why, and the cells."""

    subject: Subject
    case: Row
    sources: Sequence[Source]
    not_asked: Mapping[str, str]
    cells: Sequence[Cell]
    member_count: int
    income_days: int


def content(matter: Matter) -> dict[str, Any]:
    """The report without its number and dates: what the sources come to."""
    accepted_at = matter.case["accepted_at"]
    pack = THRESHOLDS.at(accepted_at)
    limits = pack["kinds"].get(matter.case["kind"], {})
    income, is_complete = _income(matter)
    found = [*_undeclared(matter), *_over(matter, limits, income)]
    discrepancies = [{**_BLANK, **row, "threshold_version": pack["version"]} for row in found]
    reasons = sorted(_reasons(matter) | {row["kind"] for row in found if row["kind"] == UNDECLARED})
    is_over = any(row["kind"] == OVER_THRESHOLD for row in found)
    return {
        "case_no": matter.case["case_no"],
        "kind": matter.case["kind"],
        "district": matter.case["district"],
        "region_as_of": day_at(accepted_at),
        "finding": OVER_LIMITS if is_over else MANUAL_REVIEW if reasons else WITHIN_LIMITS,
        "review_reasons": reasons,
        "threshold_version": pack["version"],
        "member_count": matter.member_count,
        "monthly_income": decimal_bytes(income) if is_complete else None,
        "is_income_complete": is_complete,
        "sources": _lines(matter),
        "answers": [_answer(cell) for cell in matter.cells],
        "discrepancies": discrepancies,
    }


_BLANK: Row = {
    "citizen_id": None,
    "source": "",
    "kind": "",
    "reference": None,
    "value": None,
    "observed_date": None,
    "limit_value": None,
    "threshold_version": "",
}


def _lines(matter: Matter) -> list[dict[str, Any]]:
    """A line for each of the sources, whether it spoke or not; of several members the least favourable outcome."""
    lines: list[dict[str, Any]] = []
    for source in matter.sources:
        cells = [cell for cell in matter.cells if cell.source.code == source.code]
        outcomes = [cell.outcome or TIMEOUT for cell in cells]
        lines.append(
            {
                "source": source.code,
                "agency": source.agency,
                "name": source.name,
                "outcome": max(outcomes, key=_RANK.__getitem__, default=NOT_ASKED),
                "record_count": sum(cell.count for cell in cells),
                "uncertain_count": sum(cell.uncertain for cell in cells),
                "reason": matter.not_asked.get(source.code),
            }
        )
    return lines


def _answer(cell: Cell) -> dict[str, Any]:
    return {
        "citizen_id": cell.citizen_id,
        "source": cell.source.code,
        "outcome": cell.outcome,
        "record_count": cell.count,
        "uncertain_count": cell.uncertain,
        "match_tier": cell.tier,
    }


def _reasons(matter: Matter) -> set[str]:
    """Why a person has to look, whatever else was found."""
    found = {cell.outcome or TIMEOUT for cell in matter.cells} & {TIMEOUT, ERROR}
    for cell in matter.cells:
        if cell.uncertain:
            found.add("MATCH_CONFLICT" if cell.outcome == AMBIGUOUS and cell.tier == _CONFLICT else "MATCH_UNCERTAIN")
    return found | {NOT_ASKED for _ in matter.not_asked}


# ── against the declaration ──────────────────────────────────────────────────────────────────────────────────────────


def _undeclared(matter: Matter) -> Iterable[dict[str, Any]]:
    declared = _declared(matter.subject)
    for cell in matter.cells:
        if cell.source.use != DECLARED:
            continue
        known = declared.get((cell.citizen_id, cell.source.code), frozenset())
        for item in cell.items:
            if not _is_declared(cell.source, item, known):
                yield {
                    "citizen_id": cell.citizen_id,
                    "source": cell.source.code,
                    "kind": UNDECLARED,
                    "reference": item["reference"],
                    "value": item["value"],
                    "observed_date": item["day"],
                }


def _is_declared(source: Source, item: Row, known: frozenset[str]) -> bool:
    if item["reference"] is None:
        # A shared row without a reference has nothing to declare: insurance that no employer pays.
        return source.channel == FEED or bool(known)
    return _plain(item["reference"]) in known


def _declared(subject: Subject) -> Mapping[tuple[str, str], frozenset[str]]:
    found: dict[tuple[str, str], frozenset[str]] = {}
    for fact in subject.of(DECLARATIONS):
        row = fact.row or {}
        key = (canonical(row["citizen_id"]) or "", row["source"])
        found[key] = found.get(key, frozenset()) | {_plain(row["reference"])}
    return found


def _plain(reference: str) -> str:
    return "".join(reference.split()).upper()


# ── against the limits ───────────────────────────────────────────────────────────────────────────────────────────────


def _over(matter: Matter, limits: Mapping[str, Any], income: int) -> Iterable[dict[str, Any]]:
    for code, limit in sorted(limits.get("records", {}).items()):
        count = sum(cell.count for cell in matter.cells if cell.source.code == code)
        if count > limit:
            yield _exceeds(code, str(count), str(limit), matter)
    for code, limit in sorted(limits.get("amount", {}).items()):
        total = sum(item["amount"] or 0 for cell in matter.cells if cell.source.code == code for item in cell.items)
        if total > cents_of(limit):
            yield _exceeds(code, yuan(total), limit, matter)
    if (limit := limits.get("income_per_person")) and income > cents_of(limit) * matter.member_count:
        yield _exceeds(_INCOME_PER_PERSON, yuan(income // max(matter.member_count, 1)), limit, matter)


def _exceeds(code: str, value: str, limit: str, matter: Matter) -> dict[str, Any]:
    newest = [item["day"] for cell in matter.cells if cell.source.code == code for item in cell.items if item["day"]]
    day = max(newest, default=None)
    return {"source": code, "kind": OVER_THRESHOLD, "value": value, "limit_value": limit, "observed_date": day}


def _income(matter: Matter) -> tuple[int, bool]:
    """What is proven of the household's monthly income, cents, and whether every source of income has spoken for certain."""
    sources = [source.code for source in matter.sources if source.use == INCOME]
    cells = [cell for cell in matter.cells if cell.source.use == INCOME]
    total = sum(_monthly(cell, matter.income_days) for cell in cells)
    is_known = all(cell.outcome in {RECORDS, NO_RECORD} and not cell.uncertain for cell in cells)
    is_complete = bool(cells) and is_known and not any(code in matter.not_asked for code in sources)
    return total, is_complete


def _monthly(cell: Cell, income_days: int) -> int:
    """Payments without a reference are a series: its newest counts while it is recent."""
    oldest = day_at(cell.at) - income_days
    return sum(
        item["amount"] or 0
        for item in cell.items
        if item["reference"] is not None or item["day"] is None or item["day"] >= oldest
    )


# ── what has changed ─────────────────────────────────────────────────────────────────────────────────────────────────


def digests(matter: Matter) -> dict[str, str]:
    """Source to a digest of its evidence: what differs is a change that a decision may have to be judged by again.

    One more month of the same insurance or pension is none; neither is a new amount where nothing is reckoned with it.
    """
    found: dict[str, str] = {}
    for source in matter.sources:
        said = sorted(_essence(cell) for cell in matter.cells if cell.source.code == source.code)
        found[source.code] = hashlib.blake2b(repr(said).encode(), digest_size=8).hexdigest()
    return found


def _essence(cell: Cell) -> str:
    counts = cell.source.use in {DECLARED, INCOME, ASSET}
    items = sorted((item["reference"] or "", (item["amount"] or 0) if counts else 0) for item in cell.items)
    return repr((cell.citizen_id, cell.outcome, cell.tier, bool(cell.uncertain), items))


def watch_until(issued_at: int, watch_days: int) -> int:
    """Until when a report's evidence is watched."""
    return issued_at + watch_days * DAY_MICROS
