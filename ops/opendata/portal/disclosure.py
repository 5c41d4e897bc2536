"""Disclosure (公示与核验): what all open sets say of one business, and whether a licence of a number is among those published.

Both look in published rows alone. Certificates of persons (电子证照) are not open, and are found by nobody here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from ops.opendata.answers import Answers
from ops.opendata.condition import Condition, How
from ops.opendata.listing import columns_of, moment
from streams.flows.opendata.catalogue import DATASETS, Dataset

NAME_LEAST = 2
FOUND_MAX = 20
_SUBJECT = {"credit_record": "subject_id"}
"""Columns that hold a USCC of whoever a row is about, where the catalogue joins the set by no element."""
_NUMBERS = ("licence_no", "permit_no")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Rows of one set, with its columns; `is_cut`: there are more."""

    dataset: str
    title: str
    agency: str
    last_change: str | None
    columns: Sequence[Mapping[str, Any]]
    rows: Sequence[Mapping[str, Any]]
    is_cut: bool


def named(answers: Answers, name: str) -> list[Told]:
    """Businesses whose name has a text in it, by the registers that hold name and USCC."""
    registers = [each for each in DATASETS.values() if {"name", "uscc"} <= each.table.columns.keys()]
    return _found(answers, [(each, Condition("name", name, How.HAS)) for each in registers])


def of_business(answers: Answers, uscc: str) -> list[Told]:
    """All that open sets say of a USCC (统一社会信用代码)."""
    asked: list[tuple[Dataset, Condition]] = []
    for each in DATASETS.values():
        columns = [column for column, element in each.elements.items() if element == "uscc"]
        columns += [_SUBJECT[each.dataset]] if each.dataset in _SUBJECT else []
        asked += [(each, Condition(column, uscc)) for column in columns]
    return _found(answers, asked)


def of_licence(answers: Answers, number: str) -> list[Told]:
    """Licences and permits of a number, whoever issued them."""
    asked = [
        (each, Condition(column, number))
        for each in DATASETS.values()
        for column in _NUMBERS
        if column in each.table.columns
    ]
    return _found(answers, asked)


def is_over(row: Mapping[str, Any], today: date) -> bool:
    """Whether a licence's term has ended, whatever its register says of it: judged when it is asked."""
    until = row.get("valid_to")
    return isinstance(until, str) and until < today.isoformat()


def _found(answers: Answers, asked: Sequence[tuple[Dataset, Condition]]) -> list[Told]:
    states = answers.states()
    found: list[Told] = []
    for each, condition in asked:
        rows = answers.with_condition(each, condition, FOUND_MAX + 1)
        if rows:
            told = Told(
                dataset=each.dataset,
                title=each.title,
                agency=each.agency,
                last_change=moment(states.get(each.dataset)),
                columns=columns_of(each, answers.fields(each)),
                rows=rows[:FOUND_MAX],
                is_cut=len(rows) > FOUND_MAX,
            )
            found.append(told)
    return found
