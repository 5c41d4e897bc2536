"""Ratio: division that is rounded once, half up, to the digits that somebody quotes."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

_CENT = Decimal("0.01")


def quotient(numerator: Decimal | int, denominator: Decimal | int, like: Decimal) -> Decimal | None:
    """Numerator by denominator, with as many digits as `like` has; None over an empty base."""
    return (Decimal(numerator) / denominator).quantize(like, ROUND_HALF_UP) if denominator else None


def percent(numerator: int, denominator: int) -> Decimal | None:
    """A percentage of two decimals; None over an empty base."""
    return quotient(100 * numerator, denominator, _CENT)
