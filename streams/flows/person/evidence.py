"""Evidence: which subjects a source's row speaks of, and how it reads in the archive's words.

| subject                     | what it is                                                                       |
|-----------------------------|----------------------------------------------------------------------------------|
| `person:<18>`               | a citizen identity number; 15 digits are upgraded here, so both forms meet        |
| `hmt:<18>`                  | residence permit of a Hong Kong, Macao or Taiwan resident (港澳台居民居住证)        |
| `passport:<nation>-<no>`    | a foreigner's passport                                                            |
| `number:<text>`             | a number of the right shape that is nobody's, or whose century is uncertain        |
| `document:<type>|<no>`      | another document, told by its holder                                              |
| `name:<name>|<birth>`       | an index: whoever has this name and birth date, for rows without a usable number   |

A row that fits none of them is rejected, by a named kind: nothing is known about it, which is not "has nothing" (tier P7).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Any

from msgspec.structs import replace

from schemas.expression.identifiers import normalise, validate_citizen_id, validate_disability_card
from streams.operators.flow import Fact, Input, RejectedRow, Row, Subject
from streams.operators.merge import comparable

ID_TYPES = {"person": "CITIZEN_ID", "hmt": "HMT_PERMIT", "passport": "PASSPORT"}
ATTENDING = ("ENROLLED", "SUSPENDED")
EMPLOYING_INSURANCE = "PENSION"
"""Of five insurances paid together one says who the employer is; the others would be five times the state."""

_DAY_MICROS = 86_400_000_000
_EPOCH = date(1970, 1, 1)
_SHAPE = re.compile(r"[0-9]{17}[0-9X]|[0-9]{15}")
_FILLED_IN_DIGITS = 3  # 000000000000000000 and the like: a form's filling, shared by many


def number_of(text: str) -> str:
    """A number's canonical form: 18 characters where that is certain, otherwise the text in its normal form."""
    return validate_citizen_id(text).normalised or normalise(text)


def holder(text: str | None) -> str:
    """The subject that a citizen identity number names. Raises RejectedRow for one that names nobody."""
    if text is None or not text.strip():
        raise RejectedRow("NO_MATCH", "no number, and no name with a birth date to match by")
    found = validate_citizen_id(text)
    if found.normalised is not None:
        return f"person:{found.normalised}"
    plain = normalise(text)
    if found.code == "ID_TYPE" and _SHAPE.fullmatch(plain):
        return f"hmt:{plain}"
    if _SHAPE.fullmatch(plain) and len(set(plain)) > _FILLED_IN_DIGITS:
        return f"number:{plain}"
    raise RejectedRow("CITIZEN_ID_INVALID", found.code or "")


def key_of(subject: Subject) -> str:
    """How a person is named in derived feeds: type and number of the document."""
    return f"{ID_TYPES[subject.kind]}:{subject.id}"


def name_key(name: str | None, birth_day: int | None) -> str | None:
    """The index subject of a name and birth date; None where one of them is missing."""
    plain = comparable(name or "")
    return f"name:{plain}|{birth_day}" if plain and birth_day is not None else None


def claim_key(feed: str, row: Row) -> str | None:
    """The index subject of a row without a usable number; None where it does not say enough."""
    match feed:
        case "health.birth_certificate":
            return name_key(row["baby_name"], row["born_at"] // _DAY_MICROS)
        case "police.resident" | "health.death_certificate":
            return name_key(row["name"], row["birth_date"])
        case _:
            return None


def _by_number(row: Row) -> list[str]:
    return [holder(row["citizen_id"])]


def _by_number_or_name(feed: str) -> Callable[[Row], list[str]]:
    def subjects(row: Row) -> list[str]:
        try:
            return [holder(row["citizen_id"])]
        except RejectedRow:
            key = claim_key(feed, row)
            if key is None:
                raise
            return [key]

    return subjects


def _birth(row: Row) -> Iterable[str]:
    key = claim_key("health.birth_certificate", row)
    if key is None:
        raise RejectedRow("NO_MATCH", "a birth certificate without a name")
    return [key, *_usable(row["mother_id"], row["father_id"])]


def _usable(*numbers: str | None) -> list[str]:
    found: list[str] = []
    for text in numbers:
        try:
            found.append(holder(text))
        except RejectedRow:
            continue  # the other person's fold says so: `PARTNER_ID_INVALID`
    return found


def _couple(row: Row) -> list[str]:
    found = _usable(row["male_id"], row["female_id"])
    if not found:
        raise RejectedRow("CITIZEN_ID_INVALID", "both partners")
    return found


def _change(row: Row) -> list[str]:
    new = holder(row["new_id"])
    if new.startswith("number:"):
        raise RejectedRow("ID_CHANGE_INVALID", "the new number is nobody's")
    return [new, *_usable(row["old_id"])]


def _insured(row: Row) -> list[str]:
    return [holder(row["citizen_id"])] if row["insurance_kind"] == EMPLOYING_INSURANCE else []


def _card(row: Row) -> list[str]:
    found = validate_disability_card(row["card_no"], declared=row)
    if not found.is_valid:
        raise RejectedRow("CARD_INVALID", found.code or "")
    return [holder(row["citizen_id"])]


def _foreigner(row: Row) -> list[str]:
    return [f"passport:{normalise(row['nationality'])}-{normalise(row['passport_no'])}"]


_RESIDENT = (
    "name", "former_name", "sex", "ethnicity", "birth_date", "hukou_region", "hukou_address", "household_no", "status",
    "status_date", "mobile",
)  # fmt: skip
_STATUS = ("status", "status_date")

INPUTS = (
    Input(feed="police.resident", subjects=_by_number_or_name("police.resident"), columns=_RESIDENT,
          event_time="status_date", keeps_history=True),
    Input(feed="police.id_change", subjects=_change, columns=("old_id", "new_id", "reason", "effective_date"),
          event_time="effective_date", keeps_history=True),
    Input(feed="police.residence_permit", subjects=_by_number, event_time="status_date", keeps_history=True,
          columns=("citizen_id", "name", "residence_region", "valid_from", "valid_to", *_STATUS)),
    Input(feed="police.foreigner", subjects=_foreigner, keeps_history=True,
          columns=("name_latin", "name_cn", "sex", "birth_date", "residence_region")),
    Input(feed="health.birth_certificate", subjects=_birth, event_time="born_at", keeps_history=True,
          columns=("baby_name", "sex", "born_at", "birth_region", "mother_id", "father_id")),
    Input(feed="health.death_certificate", subjects=_by_number_or_name("health.death_certificate"),
          columns=("citizen_id", "name", "sex", "birth_date", "died_at"), event_time="died_at", keeps_history=True),
    Input(feed="civil.cremation", subjects=_by_number, columns=("citizen_id", "name", "cremated_date"),
          event_time="cremated_date", keeps_history=True),
    Input(feed="civil.marriage", subjects=_couple, event_time="registered_date", keeps_history=True,
          columns=("kind", "registered_date", "male_id", "male_name", "female_id", "female_name")),
    Input(feed="civil.check_member", subjects=_by_number, columns=("name", "hukou_address"), keeps_history=True),
    Input(feed="edu.student", subjects=_by_number, columns=("citizen_id", "name", "school_code", *_STATUS),
          event_time="status_date", keeps_history=True),
    Input(feed="hrss.insurance_month", subjects=_insured, columns=("employer_uscc", "employer_name"),
          event_time="paid_at", keeps_history=True),
    Input(feed="hrss.pension_payment", subjects=_by_number, columns=_STATUS, event_time="paid_at", keeps_history=True),
    Input(feed="hrss.unemployment", subjects=_by_number, columns=("citizen_id", "registered_date", "ended_date"),
          keeps_history=True),
    Input(feed="disabled.card", subjects=_card, event_time="status_date", keeps_history=True,
          columns=("citizen_id", "name", "kind", "level", "issue_date", "valid_to", *_STATUS)),
)  # fmt: skip


def as_evidence(fact: Fact, numbers: frozenset[str]) -> Fact:
    """The fact, and its older versions, with a row that has the subject's own `citizen_id` and `name` in every feed."""
    if fact.feed not in {"civil.marriage", "police.foreigner"}:
        return fact
    row = _own(fact.feed, fact.row, numbers) if fact.row is not None else None
    return replace(fact, row=row, earlier=tuple(as_evidence(version, numbers) for version in fact.earlier))


def _own(feed: str, row: Row, numbers: frozenset[str]) -> Row:
    if feed == "police.foreigner":
        return {**row, "name": row["name_cn"] or row["name_latin"], "former_name": row["name_latin"]}
    own, other = ("male", "female") if number_of(row["male_id"]) in numbers else ("female", "male")
    return {**row, "citizen_id": row[f"{own}_id"], "name": row[f"{own}_name"], "partner_id": row[f"{other}_id"]}


# What a row says of a field, where that is more than a column.


def _number_says(fact: str) -> Callable[[Row], Any]:
    def read(row: Row) -> Any:
        return validate_citizen_id(row["citizen_id"]).facts.get(fact)

    return read


def born_by_number(row: Row) -> int | None:
    """The birth date in a row's identity number, days."""
    born = validate_citizen_id(row["citizen_id"]).facts.get("birth_date")
    return None if born is None else (born - _EPOCH).days


def died_on(row: Row) -> int | None:
    """The day of death that a row states, days; None for one that states no death."""
    if "died_at" in row:
        return row["died_at"] // _DAY_MICROS
    if "cremated_date" in row:
        return row["cremated_date"]
    return row["status_date"] if row["status"] == "DECEASED" else None


READS: Mapping[str, Callable[[Row], Any]] = {
    "sex_by_number": _number_says("sex"),
    "born_by_number": born_by_number,
    "died_on": died_on,
    "current_region": lambda row: row["residence_region"] if row["status"] == "VALID" else None,
    "attended": lambda row: row["school_code"] if row["status"] in ATTENDING else None,
    "employer": lambda row: row["employer_uscc"] or row["employer_name"],
    "disability": lambda row: f"{row['kind']}-{row['level']}" if row["status"] == "VALID" else None,
}
