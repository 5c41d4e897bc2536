"""Identifiers (标识): the five numbers that join a person's or an organisation's rows across departments, and their checks.

| function                    | number                                               | rule                               |
|-----------------------------|------------------------------------------------------|------------------------------------|
| `validate_citizen_id`       | citizen identity number 公民身份号码                   | GB 11643-1999, ISO 7064 MOD 11-2   |
| `validate_uscc`             | unified social credit code 统一社会信用代码            | GB 32100-2015                      |
| `validate_org_code`         | organisation code 组织机构代码                         | GB 11714                           |
| `validate_registration_no`  | business-registration number 工商注册号                | ISO 7064 MOD 11,10                 |
| `validate_disability_card`  | disability card number 残疾人证号                      | citizen ID, kind, level, reissue   |

All are pure and give a `Validation`; none raises on any text. VALID means well formed: it never means that the person or the
organisation exists. Nothing is corrected on the way (an O stays an O), and a digit is ASCII 0 to 9 only: NFKC and
`str.isdigit` would let other characters pass.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from operator import mul
from typing import Any

from schemas.expression.citizen_id import citizen_check, validate_citizen_id
from schemas.expression.number import (
    ALPHABET,
    CHECK,
    TOO_LONG_OR_SHORT,
    VALID,
    NumberStatus,
    Validation,
    invalid,
    normalise,
)

__all__ = [
    "NumberStatus",
    "Validation",
    "citizen_check",
    "normalise",
    "org_code_check",
    "registration_check",
    "uscc_check",
    "validate_citizen_id",
    "validate_disability_card",
    "validate_org_code",
    "validate_registration_no",
    "validate_uscc",
]

# Organisation code (组织机构代码)

_ORG_SHAPE = re.compile(r"[0-9A-Z]{8}[0-9X]")
_ORG_WEIGHTS = (3, 7, 9, 10, 5, 8, 4, 2)


def _values_of(alphabet: str) -> bytes:
    """A translation table from ASCII codes to the characters' places in the alphabet."""
    table = bytearray(256)
    for value, character in enumerate(alphabet):
        table[ord(character)] = value
    return bytes(table)


_ORG_VALUES = _values_of("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")


def org_code_check(first_8: str) -> str:
    """The check character for the first eight characters of an organisation code (longer text is cut)."""
    remainder = sum(map(mul, first_8.encode().translate(_ORG_VALUES), _ORG_WEIGHTS)) % 11
    return "0X987654321"[remainder]  # 11 minus the remainder, where 10 is X and 11 is 0


def validate_org_code(text: str) -> Validation:
    """Check an organisation code (组织机构代码, GB 11714), with or without the hyphen. Codes: LEN, ALPHABET, CHECK."""
    code = normalise(text)
    if code[-2:-1] == "-":
        code = code[:-2] + code[-1]
    if len(code) != 9:
        return TOO_LONG_OR_SHORT
    if _ORG_SHAPE.fullmatch(code) is None:
        return ALPHABET
    return Validation(VALID, None, code) if code[8] == org_code_check(code) else CHECK


# Unified social credit code (统一社会信用代码)

USCC_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
"""The 31 characters of GB 32100-2015; a character's value is its place."""

_USCC_SHAPE = re.compile(f"[{USCC_ALPHABET}]{{18}}")
_USCC_REGION = re.compile("[0-9]{6}")
_USCC_WEIGHTS = tuple(3**i % 31 for i in range(17))
_USCC_VALUES = _values_of(USCC_ALPHABET)


def uscc_check(first_17: str) -> str:
    """The check character for the first 17 characters of a unified social credit code (longer text is cut)."""
    return USCC_ALPHABET[-sum(map(mul, first_17.encode().translate(_USCC_VALUES), _USCC_WEIGHTS)) % 31]


def validate_uscc(
    text: str, *, regions: Collection[str] | None = None, authorities: Collection[str] | None = None
) -> Validation:
    """Check a unified social credit code (统一社会信用代码, GB 32100-2015).

    `authorities` are the known two-character codes of registering authority and category. Codes: LEN, ALPHABET, REGION,
    CHECK; warnings: AUTHORITY_UNKNOWN, REGION_UNKNOWN, ORG_CODE (legacy codes exist, so the code stays valid).
    """
    code = normalise(text)
    if len(code) != 18:
        return TOO_LONG_OR_SHORT
    if _USCC_SHAPE.fullmatch(code) is None:
        return ALPHABET
    if _USCC_REGION.fullmatch(code, 2, 8) is None:
        return invalid("REGION")
    if code[17] != uscc_check(code):
        return CHECK
    warnings: tuple[str, ...] = ()
    if authorities is not None and code[:2] not in authorities:
        warnings = ("AUTHORITY_UNKNOWN",)
    if regions is not None and code[2:8] not in regions:
        warnings = (*warnings, "REGION_UNKNOWN")
    if _ORG_SHAPE.fullmatch(code, 8, 17) is None or code[16] != org_code_check(code[8:16]):
        warnings = (*warnings, "ORG_CODE")
    return Validation(VALID, None, code, (), warnings)


# Business-registration number (工商注册号)

_REGISTRATION_SHAPE = re.compile("[0-9]{15}")


def registration_check(first_14: str) -> str:
    """The check digit for the first 14 digits of a business-registration number (longer text is cut)."""
    product = 10
    for digit in first_14[:14]:
        product = ((product + int(digit)) % 10 or 10) * 2 % 11
    return str((11 - product) % 10)


def validate_registration_no(text: str) -> Validation:
    """Check a 15-digit business-registration number (工商注册号, ISO 7064 MOD 11,10). Codes: LEN, CHECK."""
    number = normalise(text)
    if _REGISTRATION_SHAPE.fullmatch(number) is None:
        return TOO_LONG_OR_SHORT
    return Validation(VALID, None, number) if number[14] == registration_check(number) else CHECK


# Disability card (残疾人证)

_CARD_SHAPE = re.compile(r"([0-9]{17}[0-9X])([0-9])([0-9])(?:B([1-9][0-9]?))?")


def validate_disability_card(
    text: str,
    *,
    as_of: date | None = None,
    regions: Collection[str] | None = None,
    declared: Mapping[str, Any] | None = None,
) -> Validation:
    """Check a disability card number (残疾人证号): a citizen ID, kind 1-7, level 1-4, and B with a reissue number.

    `declared` are columns of the same row; `citizen_id`, `kind` and `level` must agree with the number. Codes: LEN, ID_ and
    a citizen ID's code, KIND, LEVEL, MISMATCH; warnings: the citizen ID's.
    """
    number = normalise(text)
    match = _CARD_SHAPE.fullmatch(number)
    if match is None:
        return TOO_LONG_OR_SHORT
    citizen_id, kind, level, reissue = match.groups()
    person = validate_citizen_id(citizen_id, as_of=as_of, regions=regions, declared=declared)
    if person.status is not VALID:
        return invalid(f"ID_{person.code}")
    if kind not in "1234567":
        return invalid("KIND")
    if level not in "1234":
        return invalid("LEVEL")
    if declared and not _agrees(declared, citizen_id, (("kind", kind), ("level", level))):
        return invalid("MISMATCH")
    facts = {**person.facts, "kind": int(kind), "level": int(level), "reissue": int(reissue or 0)}
    return Validation(VALID, None, number, (), person.warnings, facts)


def _agrees(declared: Mapping[str, Any], citizen_id: str, digits: Sequence[tuple[str, str]]) -> bool:
    other = declared.get("citizen_id")
    if other is not None:  # the same person's 15-digit number is the same person
        other = validate_citizen_id(other).normalised or normalise(other)
        if other != citizen_id:
            return False
    return all(declared.get(column) is None or str(declared[column]).strip() == digit for column, digit in digits)
