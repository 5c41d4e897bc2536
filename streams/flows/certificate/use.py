"""Uses of certificates (用证): each judged by the certificate's standing at that time, and listed where somebody must follow up.

A case of small reimbursement for disabled persons (残疾人零星报销) opens from a use alone: identity card at the counter, the
disability certificate by reference, no paper (HANDBOOK J4).
"""

from __future__ import annotations

from typing import Any

from streams.flows.certificate.standing import Known, Standing, standing
from streams.flows.certificate.types import QUEUE, RULES, TYPES, Extract, extract_of
from streams.operators.flow import Fact, Outcome, Row, queue_item

USE_FEED = "certs.certificate_use"
USES, HOLDER_VIEW, REIMBURSEMENT = "certificate.use", "certificate.holder_view", "certificate.reimbursement"
SECOND = 1_000_000
_ENDED = {"REVOKED", "CANCELLED", "SUSPENDED", "EXPIRED"}


def judged_at(fact: Fact) -> tuple[int, bool]:
    """When a use counts as made, and whether its clock was wrong: no use is later than the commit that tells of it."""
    used_at: int = (fact.row or {})["used_at"]
    committed = fact.committed_at_ms * 1000
    if used_at <= committed + RULES.at(committed)["clock_skew_seconds"] * SECOND:
        return used_at, False
    return committed, True


def follow_ups(row: Row, found: Standing, extract: Extract, moment: int, is_skewed: bool) -> list[str]:
    """Why a use needs a person, most serious first."""
    kinds: list[str] = []
    if row["result"] == "ACCEPTED" and found.status != "VALID":
        kinds.append(_misuse(found, moment))
    if set(row["items_disclosed"] or ()) - extract.items:
        kinds.append("EXCESS_ITEMS")
    if extract.needs_holder and not row["holder_present"]:
        kinds.append("HOLDER_ABSENT")
    if not row["officer"] or not row["matter_code"] or not row["purpose"]:
        kinds.append("LOG_INCOMPLETE")
    if is_skewed:
        kinds.append("CLOCK_SKEW")
    return kinds


def _misuse(found: Standing, moment: int) -> str:
    if found.status == "REJECTED":
        return found.cause
    if found.cause == "SOURCE" and found.status in _ENDED:
        window = RULES.at(moment)["race_window_seconds"] * SECOND
        in_race = found.since is not None and 0 <= moment - found.since <= window
        return "USED_IN_RACE_WINDOW" if in_race else f"USED_WHILE_{found.status}"
    return {
        "TERM": "USED_AFTER_TERM",
        "NOT_YET": "USED_BEFORE_TERM",
        "RENEWED": "USED_AFTER_RENEWAL",
        "HOLDER_DEAD": "USED_AFTER_DEATH",
        "CARD_NOT_VALID": "USED_WITHOUT_CARD",
    }.get(found.cause, "CERTIFICATE_UNKNOWN")


def publish_use(outcome: Outcome, cert_id: str, fact: Fact, known: Known | None) -> None:
    """One use: its row, its line in the holder's list, its queue items, and the case that it opens."""
    row = dict(fact.row or {})
    moment, is_skewed = judged_at(fact)
    certificate: dict[str, Any] | None = dict(known.at(moment).row or {}) if known is not None else None
    found, extract = Standing("UNKNOWN", "CERTIFICATE_UNKNOWN"), Extract()
    if known is not None and certificate is not None:
        found = standing(known, moment)
        extract = extract_of(row["matter_code"], certificate["type_code"], row["verifier_agency"], moment)
    kinds = follow_ups(row, found, extract, moment, is_skewed)
    if known is None and "CERTIFICATE_UNKNOWN" not in kinds:
        kinds.insert(0, "CERTIFICATE_UNKNOWN")
    logged = ("use_id", "cert_id", "verifier_agency", "officer", "matter_code", "purpose", "used_at")
    outcome.publish(
        USES,
        {
            **{name: row[name] for name in logged},
            "judged_at": moment,
            "holder_present": row["holder_present"],
            "result": row["result"],
            "items_disclosed": list(row["items_disclosed"] or ()),
            "items_granted": sorted(extract.items),
            "type_code": certificate and certificate["type_code"],
            "status_at_use": found.status,
            "cause_at_use": found.cause,
            "follow_up": kinds,
        },
    )
    for kind in kinds:
        item = queue_item(
            f"use:{row['use_id']}|{kind}",
            kind,
            [f"certificate:{cert_id}"],
            [fact, *([known.at(moment)] if known else [])],
            opened_at=moment,
        )
        outcome.publish(QUEUE, item)
    if certificate is not None:
        outcome.publish(HOLDER_VIEW, _holder_line(row, certificate))
        if not kinds and row["result"] == "ACCEPTED" and found.status == "VALID":
            _open_case(outcome, row, certificate, extract, moment)


def _holder_line(row: Row, certificate: Row) -> dict[str, Any]:
    """What the holder is told of a use: who, when and what for; the officer's name is the agency's business."""
    entry = TYPES.get(certificate["type_code"])
    shown = ("use_id", "cert_id", "verifier_agency", "matter_code", "purpose", "used_at", "holder_present", "result")
    return {
        "holder_id_type": certificate["holder_id_type"],
        "holder_id": certificate["holder_id"],
        **{name: row[name] for name in shown},
        "type_name": entry and entry.name,
        "items_disclosed": list(row["items_disclosed"] or ()),
    }


def _open_case(outcome: Outcome, row: Row, certificate: Row, extract: Extract, moment: int) -> None:
    wanted = RULES.at(moment)["reimbursement"].get(row["matter_code"])
    if wanted is None or wanted != certificate["type_code"] or not row["holder_present"] or not extract.items:
        return
    outcome.publish(
        REIMBURSEMENT,
        {
            "case_no": f"{row['matter_code']}-{row['use_id']}",
            "matter_code": row["matter_code"],
            "agency": row["verifier_agency"],
            "applicant_id_type": certificate["holder_id_type"],
            "applicant_id": certificate["holder_id"],
            "applicant_name": certificate["holder_name"],
            "cert_id": certificate["cert_id"],
            "cert_version": certificate["version"],
            "file_digest": certificate["file_digest"],
            "use_id": row["use_id"],
            "items": sorted(extract.items),
            "opened_at": moment,
            "state": "OPEN",
        },
    )
