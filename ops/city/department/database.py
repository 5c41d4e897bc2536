"""A department's database, as far as the city uses it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, MutableMapping, Sequence
from typing import Protocol

from ops.city.department.change import RowChange
from ops.city.people.roll import Row
from schemas.contract import Contract

AGAIN_SECONDS = 1.0
"""Before a database that could not be reached is tried again."""
CONNECT_WITHIN_SECONDS = 3
AWAY = "its database cannot be reached"


class Writer(Protocol):
    """Writes a department's transactions, for as long as the city lives.

    A city outlives its databases' bad days. What a database refuses, since somebody renamed a table or added a rule, is rolled
    back and left out, and so is what falls into the time in which it cannot be reached.
    """

    def send(self, transaction: Sequence[RowChange], /) -> None:
        """Write one transaction: all of it is committed or nothing. It may be on its way yet when this returns."""
        ...

    def answers(self) -> Counter[tuple[str, str]]:
        """Wait until everything sent is committed; rows changed per feed and op since the last call."""
        ...

    def close(self) -> None:
        """Let the connection go; what was not answered may or may not be committed."""
        ...


class DepartmentDatabase(Protocol):
    """One database at its address. Raises what its driver raises."""

    def create(self, contracts: Iterable[Contract], /) -> None:
        """Make the tables of these contracts, which are not there yet."""
        ...

    def fill(self, tables: Iterable[tuple[Contract, Iterable[Row]]], /) -> None:
        """Load rows into these tables, in one transaction; each contract is asked for once the one before it is loaded."""
        ...

    def writer(self, agency: str, contracts: Iterable[Contract], hindered: MutableMapping[str, str], /) -> Writer:
        """What writes there. `hindered` is told by feed what cannot be written now and why; by agency, where its database is away."""
        ...
