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
from enum import StrEnum
from functools import lru_cache
from operator import mul
from typing import Any, NamedTuple

_EMPTY: Mapping[str, Any] = {}


class NumberStatus(StrEnum):
    """How a number stands."""

    VALID = "VALID"
    UPGRADED = "UPGRADED"  # a 15-digit citizen ID whose 18-digit form is certain
    AMBIGUOUS_CENTURY = "AMBIGUOUS_CENTURY"  # a 15-digit citizen ID in the centenarians' range 996 to 999
    INVALID = "INVALID"


class Validation(NamedTuple):
    """What a validator found.

    `code` is, for INVALID, the first step that failed. `normalised` is the canonical text for VALID and UPGRADED.
    `candidates` are the 18-character readings of an AMBIGUOUS_CENTURY number, earlier century first. `warnings` are codes
    that do not change the status. `facts`, for VALID and UPGRADED, has what the number says: `birth_date` (date), `sex`
    ("1" or "2"), `citizen_id`, and the integers `kind`, `level`, `reissue`, as far as they apply.
    """

    status: NumberStatus
    code: str | None = None
    normalised: str | None = None
    candidates: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    facts: Mapping[str, Any] = _EMPTY

    def __repr__(self) -> str:
        """Without the number: a result may end up in a log."""
        return f"Validation({self.status}, code={self.code}, warnings={self.warnings})"

    @property
    def is_valid(self) -> bool:
        """Whether the status is VALID."""
        return self.status is NumberStatus.VALID


def _invalid(code: str) -> Validation:
    return Validation(NumberStatus.INVALID, code)


_LEN = _invalid("LEN")
_ALPHABET = _invalid("ALPHABET")
_CHECK = _invalid("CHECK")
_VALID, _UPGRADED = NumberStatus.VALID, NumberStatus.UPGRADED

_TO_ASCII_UPPER = {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
_TO_ASCII_UPPER |= {wide: narrow - 0x20 for wide, narrow in _TO_ASCII_UPPER.items() if 0x61 <= narrow <= 0x7A}
_TO_ASCII_UPPER |= {lower: lower - 0x20 for lower in range(0x61, 0x7B)}


def normalise(text: str) -> str:
    """Full-width forms to ASCII, a-z to A-Z, no white space at the ends; nothing else."""
    if text.isascii():
        return text.upper().strip()
    return text.translate(_TO_ASCII_UPPER).strip()


# Citizen identity number (公民身份号码)

_CITIZEN_SHAPE = re.compile(r"[0-9]{17}[0-9X]|[0-9]{15}")
_CITIZEN_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CITIZEN_ASCII = 48 * sum(_CITIZEN_WEIGHTS)
_CITIZEN_CHECKS = "10X98765432"
_OTHER_PERSONS = ("81", "82", "83")  # residence permits of Hong Kong, Macao and Taiwan residents
_CENTENARIANS = ("996", "997", "998", "999")
_YEAR_MIN = 1850


def citizen_check(first_17: str) -> str:
    """The check character for the first 17 digits of a citizen ID (longer text is cut)."""
    return _CITIZEN_CHECKS[(sum(map(mul, first_17.encode(), _CITIZEN_WEIGHTS)) - _CITIZEN_ASCII) % 11]


def _birth_date(number: str, as_of: date | None) -> date | None:
    try:
        born = date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return None
    return None if born.year < _YEAR_MIN or (as_of is not None and born > as_of) else born


def validate_citizen_id(
    text: str,
    *,
    as_of: date | None = None,
    regions: Collection[str] | None = None,
    declared: Mapping[str, Any] | None = None,
) -> Validation:
    """Check a citizen ID (公民身份号码, GB 11643-1999) of 18 characters, or of 15 digits from before 1999.

    `as_of` is the date of the event; without it the future is not tested. `regions` are all six-digit codes that any
    edition of GB/T 2260 ever had. `declared` are columns of the same row; `sex` is compared. Codes: LEN, ID_TYPE, DATE,
    CHECK; warnings: REGION_UNKNOWN, SEQ.
    """
    if as_of is None and regions is None and declared is None:
        return _citizen_id_alone(text)
    return _validate_citizen_id(text, as_of, regions, declared)


@lru_cache(maxsize=1 << 15)
def _citizen_id_alone(text: str) -> Validation:
    """One number comes again and again: with each row of its person, to each flow that reads it, in every fold."""
    return _validate_citizen_id(text, None, None, None)


def _validate_citizen_id(
    text: str, as_of: date | None, regions: Collection[str] | None, declared: Mapping[str, Any] | None
) -> Validation:
    number = normalise(text)
    if _CITIZEN_SHAPE.fullmatch(number) is None:
        return _LEN
    if number.startswith(_OTHER_PERSONS):
        return _invalid("ID_TYPE")
    if len(number) == 15:
        return _validate_15_digits(number, as_of, regions, declared)
    born = _birth_date(number, as_of)
    if born is None:
        return _invalid("DATE")
    if number[17] != citizen_check(number):
        return _CHECK
    warnings = _citizen_warnings(number, regions, declared) if regions is not None or declared else ()
    return Validation(_VALID, None, number, (), warnings, _citizen_facts(number, born))


def _citizen_facts(number: str, born: date) -> Mapping[str, Any]:
    return {"birth_date": born, "sex": "1" if number[16] in "13579" else "2", "citizen_id": number}


def _citizen_warnings(
    number: str, regions: Collection[str] | None, declared: Mapping[str, Any] | None
) -> tuple[str, ...]:
    warnings: tuple[str, ...] = ()
    if regions is not None and number[:6] not in regions:
        warnings = ("REGION_UNKNOWN",)
    sex = str(declared.get("sex")) if declared else ""
    if sex in {"1", "2"} and (sex == "1") != (number[16] in "13579"):
        warnings = (*warnings, "SEQ")
    return warnings


def _validate_15_digits(
    number: str, as_of: date | None, regions: Collection[str] | None, declared: Mapping[str, Any] | None
) -> Validation:
    is_centenarian = number.endswith(_CENTENARIANS)
    centuries = ("18", "19") if is_centenarian else ("19",)
    candidates = [f"{number[:6]}{century}{number[6:]}" for century in centuries]
    candidates = [candidate for candidate in candidates if _birth_date(candidate, as_of)]
    if not candidates:
        return _invalid("DATE")
    numbers = tuple(candidate + citizen_check(candidate) for candidate in candidates)
    warnings = _citizen_warnings(numbers[0], regions, declared)
    if is_centenarian:  # even one candidate left is no certainty about the century
        return Validation(NumberStatus.AMBIGUOUS_CENTURY, candidates=numbers, warnings=warnings)
    born = _birth_date(numbers[0], as_of)
    assert born is not None
    return Validation(_UPGRADED, None, numbers[0], (), warnings, _citizen_facts(numbers[0], born))


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
        return _LEN
    if _ORG_SHAPE.fullmatch(code) is None:
        return _ALPHABET
    return Validation(_VALID, None, code) if code[8] == org_code_check(code) else _CHECK


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
        return _LEN
    if _USCC_SHAPE.fullmatch(code) is None:
        return _ALPHABET
    if _USCC_REGION.fullmatch(code, 2, 8) is None:
        return _invalid("REGION")
    if code[17] != uscc_check(code):
        return _CHECK
    warnings: tuple[str, ...] = ()
    if authorities is not None and code[:2] not in authorities:
        warnings = ("AUTHORITY_UNKNOWN",)
    if regions is not None and code[2:8] not in regions:
        warnings = (*warnings, "REGION_UNKNOWN")
    if _ORG_SHAPE.fullmatch(code, 8, 17) is None or code[16] != org_code_check(code[8:16]):
        warnings = (*warnings, "ORG_CODE")
    return Validation(_VALID, None, code, (), warnings)


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
        return _LEN
    return Validation(_VALID, None, number) if number[14] == registration_check(number) else _CHECK


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
        return _LEN
    citizen_id, kind, level, reissue = match.groups()
    person = validate_citizen_id(citizen_id, as_of=as_of, regions=regions, declared=declared)
    if person.status is not _VALID:
        return _invalid(f"ID_{person.code}")
    if kind not in "1234567":
        return _invalid("KIND")
    if level not in "1234":
        return _invalid("LEVEL")
    if declared and not _agrees(declared, citizen_id, (("kind", kind), ("level", level))):
        return _invalid("MISMATCH")
    facts = {**person.facts, "kind": int(kind), "level": int(level), "reissue": int(reissue or 0)}
    return Validation(_VALID, None, number, (), person.warnings, facts)


def _agrees(declared: Mapping[str, Any], citizen_id: str, digits: Sequence[tuple[str, str]]) -> bool:
    other = declared.get("citizen_id")
    if other is not None:  # the same person's 15-digit number is the same person
        other = validate_citizen_id(other).normalised or normalise(other)
        if other != citizen_id:
            return False
    return all(declared.get(column) is None or str(declared[column]).strip() == digit for column, digit in digits)
