"""Whose record is it: the subject of a credit record, found on validated numbers only (HANDBOOK §2.6, tiers O0 to O2).

A person is known by the canonical citizen ID (公民身份号码). An organisation is known by what its home register calls it, so
that the same enterprise is one subject whether a department writes its unified social credit code, its organisation code or
its business-registration number. The number is asked of an `identifier` subject, which knows its owners from the registers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.expression.identifiers import (
    NumberStatus,
    validate_citizen_id,
    validate_org_code,
    validate_registration_no,
    validate_uscc,
)
from streams.flows.credit.sources import KINDS, REGISTERS, choice, is_live, numbers
from streams.operators.flow import Outcome, Row, Subject, Tell

_CHECKS = {"USCC": validate_uscc, "ORG_CODE": validate_org_code, "REGISTRATION_NO": validate_registration_no}
METHODS = {"USCC": "O0", "ORG_CODE": "O1", "REGISTRATION_NO": "O2"}


@dataclass(frozen=True, slots=True)
class Claim:
    """What a record says of its subject. Either `person` or `identifier` is set, or `reason` says why neither could be."""

    kind: str | None
    person: str | None = None
    identifier: tuple[str, str] | None = None
    method: str | None = None
    reason: str | None = None


def claim_of(entry: Mapping[str, Any], row: Row) -> Claim:
    """The claim of a record's row: its declared kind, and the first number that validates for this kind."""
    kind = choice(entry["kind"], row)
    if kind not in KINDS:
        return Claim(None, reason="KIND_UNKNOWN")
    texts = [row[column] for column in numbers(entry, kind) if row.get(column)]
    if not texts:
        return Claim(kind, reason="ID_MISSING")
    return _person(texts) if kind == "PERSON" else _organisation(kind, texts)


def _person(texts: Sequence[str]) -> Claim:
    results = [validate_citizen_id(text) for text in texts]
    for result in results:
        if result.normalised is not None:
            method = "P0" if result.status is NumberStatus.VALID else "P1"
            return Claim("PERSON", person=result.normalised, method=method)
    if any(result.status is NumberStatus.AMBIGUOUS_CENTURY for result in results):
        return Claim("PERSON", reason="AMBIGUOUS")  # never merges by itself (HANDBOOK §2.5)
    is_organisation = any(identifier_of(text) for text in texts)
    return Claim("PERSON", reason="KIND_MISMATCH" if is_organisation else "ID_INVALID")


def _organisation(kind: str, texts: Sequence[str]) -> Claim:
    for text in texts:
        if (identifier := identifier_of(text)) is not None:
            return Claim(kind, identifier=identifier, method=METHODS[identifier[0]])
    if any(validate_citizen_id(text).normalised for text in texts):
        return Claim(kind, reason="KIND_MISMATCH")  # a person offered to a database of organisations
    return Claim(kind, reason="ID_INVALID")


def identifier_of(text: str) -> tuple[str, str] | None:
    """The type and canonical form of an organisation's number; None if it is none."""
    for name, validate in _CHECKS.items():
        if (canonical := validate(text).normalised) is not None:
            return name, canonical
    return None


def register_identifiers(entry: Mapping[str, Any], row: Row) -> Iterable[str]:
    """The `identifier` subjects to which a register's row is evidence; characters 9 to 17 of a USCC are an organisation code."""
    found: dict[str, None] = {}
    for column, name in entry["numbers"].items():
        text = row.get(column)
        canonical = _CHECKS[name](text).normalised if text else None
        if canonical is None:
            continue
        found.setdefault(f"identifier:{name}|{canonical}")
        if name == "USCC" and validate_org_code(canonical[8:17]).normalised:
            found.setdefault(f"identifier:ORG_CODE|{canonical[8:17]}")
    return found


def fold_identifier(subject: Subject) -> Outcome:
    """Tells every record that asks which organisations bear this number; nobody is an answer too."""
    outcome = Outcome()
    owners: dict[str, dict[str, Any]] = {}
    for entry in (entry.values for entry in REGISTERS.entries):
        for fact in subject.of(entry["feed"]):
            row = fact.row or {}
            key = f"{entry['home']}:{row[entry['id']]}"
            kind = choice(entry["kind"], row)
            owners[key] = {"key": key, "kind": kind, "name": row[entry["name"]], "is_live": is_live(entry, row)}
    answer = {"identifier": subject.id, "owners": [owners[key] for key in sorted(owners)]}
    for ask in subject.told("ask"):
        outcome.tells.append(Tell(to=ask["record"], tag="owner", row=answer))
    return outcome


def owner_of(claim: Claim, owners: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any] | None, str | None]:
    """The one owner of a number, or the reason why there is none: NO_MATCH, AMBIGUOUS, KIND_MISMATCH.

    Of several owners a live one counts before those that have gone: a code is unique among live entities only.
    """
    candidates = [owner for owner in owners if owner["is_live"]] or list(owners)
    if not candidates:
        return None, "NO_MATCH"
    if len(candidates) > 1:
        return None, "AMBIGUOUS"
    if candidates[0]["kind"] != claim.kind:
        return None, "KIND_MISMATCH"
    return candidates[0], None
