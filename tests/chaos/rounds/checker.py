"""The checker of the rounds: what a feed says against its table, and what a subscriber holds against the feed, each fault by name.

Pure, and without a line of the mesh's own: it knows positions as texts that are ordered, rows as values, and nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tests.chaos.rounds.columns import Key, Row

SKIPPED = "skipped: the row is not there"
DOUBLED = "doubled: the row is there more than once"
RESURRECTED = "resurrected: the row was deleted"
TRUNCATE_IGNORED = "a truncate was ignored: the row was there before it"
INVENTED = "invented: no change ever brought this key"
LATE_WON = "a late version won: an earlier version of the row stands"
OF_ANOTHER_KEY = "of another key: the values are another row's"
NULL_FOR_VALUE = "NULL stands for a value"
VALUE_FOR_NULL = "a value stands for NULL"
SWAPPED = "columns are swapped"
CHANGED = "changed: a value is another one"
TWO_AT_ONE_POSITION = "two changes of a key have one position"


class Violation(NamedTuple):
    """What is wrong, with which row, in which columns."""

    what: str
    key: Key
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Told:
    """One change of a feed. `key` is empty for a truncate, `after` None for a delete; positions are compared as texts."""

    key: Key
    position: str
    after: Row | None
    is_copy: bool = False
    """A row as it was read, not a change of the log: read again it may well be another."""


class Past:
    """Everything that a feed said, and what its rows are when it is folded by key."""

    def __init__(self) -> None:
        self._versions: dict[Key, dict[str, Row | None]] = {}
        self._copied: set[tuple[Key, str]] = set()
        self._truncated: dict[str, None] = {}
        self.faults: list[Violation] = []

    def take(self, changes: Iterable[Told]) -> None:
        for change in changes:
            if not change.key:
                self._truncated[change.position] = None
                continue
            versions = self._versions.setdefault(change.key, {})
            place = change.key, change.position
            is_copy = change.is_copy or place in self._copied
            if is_copy:
                self._copied.add(place)
            if not is_copy and versions.get(change.position, change.after) != change.after:
                self.faults.append(Violation(TWO_AT_ONE_POSITION, change.key))
            versions[change.position] = change.after

    def rows(self) -> dict[Key, Row]:
        """The newest version of each row that stands."""
        emptied = max(self._truncated, default="")
        newest = {key: max(versions) for key, versions in self._versions.items()}
        found = {key: self._versions[key][at] for key, at in newest.items() if at > emptied}
        return {key: row for key, row in found.items() if row is not None}

    def knows(self, key: Key) -> bool:
        return key in self._versions

    def has_been(self, key: Key, row: Row) -> bool:
        """Whether some version of this row, before its newest, was this."""
        versions = self._versions.get(key, {})
        newest = max(versions, default="")
        return any(version == row for at, version in versions.items() if at != newest)

    def was_emptied(self, key: Key) -> bool:
        """Whether it was a truncate that took the newest version of this row."""
        versions = self._versions.get(key, {})
        newest = max(versions, default="")
        return versions.get(newest) is not None and max(self._truncated, default="") >= newest


def compare(right: Mapping[Key, Row], held: Sequence[tuple[Key, Row]], past: Past) -> list[Violation]:
    """How what is held differs from what is right; `past` tells what a wrong row may once have been."""
    found: list[Violation] = []
    counts = Counter(key for key, _ in held)
    found += [Violation(SKIPPED, key) for key in right.keys() - counts.keys()]
    found += [Violation(DOUBLED, key) for key, count in counts.items() if count > 1]
    for key, row in dict(held).items():
        if key not in right:
            found.append(Violation(_why_surplus(key, past), key))
        elif row != right[key]:
            found.append(_why_different(key, row, right, past))
    return found


def _why_surplus(key: Key, past: Past) -> str:
    if not past.knows(key):
        return INVENTED
    return TRUNCATE_IGNORED if past.was_emptied(key) else RESURRECTED


def _why_different(key: Key, row: Row, right: Mapping[Key, Row], past: Past) -> Violation:
    wanted = right[key]
    columns = tuple(name for name in wanted if row.get(name) != wanted[name])
    there, wished = [row.get(name) for name in columns], [wanted[name] for name in columns]
    if len(columns) == 2 and there == wished[::-1]:
        return Violation(SWAPPED, key, columns)
    if past.has_been(key, row):
        return Violation(LATE_WON, key, columns)
    if not any(value is not None for value in there):
        return Violation(NULL_FOR_VALUE, key, columns)
    if not any(value is not None for value in wished):
        return Violation(VALUE_FOR_NULL, key, columns)
    is_others = any(
        other != key and all(each.get(name) == value for name, value in row.items() if name not in _names(key, row))
        for other, each in right.items()
    )
    return Violation(OF_ANOTHER_KEY if is_others else CHANGED, key, columns)


def _names(key: Key, row: Row) -> set[str]:
    """The columns of the key, which stand in the row as well."""
    return set(list(row)[: len(key)])
