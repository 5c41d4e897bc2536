"""Numbers that may join rows into one organisation: read from a row, in canonical form, or named as unfit.

A number that does not pass its check never joins anything (schemas/expression/identifiers.py); nor does a placeholder, one character
over and over, that happens to pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from schemas.expression.identifiers import (
    NumberStatus,
    Validation,
    normalise,
    validate_citizen_id,
    validate_org_code,
    validate_registration_no,
    validate_uscc,
)
from streams.flows.organisation.rules import ORG_CODE, REGISTRATION_NO, USCC, Rules
from streams.operators.flow import Row

_VALIDATORS: dict[str, Callable[[str], Validation]] = {
    USCC: validate_uscc,
    ORG_CODE: validate_org_code,
    REGISTRATION_NO: validate_registration_no,
}
_SUFFIX_MAX = 4  # what tax offices append to a citizen ID to tell a person's businesses apart


def valid_number(id_type: str, text: str | None) -> str | None:
    """The number's canonical form; None if there is none or it is not to be matched on."""
    if not text:
        return None
    number = _VALIDATORS[id_type](text).normalised
    return None if number is None or len(set(number[:-1])) == 1 else number


def is_unfit(id_type: str, text: str | None) -> bool:
    """Whether something is written there that is no such number."""
    return bool(text and text.strip()) and valid_number(id_type, text) is None


def org_code_of(uscc: str | None) -> str | None:
    """The organisation code within a unified social credit code (characters 9 to 17), unless it is a legacy one."""
    return valid_number(ORG_CODE, uscc[8:17]) if uscc else None


def citizen_id(text: str | None) -> str | None:
    """A citizen ID in its 18-digit form; None where it is missing, invalid or its century is uncertain."""
    return validate_citizen_id(text).normalised if text else None


@dataclass(frozen=True, slots=True)
class TaxNumbers:
    """What a tax registration (税务登记) says of whose it is. `is_mismatch`: its own numbers contradict each other."""

    uscc: str | None
    org_code: str | None
    owner_id: str | None
    is_mismatch: bool


def tax_numbers(row: Row, rules: Rules) -> TaxNumbers:
    """Read the columns `tax_no`, `uscc` and `org_code`; the tax number itself may be or hold one of three numbers (HANDBOOK §5.4)."""
    tax_no = normalise(row["tax_no"])
    owner_id = _owner_id(tax_no)
    uscc = valid_number(USCC, row["uscc"])
    if uscc is None and owner_id is None:
        uscc = valid_number(USCC, tax_no)
    stated = valid_number(ORG_CODE, row["org_code"])
    held = None
    if len(tax_no) == 15 and rules.tax_no_has_org_code and (owner_id is None or stated == tax_no[6:]):
        held = valid_number(ORG_CODE, tax_no[6:])
    codes = {code for code in (stated, held, org_code_of(uscc)) if code is not None}
    is_mismatch = len(codes) > 1
    org_code = None if is_mismatch or not codes else codes.pop()
    return TaxNumbers(uscc, org_code, None if uscc or org_code else owner_id, is_mismatch)


def _owner_id(tax_no: str) -> str | None:
    """A sole trader's (个体户) tax number is the owner's citizen ID of 18 or 15 digits, with or without a suffix."""
    for length in (18, 15):
        suffix = tax_no[length:]
        if len(tax_no) >= length and len(suffix) <= _SUFFIX_MAX and (not suffix or suffix.isascii()):
            found = validate_citizen_id(tax_no[:length])
            if found.status in {NumberStatus.VALID, NumberStatus.UPGRADED}:
                return found.normalised
    return None
