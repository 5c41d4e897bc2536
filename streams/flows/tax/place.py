"""Place: which office is in charge (主管税务机关) of a region on the date of a cause event (HANDBOOK F4).

The table is dated, since districts merge and offices with them. An office that is gone by the time the warning fires has
nobody to read it: then its region's successor counts, and where even that has no office, the city's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from schemas.dated.calendar import day_at
from schemas.dated.configuration import Dated, dated
from streams.flows.regions import city_regions
from streams.flows.tax.rules import Rule, settings_at
from streams.operators.flow import Fact

Stay = Sequence[int | str]
"""From when (microseconds) an entity was registered in a region, and its code."""


@dataclass(frozen=True, slots=True)
class Office:
    """An office of a tax authority."""

    code: str
    name: str


@cache
def _authorities() -> Dated:
    return dated(Path(__file__).parent / "authorities.csv", key=["owner", "region"])


def office_of(rule: Rule, region: str | None, at: int, now: int) -> Office | None:
    """The rule owner's office for a region as of the cause event, able to receive at `now`; None if the table has none."""
    found = region and _authorities().find(at, rule.owner, region)
    if found and _is_there(rule, found["authority"], region or "", now):
        return Office(found["authority"], found["name"])
    here = region and city_regions().translate(region, day_at(at), day_at(max(at, now)))
    for code in (here, settings_at(now).fallback_region):
        present = code and _authorities().find(max(at, now), rule.owner, code)
        if present:
            return Office(present["authority"], present["name"])
    return None


def _is_there(rule: Rule, authority: str, region: str, now: int) -> bool:
    present = _authorities().find(now, rule.owner, region)
    return present is not None and present["authority"] == authority


def stays(fact: Fact, column: str) -> list[Stay]:
    """Where an entity was registered over time, oldest first, from the versions of its row that are known."""
    found: list[Stay] = []
    for version in sorted((*fact.earlier, fact), key=lambda version: (version.event_at, version.position)):
        if version.row is not None and (not found or found[-1][1] != version.row[column]):
            found.append([version.event_at, version.row[column]])
    return found


def region_at(found: Iterable[Stay], moment: int) -> str | None:
    """The region at a moment; before the first known version, that one's."""
    region: str | None = None
    for begins, code in found:
        if region is not None and int(begins) > moment:
            break
        region = str(code)
    return region
