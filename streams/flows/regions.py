"""Regions over time (行政区划, GB/T 2260): which codes there were on a day, and what became of them (HANDBOOK §2.7).

Days are raw Avro dates. A code may have several versions, one after the other: each change of a boundary ends one and begins
the next, with the same code or another. A code that was abolished stays readable for ever, as in an ID number's prefix.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from schemas.dated.calendar import day_number
from schemas.errors import Misconfigured

_FILE = Path(__file__).parent / "regions.csv"


@dataclass(frozen=True, slots=True)
class Region:
    """One version of a region: valid from `valid_from` until before `valid_to` (None: still); then `successors` follow."""

    code: str
    name: str
    parent: str
    valid_from: int
    valid_to: int | None
    successors: tuple[str, ...]

    def is_valid_on(self, day: int) -> bool:
        """Whether this version was in force on a day."""
        return self.valid_from <= day and (self.valid_to is None or day < self.valid_to)


class Regions:
    """A table of regions. Raises Misconfigured where versions overlap or a successor is not there when it is needed."""

    def __init__(self, regions: Iterable[Region]) -> None:
        self._versions: dict[str, list[Region]] = {}
        for region in sorted(regions, key=lambda region: (region.code, region.valid_from)):
            versions = self._versions.setdefault(region.code, [])
            if versions and (versions[-1].valid_to is None or versions[-1].valid_to > region.valid_from):
                fix = "end the earlier version (valid_to) no later than the next begins"
                raise Misconfigured(f"region {region.code}", "two versions are valid at once", fix=fix)
            versions.append(region)
        everything = [region for versions in self._versions.values() for region in versions]
        for region in everything:
            for successor in region.successors:
                if region.valid_to is None or self.find(successor, region.valid_to) is None:
                    fix = f"give {region.code} a valid_to, and {successor} a version that is in force then"
                    raise Misconfigured(f"region {region.code}", "its successor does not follow it", fix=fix)
        first = min((region.valid_from for region in everything), default=0)
        moments = {region.valid_from for region in everything} | {region.valid_to for region in everything}
        self.changes: tuple[int, ...] = tuple(sorted(day for day in moments if day is not None and day > first))
        """The days from which boundaries were different."""
        self.codes: frozenset[str] = frozenset(self._versions)
        """Every code there ever was: what the prefix of a number may be."""

    @classmethod
    def read(cls, *paths: Path) -> Regions:
        """Regions from CSV files of code, valid_from, name, parent, valid_to, successors (parted by bars)."""
        found: list[Region] = []
        for path in paths:
            with path.open(encoding="utf-8", newline="") as lines:
                for number, line in enumerate(csv.DictReader(lines), start=2):
                    try:
                        ends = day_number(line["valid_to"]) if line["valid_to"] else None
                        begins = day_number(line["valid_from"])
                        successors = tuple(code for code in line["successors"].split("|") if code)
                    except (KeyError, TypeError, ValueError, AttributeError) as error:
                        fix = "write code,valid_from,name,parent,valid_to,successors with ISO dates"
                        raise Misconfigured(f"{path.name}:{number}", "not a line of a region table", fix=fix) from error
                    found.append(Region(line["code"], line["name"], line["parent"], begins, ends, successors))
        return cls(found)

    def find(self, code: str, day: int) -> Region | None:
        """The region as it was on a day; None if there was none with this code."""
        return next((region for region in self._versions.get(code, ()) if region.is_valid_on(day)), None)

    def is_valid(self, code: str, day: int) -> bool:
        """Whether a code was in force on a day. A registration dated later with an abolished one is an error."""
        return self.find(code, day) is not None

    def next_change(self, day: int) -> int | None:
        """The first day after this one from which boundaries will be different."""
        return next((change for change in self.changes if change > day), None)

    def current_since(self, day: int) -> int | None:
        """Since when the boundaries of a day are as they are; None before any change."""
        return next((change for change in reversed(self.changes) if change <= day), None)

    def translate(self, code: str, as_of: int, on: int) -> str | None:
        """The code, on another day, of what `code` named as of a day; None if it is not one code, or nobody's.

        Forwards along successors, backwards where there was one predecessor only. A code that was abolished before `as_of`
        is read as it last was, one that did not exist yet as it first was.
        """
        region = self._read_as_of(code, as_of)
        while region is not None and region.valid_to is not None and region.valid_to <= on:
            region = self.find(region.successors[0], region.valid_to) if len(region.successors) == 1 else None
        while region is not None and region.valid_from > on:
            before = self._predecessors(region)
            if not before and region is self._versions[region.code][0]:
                break  # the table begins with it
            region = before[0] if len(before) == 1 else None
        return region.code if region is not None else None

    def _read_as_of(self, code: str, day: int) -> Region | None:
        versions = self._versions.get(code)
        if not versions:
            return None
        begun = [region for region in versions if region.valid_from <= day]
        return begun[-1] if begun else versions[0]

    def _predecessors(self, region: Region) -> list[Region]:
        return [
            other
            for versions in self._versions.values()
            for other in versions
            if other.valid_to == region.valid_from and region.code in other.successors
        ]


@cache
def city_regions() -> Regions:
    """The regions of the city and its province."""
    return Regions.read(_FILE)
