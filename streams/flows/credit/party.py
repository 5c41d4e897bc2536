"""What follows from black records: joint punishment (联合惩戒) of a subject; and the figures by feed (HANDBOOK I1, I5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from schemas.dated.configuration import dated
from streams.flows.credit.sources import HERE, KINDS, VIEWS
from streams.flows.credit.views import bounds_of, next_change
from streams.operators.flow import Outcome, Row, Subject

JOINT = "credit.joint_punishment"
STATISTIC = "credit.statistic"
ALL = "ALL"
MEASURES = dated(HERE / "measures.csv", ["category", "measure", "agency"])
_BOUNDS = bounds_of(MEASURES)


def fold_party(subject: Subject) -> Outcome:
    """The measures against a subject: those of the categories of its black records in force, each citing its records."""
    outcome = Outcome()
    told = sorted(subject.told("black"), key=lambda row: row["record_id"])
    causes: dict[tuple[str, str], list[Row]] = {}
    for values in MEASURES.all_at(subject.now):
        records = [row for row in told if row["state"] == "PUBLISHED" and row["category"] == values["category"]]
        if records:
            causes.setdefault((values["measure"], values["agency"]), []).extend(records)
    for (measure, agency), records in sorted(causes.items()):
        outcome.publish(JOINT, _measure(measure, agency, records))
    states = {row["state"] for row in told} - {"PUBLISHED"}
    outcome.reasons[JOINT] = "PUBLICATION_EXPIRED" if states == {"EXPIRED"} else "RETRACTED"
    if (change := next_change(subject.now, _BOUNDS)) is not None:
        outcome.wake(change)
    return outcome


def _measure(measure: str, agency: str, records: Sequence[Row]) -> dict[str, Any]:
    newest = max(records, key=lambda row: (row["happened"] or 0, row["record_id"]))
    dates = [row["happened"] for row in records if row["happened"] is not None]
    return {
        "subject_key": newest["subject_key"],
        "measure": measure,
        "agency": agency,
        "subject_kind": newest["subject_kind"],
        "subject_id": newest["subject_id"],
        "subject_name": newest["subject_name"],
        "records": sorted(row["record_id"] for row in records),
        "since": min(dates, default=None),
        "disputed": any(row["disputed"] for row in records),
    }


def fold_statistic(subject: Subject) -> Outcome:
    """A feed's figures, and their share of the city's: received = the five databases + unmatched (+ pending for a moment)."""
    outcome = Outcome()
    if not any(subject.counts.values()):
        return outcome
    placed = {kind: subject.counts.get(kind, 0) for kind in KINDS}
    rest = {name: subject.counts.get(name, 0) for name in ("unmatched", "pending")}
    received = subject.counts.get("received", 0)
    row = {
        "source_feed": subject.id,
        "received": received,
        **{kind.lower(): count for kind, count in placed.items()},
        **rest,
        **{f"in_{name}": subject.counts.get(name, 0) for name in VIEWS},
        "is_balanced": received == sum(placed.values()) + sum(rest.values()),
    }
    outcome.publish(STATISTIC, row)
    if subject.id != ALL:
        outcome.counts = {(f"statistic:{ALL}", measure): count for measure, count in subject.counts.items()}
    return outcome
