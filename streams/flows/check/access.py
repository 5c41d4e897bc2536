"""Access (查阅): who opened a report and for which purpose, in the history of everybody whom the report is about.

An officer's first purpose for a case binds: to open its reports for another is refused, and the refusal is kept as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from streams.operators.flow import Fact, Outcome, Row, Subject, queue_item

ACCESS, ACCESSES = "check.access", "civil.check_report_access"
ALLOWED, REFUSED = "ALLOWED", "REFUSED"


def publish_accesses(
    subject: Subject, outcome: Outcome, queue: str, reports: Mapping[int, Row], household: Sequence[str]
) -> None:
    """Every opening, judged by event time. What was once recorded stays, also when the source deletes its row."""
    purposes: dict[str, str] = {}
    known: set[str] = set()
    for fact in subject.of(ACCESSES):
        row = fact.row or {}
        reason = _refusal(row, purposes, reports)
        if reason is None:
            purposes[row["officer"]] = row["purpose"]
        else:
            outcome.publish(queue, _refused(subject, fact, reason))
        known.add(row["access_id"])
        report = reports.get(row["report_version"])
        persons = _persons(report) if report else household
        for citizen_id in persons:
            outcome.publish(ACCESS, _access(row, citizen_id, reason))
    for row in subject.published.get(ACCESS, {}).values():
        if row["access_id"] not in known:
            outcome.publish(ACCESS, row)


def _refusal(row: Row, purposes: Mapping[str, str], reports: Mapping[int, Row]) -> str | None:
    report = reports.get(row["report_version"])
    if report is None or report["issued_at"] > row["opened_at"]:
        return "NO_SUCH_REPORT"
    first = purposes.get(row["officer"])
    return "OTHER_PURPOSE" if first is not None and first != row["purpose"] else None


def _persons(report: Row) -> Iterable[str]:
    return sorted({answer["citizen_id"] for answer in report["answers"]})


def _access(row: Row, citizen_id: str, reason: str | None) -> dict[str, Any]:
    return {
        "access_id": row["access_id"],
        "citizen_id": citizen_id,
        "case_no": row["case_no"],
        "report_version": row["report_version"],
        "officer": row["officer"],
        "purpose": row["purpose"],
        "opened_at": row["opened_at"],
        "result": ALLOWED if reason is None else REFUSED,
        "refuse_reason": reason,
    }


def _refused(subject: Subject, fact: Fact, reason: str) -> Row:
    identity = f"{subject.key}|ACCESS_REFUSED|{fact.row_id}"
    return queue_item(identity, "ACCESS_REFUSED", [subject.key], [fact], opened_at=fact.event_at, detail=reason)
