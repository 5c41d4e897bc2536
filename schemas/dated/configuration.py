"""Configuration with a beginning and an end: the pack of the event's date decides, not the newest one (HANDBOOK §6.4).

A YAML file is a list of mappings, a CSV file has a header line; both carry `valid_from` and `valid_to`. A date means midnight
in Asia/Shanghai; the end is exclusive, as in a grant, and an empty one is open. Without a beginning an entry was always valid.

    - valid_from: 2011-07-01                      packs = dated(HERE / "cycle.yaml")
      valid_to: 2012-07-01                        packs.at(micros)["quota_per_year"]
      quota_per_year: 120000
    - valid_from: 2012-07-01                      owners = dated(HERE / "items.csv", key=["item_code"])
      quota_per_year: 130000                      owners.at(micros, "F01")["agency"]; owners.all_at(micros)

Amounts in YAML are written as text ("0.05"), never as floating-point numbers.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml

from schemas.errors import Misconfigured

SHANGHAI = timezone(timedelta(hours=8), "Asia/Shanghai")
DAY_MICROS = 86_400_000_000
_SHANGHAI_MICROS = 8 * 3_600_000_000
_EPOCH = date(1970, 1, 1)

T = TypeVar("T")


def midnight(day: date | int) -> int:
    """The first moment of a day in Asia/Shanghai, microseconds UTC; a day may be an Avro date (days since 1970)."""
    number = day if isinstance(day, int) else (day - _EPOCH).days
    return number * DAY_MICROS - _SHANGHAI_MICROS


def day_of(moment: int) -> date:
    """The calendar day in Asia/Shanghai at a moment, microseconds UTC."""
    return date.fromordinal(_EPOCH.toordinal() + (moment + _SHANGHAI_MICROS) // DAY_MICROS)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: valid from `valid_from` until before `valid_to` (microseconds; None is open)."""

    valid_from: int | None
    valid_to: int | None
    values: Mapping[str, Any]

    def is_valid_at(self, moment: int) -> bool:
        """Whether the entry is in force at this moment."""
        return (self.valid_from is None or self.valid_from <= moment) and (
            self.valid_to is None or moment < self.valid_to
        )


class Dated:
    """Entries of one file. Under one key at most one is in force at any moment; without key columns, one in all."""

    def __init__(self, name: str, entries: Iterable[Entry], key: Sequence[str] = ()) -> None:
        self.name = name
        self.entries = tuple(sorted(entries, key=_order))
        self._by_key: dict[tuple[Any, ...], list[Entry]] = {}
        for entry in self.entries:
            missing = [column for column in key if column not in entry.values]
            if missing:
                raise Misconfigured(name, f"an entry has no {missing[0]}", fix=f"give every entry a {missing[0]}")
            known = self._by_key.setdefault(tuple(entry.values[column] for column in key), [])
            if known and (known[-1].valid_to is None or known[-1].valid_to > _order(entry)):
                fix = "end the earlier entry (valid_to) no later than the next begins; the end is exclusive"
                raise Misconfigured(name, f"two entries{_of(key, entry)} are valid at once", fix=fix)
            known.append(entry)

    def find(self, moment: int, *key: Any) -> Mapping[str, Any] | None:
        """The values in force under a key at a moment, if there are any."""
        for entry in self._by_key.get(key, ()):
            if entry.is_valid_at(moment):
                return entry.values
        return None

    def at(self, moment: int, *key: Any) -> Mapping[str, Any]:
        """The values in force under a key at a moment. Raises Misconfigured if there are none."""
        values = self.find(moment, *key)
        if values is None:
            fix = "add an entry for that time, or let the nearest one begin earlier or end later"
            raise Misconfigured(self.name, f"nothing is valid on {day_of(moment)}", fix=fix)
        return values

    def all_at(self, moment: int) -> list[Mapping[str, Any]]:
        """All that is in force at a moment, under any key, in order of beginning, then of the file."""
        return [entry.values for entry in self.entries if entry.is_valid_at(moment)]


class Packs(Generic[T]):
    """Dated entries, one in force at a time, each read once into what a flow works with."""

    def __init__(self, entries: Dated, read: Callable[[Mapping[str, Any]], T]) -> None:
        self._dated = entries
        self._read = {id(entry.values): read(entry.values) for entry in entries.entries}

    def __iter__(self) -> Iterator[T]:
        """In the order of their beginnings."""
        return iter(self._read.values())

    def find(self, moment: int) -> T | None:
        """What is in force at a moment, if anything is."""
        values = self._dated.find(moment)
        return None if values is None else self._read[id(values)]

    def at(self, moment: int) -> T:
        """What is in force at a moment. Raises Misconfigured if nothing is."""
        return self._read[id(self._dated.at(moment))]


def dated(path: Path, key: Sequence[str] = ()) -> Dated:
    """Read a YAML or CSV file of dated entries; `key` names the columns under which one entry is in force at a time.

    Raises Misconfigured for a file that is missing, is not such a list, or whose entries overlap.
    """
    name = f"configuration {path.parent.name}/{path.name}"
    try:
        text = path.read_text(encoding="utf-8")
        rows = list(csv.DictReader(text.splitlines())) if path.suffix == ".csv" else yaml.safe_load(text)
    except OSError as error:
        raise Misconfigured(name, "cannot be read", fix=f"put the file there and make it readable ({error})") from error
    except yaml.YAMLError as error:
        raise Misconfigured(name, "is not YAML", fix=" ".join(str(error).split())) from error
    if not isinstance(rows, list) or not rows or not all(isinstance(row, Mapping) for row in rows):
        raise Misconfigured(name, "is not a list of entries", fix="write a list of mappings, each with valid_from")
    return Dated(name, [_entry(name, row) for row in rows], key)


def _entry(name: str, row: Mapping[str, Any]) -> Entry:
    begins, ends = (_moment(name, column, row.get(column)) for column in ("valid_from", "valid_to"))
    if begins is not None and ends is not None and begins >= ends:
        raise Misconfigured(
            name, "an entry ends before it begins", fix="set valid_to after valid_from, or leave it out"
        )
    values = {column: value for column, value in row.items() if column not in {"valid_from", "valid_to"}}
    return Entry(begins, ends, values)


def _moment(name: str, column: str, value: Any) -> int | None:
    try:
        match value:
            case None | "":
                return None
            case datetime() if value.tzinfo is not None:
                return round(value.timestamp() * 1_000_000)
            case date() if not isinstance(value, datetime):
                return midnight(value)
            case str() if len(value) == len("2016-10-31"):
                return midnight(date.fromisoformat(value))
            case str() if (moment := datetime.fromisoformat(value)).tzinfo is not None:
                return round(moment.timestamp() * 1_000_000)
            case _:
                raise ValueError(value)
    except ValueError as error:
        fix = f"write {column} as 2016-10-31, or with a time and its offset: 2016-10-31T12:00:00+08:00"
        raise Misconfigured(name, f"a {column} is neither a date nor a time with its zone", fix=fix) from error


def _order(entry: Entry) -> float:
    return float("-inf") if entry.valid_from is None else entry.valid_from


def _of(key: Sequence[str], entry: Entry) -> str:
    return f" of {', '.join(str(entry.values[column]) for column in key)}" if key else ""
