"""Scene: what an event of the living city acts on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Any

from ops.city.chance import OPENED_AT, OPENING
from ops.city.city import City
from ops.city.department.change import RowChange
from ops.city.people.roll import Row

CHANGES_A_DAY = 4000
"""Row changes after which the city's own calendar shows the next day."""

_A_CHANGE = timedelta(days=1) / CHANGES_A_DAY


class Scene:
    """What an event acts on: it changes the city's memory and says the same to the departments.

    Everything one event does at one department is one transaction there.
    """

    def __init__(self, city: City) -> None:
        self.city = city
        self.rng = city.rng
        self._open: dict[str, list[RowChange]] = defaultdict(list)
        self._agencies = {feed: contract.agency for feed, contract in city.contracts.items()}
        self.memory = city.memory

    @property
    def changes(self) -> int:
        """Row changes since the opening day, also those of an earlier scene of this city."""
        return self.city.changes

    @property
    def today(self) -> date:
        """The city's own date: it follows what has happened, not the clock."""
        return OPENING + timedelta(days=1 + self.changes // CHANGES_A_DAY)

    @property
    def now(self) -> datetime:
        """The city's own time: what happens is dated by it, and so is what the departments write down about it."""
        return OPENED_AT + self.changes * _A_CHANGE

    def pick(self, feed: str) -> Row | None:
        """A row at random."""
        return self.city.rolls[feed].pick(self.rng)

    def insert(self, feed: str, columns: Mapping[str, Any]) -> Row:
        """A new row."""
        row = self.city.new_row(feed, columns, self.now)
        self.city.rolls[feed].add(row)
        self._say(RowChange(feed, "c", (), tuple(row.values()), ()))
        return row

    def update(self, feed: str, row: Row, **changes: Any) -> None:
        """Change a row; a change of its key keeps the row and changes its identity."""
        roll = self.city.rolls[feed]
        key = roll.key_of(row)
        row.update(changes)
        row["updated_at"] = changes["updated_at"] = self.now
        row["source_row_version"] += 1
        if roll.key_of(row) != key:
            roll.move(key, row)
        self._say(RowChange(feed, "u", tuple(changes), tuple(changes.values()), key))

    def delete(self, feed: str, row: Row) -> None:
        """Delete a row: gone from the source, which is not the same as cancelled (注销)."""
        roll = self.city.rolls[feed]
        roll.remove(row)
        self._say(RowChange(feed, "d", (), (), roll.key_of(row)))

    def _say(self, change: RowChange) -> None:
        self._open[self._agencies[change.feed]].append(change)
        self.city.changes += 1

    def transactions(self) -> Iterator[tuple[str, list[RowChange]]]:
        """What has been said since the last call: at most one transaction per department."""
        said, self._open = self._open, defaultdict(list)
        yield from said.items()
