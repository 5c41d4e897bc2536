"""Page: the public page of an entity (商事主体信息公示): registration, permits, credit and violations.

Its columns come from a field table by kind of entity: what the table does not name stays closed (invariant 6). The legal
representative's number never reaches this fold: no input of it carries that column.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from streams.flows.registration.item import SCOPE
from streams.flows.registration.rules import item_name, page_of
from streams.operators.flow import Outcome, Row, Subject
from streams.operators.publish import term_until

DISCLOSURE = "registration.disclosure"
CHANGE, LISTING = "aic.enterprise_change", "aic.abnormal_listing"
_PERMIT = (
    "agency",
    "licence_kind",
    "licence_no",
    "item_code",
    "issuer",
    "issue_date",
    "valid_to",
    "status",
    "position",
)
_PENALTY = (
    "agency",
    "decision_no",
    "cause",
    "basis",
    "result",
    "amount",
    "decided_date",
    "publish_until",
    "position",
)


def disclose(subject: Subject, enterprise: Row, region: str | None, region_as_of: int | None, outcome: Outcome) -> None:
    """Publish the page of an entity whose registration stands."""
    shown = dict.fromkeys(page_of("ENTERPRISE").columns)  # a narrower table leaves its other columns null
    page = {**shown, **page_of(enterprise["kind"]).project(enterprise)}
    outcome.publish(
        DISCLOSURE,
        {
            **page,
            "reg_region": region if region is not None else page["reg_region"],
            "region_as_of": region_as_of,
            "items": [
                {
                    "item_code": row["item_code"],
                    "item_name": item_name(row["item_code"]),
                    "permit_kind": row["permit_kind"],
                }
                for row in _sorted(_rows(subject, SCOPE), "item_code")
            ],
            "permits": [_pick(row, _PERMIT) for row in _sorted(subject.told("permit"), *_PERMIT[:3])],
            "credit": [
                _pick(row, ("listed_date", "cause", "removed_date"))
                for row in _sorted(_rows(subject, LISTING), "listed_date")
            ],
            "violations": [_pick(row, _PENALTY) for row in _in_term(subject, outcome)],
            "changes": [
                _pick(row, ("item", "changed_date")) for row in _sorted(_rows(subject, CHANGE), "changed_date", "seq")
            ],
        },
    )


def _in_term(subject: Subject, outcome: Outcome) -> list[Row]:
    found: list[Row] = []
    for row in _sorted(subject.told("penalty"), "decided_date", "agency", "decision_no"):
        term = term_until(row["publish_until"])
        if not term.is_over(subject.now):
            found.append(row)
            if term.ends is not None:
                outcome.wake(term.ends)
    return found


def _rows(subject: Subject, feed: str) -> list[Row]:
    return [fact.row for fact in subject.of(feed) if fact.row is not None]


def _pick(row: Row, columns: Iterable[str]) -> dict[str, Any]:
    return {name: row[name] for name in columns}


def _sorted(rows: Iterable[Row], *columns: str) -> list[Row]:
    return sorted(rows, key=lambda row: [(row[name] is not None, row[name] or 0) for name in columns])
