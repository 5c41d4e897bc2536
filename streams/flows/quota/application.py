"""Application (申请): what the flow reads of an application and who the applicant is; named outcomes for what cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from schemas.dated.configuration import midnight
from schemas.expression.identifiers import (
    NumberStatus,
    Validation,
    validate_citizen_id,
    validate_org_code,
    validate_registration_no,
    validate_uscc,
)
from streams.flows.quota.cycle import Period, find_period, period_of
from streams.operators.flow import Fact, RejectedRow, Row

APPLICATION = "transport.quota_application"
REVIEW = "transport.quota_review"
DRAW = "transport.quota_draw"
AWARD = "transport.quota_award"
RESIDENT, DEATH, VEHICLE = "police.resident", "health.death_certificate", "police.vehicle"

PERSON, ORGANISATION = "PERSON", "ORGANISATION"
QUOTA_KINDS = frozenset({"ORDINARY", "NEW_ENERGY"})
METHODS = frozenset({"LOTTERY", "AUCTION"})
VERDICTS = frozenset({"PASS", "FAIL", "NEED_INFO"})

_VALIDATE: dict[str, Callable[[str], Validation]] = {
    "CITIZEN_ID": validate_citizen_id,
    "USCC": validate_uscc,
    "ORG_CODE": validate_org_code,
    "REGISTRATION_NO": validate_registration_no,
}


def applicant_key(id_type: Any, number: Any) -> str | None:
    """The canonical number of an applicant: a 15-digit citizen ID in its 18-digit form; None if it is not valid."""
    validate = _VALIDATE.get(id_type)
    return validate(number).normalised if validate is not None and isinstance(number, str) else None


@dataclass(frozen=True, slots=True)
class Application:
    """An application as the fold needs it. `withdrawn_at` is None while it stands."""

    fact: Fact
    row: Row
    period: Period
    withdrawn_at: int | None

    @classmethod
    def of(cls, fact: Fact, row: Row) -> Application:
        """From the application's newest row."""
        withdrawn_at: int | None = None
        if row["status"] == "WITHDRAWN":
            day = row["status_date"]
            withdrawn_at = midnight(day) if isinstance(day, int) else fact.committed_at_ms * 1000
        return cls(fact, row, period_of(row["period"]), withdrawn_at)

    @property
    def person(self) -> str | None:
        """The applicant's canonical citizen ID, where a person applies."""
        is_person = self.row["applicant_kind"] == PERSON
        return applicant_key(self.row["id_type"], self.row["applicant_id"]) if is_person else None

    def stands_at(self, moment: int) -> bool:
        """Whether it is not withdrawn before a moment."""
        return self.withdrawn_at is None or self.withdrawn_at >= moment


def subjects_of_application(row: Row) -> Iterable[str]:
    """The case of an application. RejectedRow: APP_CODE_INVALID, PERIOD_UNKNOWN, APPLICANT_KIND_UNKNOWN, …."""
    code = app_code(row)
    if not isinstance(row["period"], str) or find_period(row["period"]) is None:
        raise RejectedRow("PERIOD_UNKNOWN")
    if row["applicant_kind"] not in {PERSON, ORGANISATION}:
        raise RejectedRow("APPLICANT_KIND_UNKNOWN")
    if row["quota_kind"] not in QUOTA_KINDS:
        raise RejectedRow("QUOTA_KIND_UNKNOWN")
    if row["method"] not in METHODS:
        raise RejectedRow("METHOD_UNKNOWN")
    if not isinstance(row["submitted_at"], int):
        raise RejectedRow("SUBMITTED_AT_MISSING")
    is_person = row["applicant_kind"] == PERSON
    if row["id_type"] not in _VALIDATE or (row["id_type"] == "CITIZEN_ID") != is_person:
        raise RejectedRow("ID_TYPE_UNFIT", "not an identity of such an applicant")
    if applicant_key(row["id_type"], row["applicant_id"]) is None:
        is_open = is_person and validate_citizen_id(row["applicant_id"] or "").status is NumberStatus.AMBIGUOUS_CENTURY
        raise RejectedRow("APPLICANT_ID_AMBIGUOUS" if is_open else "APPLICANT_ID_INVALID")
    return [f"case:{code}"]


def app_code(row: Row) -> str:
    """The application code of a row: ASCII without white space, since it is drawn and published as such."""
    code = row["app_code"]
    if not isinstance(code, str) or not code.isascii() or not code.isalnum():
        raise RejectedRow("APP_CODE_INVALID")
    return code


def subjects_by_code(row: Row) -> Iterable[str]:
    """The case that an award belongs to."""
    return [f"case:{app_code(row)}"]


def subjects_of_review(row: Row) -> Iterable[str]:
    """The case of a re-review (复核)."""
    if not isinstance(row["review_round"], int) or row["review_round"] < 2 or not isinstance(row["requested_at"], int):
        raise RejectedRow("REVIEW_INCOMPLETE")
    return [f"case:{app_code(row)}"]


def subjects_of_answer(row: Row) -> Iterable[str]:
    """The case that a department's answer belongs to, also one that it gives for another department: the case refuses that."""
    if row["verdict"] not in VERDICTS:
        raise RejectedRow("VERDICT_UNKNOWN")
    if not isinstance(row["answered_at"], int) or not isinstance(row["review_round"], int):
        raise RejectedRow("ANSWER_INCOMPLETE")
    return [f"case:{app_code(row)}"]


def subjects_of_draw(row: Row) -> Iterable[str]:
    """The draw of a period and quota kind."""
    if not isinstance(row["period"], str) or find_period(row["period"]) is None:
        raise RejectedRow("PERIOD_UNKNOWN")
    if row["quota_kind"] not in QUOTA_KINDS:
        raise RejectedRow("QUOTA_KIND_UNKNOWN")
    return [f"draw:{row['period']}|{row['quota_kind']}"]


def subjects_of_resident(row: Row) -> Iterable[str]:
    """The person, if the row says that they died; the living are not kept here."""
    return _person(row["citizen_id"]) if row["status"] == "DECEASED" else []


def subjects_of_death(row: Row) -> Iterable[str]:
    """The person of a death certificate that has a number; without one it is no evidence for this flow."""
    return _person(row["citizen_id"])


def subjects_of_vehicle(row: Row) -> Iterable[str]:
    """The person who owns a vehicle; those of organisations do not matter here."""
    return _person(row["owner_id"]) if row["owner_id_type"] == "CITIZEN_ID" else []


def _person(number: str | None) -> list[str]:
    """A number that is not valid is no evidence about anybody; the base archive queues it, once for the whole city."""
    key = applicant_key("CITIZEN_ID", number)
    return [f"person:{key}"] if key is not None else []
