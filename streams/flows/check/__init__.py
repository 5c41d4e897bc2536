"""Household economic-status check (居民家庭经济状况核对, HANDBOOK §4 G): 28 sources answer for a household that consented.

    authorised case ──▶ check.request ──▶ check.answer per member and source ──▶ check.report ──▶ decision, objection, re-check
                                     └──▶ check.refusal (of an answer that does not count, to the agency that sent it)

| module        | holds                                                                    |
|---------------|--------------------------------------------------------------------------|
| sources       | the 28 sources of sources.csv                                             |
| authorisation | who must have signed, and whether all have                                 |
| report        | discrepancies, limits, finding                                            |
| case          | the case's course: asking, reporting, watching                            |
| access        | who opened a report for which purpose                                     |
| figures       | figures by case and by person; quality of the sources                     |

How registers are asked about people is in streams/flows/inquiry.
"""

from __future__ import annotations

from collections.abc import Iterable

from streams.flows.check.access import ACCESS, ACCESSES
from streams.flows.check.authorisation import AUTHORISATIONS, MEMBERS
from streams.flows.check.case import (
    ANSWER,
    CASE,
    DECISION,
    EVIDENCE_CHANGED,
    OBJECTION,
    QUEUE,
    REFUSAL,
    REPORT,
    REQUEST,
    fold_case,
)
from streams.flows.check.figures import QUALITY, STATISTIC, fold_quality, fold_statistic
from streams.flows.check.report import DECLARATIONS
from streams.flows.check.sources import SOURCES
from streams.flows.inquiry.evidence import folds, inputs
from streams.operators.flow import Flow, Fold, Input, keyed

__all__ = ["FLOW"]


_case = keyed("case", "case_no")


def _of_case(feed: str, columns: Iterable[str], event_time: str | None = None) -> Input:
    return Input(feed=feed, subjects=_case, columns=list(columns), event_time=event_time)


_ANSWERED = ("outcome", "record_count", "match_tier", "reference", "value", "amount", "observed_date", "answered_at")

FLOW = Flow(
    name="check",
    inputs=[
        _of_case(CASE, ("kind", "district", "accepted_at", "status", "status_date"), "accepted_at"),
        _of_case(MEMBERS, ("name",)),
        _of_case(AUTHORISATIONS, ("case_no", "signer_id", "scope", "valid_from", "valid_to", "revoked_at")),
        _of_case(DECLARATIONS, ("source", "reference"), "declared_date"),
        _of_case(DECISION, ("outcome", "report_version", "decided_at"), "decided_at"),
        _of_case(OBJECTION, ("case_no", "report_version", "citizen_id", "source", "status"), "raised_at"),
        _of_case(ACCESSES, ("case_no", "report_version", "officer", "purpose", "opened_at"), "opened_at"),
        *(_of_case(feed, _ANSWERED, "answered_at") for feed in SOURCES.answer_feeds()),
        *inputs(SOURCES),
    ],
    folds={
        "case": Fold(fold_case),
        **folds(SOURCES),
        "statistic": Fold(fold_statistic, at_tick=True),
        "quality": Fold(fold_quality, at_tick=True),
    },
    outputs={
        REQUEST: ("case_no", "citizen_id", "source"),
        ANSWER: ("case_no", "citizen_id", "source"),
        REPORT: ("case_no", "version"),
        EVIDENCE_CHANGED: ("case_no", "version"),
        STATISTIC: ("window", "district", "kind"),
        QUALITY: ("agency", "source"),
        ACCESS: ("access_id", "citizen_id"),
        REFUSAL: ("refusal_id",),
        QUEUE: ("conflict_id",),
    },
    queue=QUEUE,
    verdicts=("NO_RECORD", "ERROR"),
)
