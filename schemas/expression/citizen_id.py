"""Citizen identity number (公民身份号码), GB 11643-1999: of 18 characters, or of 15 digits from before 1999."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import date
from functools import lru_cache
from operator import mul
from typing import Any

from schemas.expression.number import (
    CHECK,
    TOO_LONG_OR_SHORT,
    UPGRADED,
    VALID,
    NumberStatus,
    Validation,
    invalid,
    normalise,
)

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
        return TOO_LONG_OR_SHORT
    if number.startswith(_OTHER_PERSONS):
        return invalid("ID_TYPE")
    if len(number) == 15:
        return _validate_15_digits(number, as_of, regions, declared)
    born = _birth_date(number, as_of)
    if born is None:
        return invalid("DATE")
    if number[17] != citizen_check(number):
        return CHECK
    warnings = _citizen_warnings(number, regions, declared) if regions is not None or declared else ()
    return Validation(VALID, None, number, (), warnings, _citizen_facts(number, born))


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
        return invalid("DATE")
    numbers = tuple(candidate + citizen_check(candidate) for candidate in candidates)
    warnings = _citizen_warnings(numbers[0], regions, declared)
    if is_centenarian:  # even one candidate left is no certainty about the century
        return Validation(NumberStatus.AMBIGUOUS_CENTURY, candidates=numbers, warnings=warnings)
    born = _birth_date(numbers[0], as_of)
    assert born is not None
    return Validation(UPGRADED, None, numbers[0], (), warnings, _citizen_facts(numbers[0], born))
