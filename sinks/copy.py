"""Copy: what a subscriber holds, read back from its own system, so that `mesh verify` can compare it with the source.

Each kind that can be read has a `copy.py` in its room, written from what a subscriber is told of the format: it shares no code
with what delivers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from schemas.agreement.grant import Grant, Mask
from schemas.contract import Contract, Field
from schemas.wire.name import column_name


@dataclass(frozen=True, slots=True)
class Held:
    """One row as it stands at a subscriber's, or one change of it: the contract's columns to values as the format gives them.

    `token` is empty where rows stand as they are. Of changes a greater one is newer, whatever the order of arrival;
    `unchanged` are columns whose value an earlier change has.
    """

    row: Mapping[str, Any]
    token: str = ""
    op: str = "r"
    unchanged: tuple[str, ...] = ()


class Copy(Protocol):
    """What a subscriber holds by one grant."""

    def held(self, grant: Grant, contract: Contract, /) -> Iterable[Held]:
        """Its rows, or all changes of them. Raises Misconfigured for a format that cannot be read, Transient."""
        ...

    def values_left(self, grant: Grant, contract: Contract, /) -> int:
        """How many values it holds that the grant does not allow; none where it is a history, not a state."""
        ...


def granted(grant: Grant, contract: Contract) -> list[Field]:
    """The columns that the subscriber gets, in contract order: the key, and what is granted and not dropped."""
    return [
        field
        for field in contract.fields
        if field.is_key or (field.name in grant.columns and grant.mask.get(field.name) is not Mask.DROP)
    ]


def by_wire(row: Mapping[str, Any], contract: Contract) -> Mapping[str, Any]:
    """A row as the contract calls its columns; a subscriber's are called as in the source."""
    names = {column_name(field.name): field.name for field in contract.fields}
    return {names.get(name, name): value for name, value in row.items()}
