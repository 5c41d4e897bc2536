"""Roll: the rows of one table as the city remembers them, for picking at random and for change by key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

Row = dict[str, Any]
"""Column to value: text, int, bool, date, datetime, list of text; decimals, JSON and UUIDs as their text; bytes."""


class Roll:
    """Rows by key, in no particular order. Adding and removing cost the same at any size."""

    def __init__(self, key: Sequence[str]) -> None:
        self._key = tuple(key)
        self._rows: list[Row] = []
        self._places: dict[tuple[Any, ...], int] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def __contains__(self, key: tuple[Any, ...]) -> bool:
        return key in self._places

    def key_of(self, row: Row) -> tuple[Any, ...]:
        """The row's key values, in key order."""
        return tuple(row[name] for name in self._key)

    def get(self, *key: Any) -> Row | None:
        """The row with these key values."""
        place = self._places.get(key)
        return None if place is None else self._rows[place]

    def add(self, row: Row) -> None:
        """Take a new row in. Raises KeyError for a key that is taken."""
        key = self.key_of(row)
        if key in self._places:
            raise KeyError("the key is taken")
        self._places[key] = len(self._rows)
        self._rows.append(row)

    def move(self, old_key: tuple[Any, ...], row: Row) -> None:
        """Note that the row's key has changed from `old_key`."""
        self._places[self.key_of(row)] = self._places.pop(old_key)

    def remove(self, row: Row) -> None:
        """Let the row go."""
        place = self._places.pop(self.key_of(row))
        last = self._rows.pop()
        if place < len(self._rows):
            self._rows[place] = last
            self._places[self.key_of(last)] = place

    def pick(self, rng: Random) -> Row | None:
        """A row at random; None if there is none."""
        return self._rows[int(rng.random() * len(self._rows))] if self._rows else None
