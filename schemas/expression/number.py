"""Number: how one stands that joins rows across departments, and what its validator found (schemas/expression/identifiers.py)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
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


def invalid(code: str) -> Validation:
    """A number that failed a step."""
    return Validation(NumberStatus.INVALID, code)


TOO_LONG_OR_SHORT = invalid("LEN")
ALPHABET = invalid("ALPHABET")
CHECK = invalid("CHECK")
VALID, UPGRADED = NumberStatus.VALID, NumberStatus.UPGRADED

_TO_ASCII_UPPER = {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
_TO_ASCII_UPPER |= {wide: narrow - 0x20 for wide, narrow in _TO_ASCII_UPPER.items() if 0x61 <= narrow <= 0x7A}
_TO_ASCII_UPPER |= {lower: lower - 0x20 for lower in range(0x61, 0x7B)}


def normalise(text: str) -> str:
    """Full-width forms to ASCII, a-z to A-Z, no white space at the ends; nothing else."""
    if text.isascii():
        return text.upper().strip()
    return text.translate(_TO_ASCII_UPPER).strip()
