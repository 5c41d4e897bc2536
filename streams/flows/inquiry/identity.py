"""Identity: which person a register's row is about, and how sure that is (matching ladder for persons, HANDBOOK §2.5).

A row with a valid identity number (公民身份号码) goes to that person; one without goes to everybody of its name, where it is
at best a candidate. Tiers P0 to P2 are evidence; P3 is a conflict; P4 to P6 only ever ask for a person's eye.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from schemas.expression.identifiers import (
    NumberStatus,
    normalise,
    validate_citizen_id,
    validate_org_code,
    validate_uscc,
)
from streams.operators.flow import RejectedRow, Row
from streams.operators.name import comparable, is_alias

CERTAIN = frozenset({"P0", "P1", "P2"})
_EPOCH = date(1970, 1, 1).toordinal()
_TAX_ID_LENGTH = 18


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a household who can be asked about. `citizen_id` is canonical."""

    citizen_id: str
    name: str


@dataclass(frozen=True, slots=True)
class Holder:
    """Where a row names a person: the column of the number, that of the name, and whether it is a tax number."""

    column: str
    name: str = ""
    is_tax_number: bool = False

    @classmethod
    def read(cls, text: str) -> Holder:
        """`column`, `column:name column` or `column@tax`."""
        if text.endswith("@tax"):
            return cls(text.removesuffix("@tax"), is_tax_number=True)
        column, _, name = text.partition(":")
        return cls(column, name)

    def number(self, row: Row) -> str:
        """The number as the row has it. A sole trader's tax number begins with the owner's identity number."""
        text = row[self.column] or ""
        return text[:_TAX_ID_LENGTH] if self.is_tax_number else text


def canonical(text: str | None) -> str | None:
    """The 18-character identity number, if the text is one for certain."""
    return validate_citizen_id(text).normalised if text else None


def household_of(named: Iterable[tuple[str | None, str | None]]) -> tuple[list[Member], int]:
    """The members with a certain identity number, by number, and how many have none; given numbers and names as written."""
    found: dict[str, Member] = {}
    unidentified = 0
    for number, name in named:
        citizen_id = canonical(number)
        if citizen_id is None:
            unidentified += 1
        else:
            found[citizen_id] = Member(citizen_id, name or "")
    return [found[citizen_id] for citizen_id in sorted(found)], unidentified


def born(citizen_id: str) -> int:
    """The day of birth that a canonical number says, as an Avro date."""
    return date(int(citizen_id[6:10]), int(citizen_id[10:12]), int(citizen_id[12:14])).toordinal() - _EPOCH


def birthday(citizen_id: str, age: int) -> int:
    """The day on which somebody reaches an age, as an Avro date; who was born on 29 February does on 1 March."""
    year, month, day = int(citizen_id[6:10]) + age, int(citizen_id[10:12]), int(citizen_id[12:14])
    try:
        return date(year, month, day).toordinal() - _EPOCH
    except ValueError:
        return date(year, 3, 1).toordinal() - _EPOCH


def subjects_of(row: Row, holders: Sequence[Holder]) -> Iterable[str]:
    """The persons, or names, whom a row is about. Raises RejectedRow when it names nobody who could be found."""
    found: dict[str, None] = {}
    is_other = False
    for holder in holders:
        keys = list(_of(row, holder))
        found.update(dict.fromkeys(keys))
        is_other = is_other or (not keys and _is_no_person(holder, row))
    if not found and not is_other:
        raise RejectedRow("PERSON_NOT_IDENTIFIED", ", ".join(holder.column for holder in holders))
    return found


def _of(row: Row, holder: Holder) -> Iterable[str]:
    checked = validate_citizen_id(holder.number(row))
    if checked.normalised:
        yield f"person:{checked.normalised}"
    elif checked.status is NumberStatus.AMBIGUOUS_CENTURY:
        for candidate in checked.candidates:
            yield f"person:{candidate}"
    elif holder.name and checked.code != "ID_TYPE" and not _is_no_person(holder, row):
        name = comparable(row[holder.name] or "")
        if name:
            yield f"name:{name}"


def _is_no_person(holder: Holder, row: Row) -> bool:
    """An organisation's number, another kind of document, or the tax number of a company: nobody's fault."""
    text = normalise(row[holder.column] or "")
    if holder.is_tax_number:
        return bool(text)
    return (
        validate_citizen_id(text).code == "ID_TYPE" or validate_uscc(text).is_valid or validate_org_code(text).is_valid
    )


def tier(
    row: Row, holders: Iterable[Holder], citizen_id: str, names: Iterable[str], former: Iterable[str]
) -> str | None:
    """How surely a row that came under this number is about this person; None if it is not at all.

    `names` are the person's present names, `former` those of before. A row without a name column has nothing against it.
    """
    found: list[str] = []
    for holder in holders:
        checked = validate_citizen_id(holder.number(row))
        if checked.status is NumberStatus.AMBIGUOUS_CENTURY and citizen_id in checked.candidates:
            found.append("P5")
        elif checked.normalised == citizen_id:
            is_upgraded = checked.status is NumberStatus.UPGRADED
            found.append(_by_name(row[holder.name] if holder.name else None, names, former, is_upgraded=is_upgraded))
    return min(found, default=None)


def _by_name(says: str | None, names: Iterable[str], former: Iterable[str], *, is_upgraded: bool) -> str:
    if not says or comparable(says) in {comparable(name) for name in names}:
        return "P1" if is_upgraded else "P0"
    return "P2" if is_alias(says, (*names, *former)) else "P3"


def tier_by_name(row: Row, birth_column: str, citizen_id: str) -> str | None:
    """How surely a row without a number is about a person of its name: P5 by the day of birth, P6 without one."""
    birth = row[birth_column] if birth_column else None
    if birth is None:
        return "P6"
    return "P5" if birth == born(citizen_id) else None
