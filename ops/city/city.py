"""City: the departments' tables as rows in memory; what stands in them at first is told by opening_day.py."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import schemas
from ops.city.chance import BEIJING, OPENED_AT
from ops.city.numbers import Numbers
from ops.city.people.roll import Roll, Row
from ops.lint.folder import load
from schemas.contract import Contract
from schemas.errors import Misconfigured

GUANGZHOU = Path(schemas.__file__).parent / "guangzhou"
Progress = Callable[[str, int, int], None]
"""Called with feed, rows loaded so far and rows in all."""


def read_contracts(folder: Path = GUANGZHOU) -> dict[str, Contract]:
    """The contracts of the departments' tables by feed, in the order of their names."""
    return {contract.feed: contract for agency in load(folder).agencies for contract in agency.captured}


class City:
    """One city, made from a seed: the same seed and scale give the same rows, to the last character.

    `scale` is the share of the real figures: 1/1000 makes 17,080 citizens and 1,930 legal entities and other organisations.
    Not safe for several threads.
    """

    def __init__(self, seed: int, scale: float = 1 / 1000, folder: Path = GUANGZHOU) -> None:
        self.seed = seed
        self.scale = scale
        self.contracts = read_contracts(folder)
        self.rng = Random(seed)  # noqa: S311 - reproducible on purpose, guards nothing
        self.numbers = Numbers()
        self.rolls = {feed: Roll(contract.key) for feed, contract in self.contracts.items()}
        self.households: defaultdict[str, list[Row]] = defaultdict(list)  # residents by household number
        self.staff: defaultdict[str, list[tuple[str, Row]]] = defaultdict(list)  # ent_id to (ID at hrss, resident)
        self.memory: dict[str, Any] = {}  # what a kind of event keeps from one time to the next
        self.changes = 0  # row changes since the opening day
        self._blanks = {feed: dict.fromkeys(contract.by_name) for feed, contract in self.contracts.items()}
        self.is_settled = False
        """Whether the opening day has been (opening_day.settle)."""

    @property
    def agencies(self) -> tuple[str, ...]:
        """The departments' codes, in order."""
        return tuple(sorted({contract.agency for contract in self.contracts.values()}))

    def of_agency(self, agency: str) -> list[Contract]:
        """The contracts of a department's tables."""
        return [contract for contract in self.contracts.values() if contract.agency == agency]

    def count(self, real: float) -> int:
        """The demo's share of a real figure, at least one."""
        return max(1, round(real * self.scale))

    def put(self, feed: str, **columns: Any) -> Row:
        """Add a row as the opening day finds it; columns that are not given are null."""
        row = self.new_row(feed, columns)
        self.rolls[feed].add(row)
        return row

    def new_row(self, feed: str, columns: Mapping[str, Any], now: datetime | None = None) -> Row:
        """A row with every column of the contract, in its order. It is not added to the roll."""
        row = {**self._blanks[feed], **columns}
        row["updated_at"] = now or _written(row, OPENED_AT - timedelta(seconds=int(self.rng.random() * 86400 * 30)))
        row["source_row_version"] = 1
        return row


_MONTH = timedelta(days=30)


def _written(row: Row, random: datetime) -> datetime:
    """When the opening day's row was written: on the day that it tells of, or later in the month before the opening."""
    told = [moment for value in row.values() if isinstance(value, date) and (moment := _moment(value)) <= OPENED_AT]
    if not told or max(told) < OPENED_AT - _MONTH:
        return random
    return min(max(told) + (OPENED_AT - random) / _MONTH.days, OPENED_AT)


def _moment(value: date) -> datetime:
    """A date's first moment, or a time; without a zone it is Beijing's."""
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=BEIJING)
    return (value if value.tzinfo else value.replace(tzinfo=BEIJING)).astimezone(UTC)


def address(dsn_of_agency: Mapping[str, str], agency: str) -> str:
    """The department's database. Raises Misconfigured if none is given."""
    if agency not in dsn_of_agency:
        raise Misconfigured(f"agency {agency}", "has no database", fix=f"give the address of {agency}'s database")
    return dsn_of_agency[agency]
