"""Condition: what a row must show of a column to be in an answer: a value itself, or one within bounds.

`?region=440106` asks for a value, `?decided_date.from=2016-10&decided_date.to=2016-12-24` and `?amount.from=100` for bounds, both
inclusive. A bound of a date may be a year or a month: all of it counts. Dates, amounts and numbers have an order, other columns none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from ops.opendata.refusal import Refusal
from schemas.contract import Field
from streams.flows.opendata.catalogue import Dataset, Part
from streams.operators.publish import Treatment


class How(StrEnum):
    """How a row's value is compared with the text; its word is that of a parameter."""

    IS = "is"
    FROM = "from"
    TO = "to"
    HAS = "has"  # for pages, which look for part of a name; no parameter of the API


class Order(StrEnum):
    """By what the values of a column are before and after each other."""

    DATE = "date"
    NUMBER = "number"


@dataclass(frozen=True, slots=True)
class Condition:
    """`text` "" with IS is null."""

    column: str
    text: str
    how: How = How.IS
    order: Order | None = None


_DATES = {Treatment.DAY, Treatment.MONTH, Treatment.YEAR}
_NUMBERS = {"int", "long", "float", "double"}
_DATE = re.compile(r"\d{4}(-\d\d(-\d\d)?)?", re.ASCII)
_NUMBER = re.compile(r"-?\d{1,15}(\.\d{1,6})?", re.ASCII)
_BOUNDS = (How.FROM, How.TO)


def orders(listed: Dataset | Part, fields: Mapping[str, Field]) -> Mapping[str, Order]:
    """The columns of a set that have an order; of those shown in full, those whose contract at hand says that they are numbers."""
    found: dict[str, Order] = {}
    for column, treatment in listed.whole.table.columns.items():
        if treatment in _DATES:
            found[column] = Order.DATE
        elif treatment is Treatment.AMOUNT or (
            treatment is Treatment.FULL and column in fields and _is_number(fields[column])
        ):
            found[column] = Order.NUMBER
    return found


def _is_number(field: Field) -> bool:
    return field.logical_type is None and all(
        isinstance(branch, str) and branch in _NUMBERS for branch in field.branches
    )


def parameters(ordered: Iterable[str]) -> list[str]:
    """The names of the parameters that bound columns."""
    return [f"{column}.{how}" for column in ordered for how in _BOUNDS]


def conditions(pairs: Iterable[tuple[str, str]], ordered: Mapping[str, Order]) -> list[Condition]:
    """What parameters ask for; their names are known to be columns or bounds. Raises Refusal for a bound that is none."""
    found: list[Condition] = []
    for name, text in pairs:
        column, _, word = name.partition(".")
        if not word:
            found.append(Condition(column, text))
            continue
        order = ordered[column]
        if not (_DATE if order is Order.DATE else _NUMBER).fullmatch(text):
            like = "2016, 2016-11 or 2016-11-30" if order is Order.DATE else "100 or 99.50"
            raise Refusal(400, f"{name} cannot be taken", why=f"it is a {order}", fix=f"write one like {like}")
        found.append(Condition(column, text, How(word), order))
    return found
