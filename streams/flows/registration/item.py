"""Item: an entry of an entity's business scope (经营事项) and the seats of the entity: what is to be pushed, where and since when.

A seat is a district in which the entity was registered, for as long as it was. Moments are source commits: a department cannot
claim before the platform has told it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from schemas.dated.calendar import day_at
from streams.flows.regions import Regions
from streams.flows.registration.rules import Owner, Rules, owners, rules_at
from streams.operators.flow import Fact, Row, Subject

SCOPE = "aic.scope_item"


@dataclass(frozen=True, slots=True)
class Seat:
    """A district in which an entity was registered: since when, and until when if it moved on."""

    district: str
    since: int
    until: int | None


@dataclass(frozen=True, slots=True)
class Item:
    """A scope item: in the scope since `since`, until `until` if it was given up. `rules` are those of its first moment."""

    code: str
    permit_kind: str
    since: int
    until: int | None
    rules: Rules | None
    owners: tuple[Owner, ...]
    fact: Fact

    @property
    def is_pushed(self) -> bool:
        """Whether departments are told of it."""
        return self.rules is not None and self.permit_kind in self.rules.pushed_kinds


def items_of(subject: Subject) -> Iterator[Item]:
    """The scope items that are there or were, by code: each as it last was."""
    for _, fact in sorted(subject.facts.get(SCOPE, {}).items()):
        versions = [*fact.earlier, fact]
        until = None
        while versions and versions[-1].row is None:  # given up: its claims are history
            until = versions.pop().event_at
        if not versions:
            continue
        row = versions[-1].row or {}
        since = _in_scope_since(versions)
        yield Item(
            code=row["item_code"],
            permit_kind=row["permit_kind"],
            since=since,
            until=until,
            rules=rules_at(since),
            owners=tuple(owners(row["item_code"], row["permit_kind"], since)),
            fact=fact,
        )


def _in_scope_since(versions: list[Fact]) -> int:
    present = (versions[-1].row or {})["permit_kind"]
    return since_when(versions, lambda version: version.row is not None and version.row["permit_kind"] == present)


def since_when(versions: list[Fact], is_same: Callable[[Fact], bool]) -> int:
    """The event time of the first of the newest versions that are all the same."""
    since = versions[-1].event_at
    for version in reversed(versions):
        if not is_same(version):
            break
        since = version.event_at
    return since


def seats_of(fact: Fact, regions: Regions) -> list[Seat]:
    """Where an entity was registered, oldest first, in the boundaries of each time; unknown codes leave no seat."""
    seats: list[Seat] = []
    for version in (*fact.earlier, fact):
        if version.row is None:
            seats.clear()  # deleted and written anew: another registration
            continue
        district = _district(version.row, version.event_at, regions)
        if seats and seats[-1].until is None:
            if seats[-1].district == district:
                continue
            seats[-1] = Seat(seats[-1].district, seats[-1].since, version.event_at)
        if district is not None:
            seats.append(Seat(district, version.event_at, None))
    return seats


def region_trouble(row: Row, at: int, regions: Regions) -> str | None:
    """What is wrong with a registration's region: nobody's code, or one that was abolished before the entity was there."""
    code, as_of = row["reg_region"], _as_of(row, at)
    if code is None or code not in regions.codes or _district(row, at, regions) is None:
        return "REGION_UNKNOWN"
    is_abolished = not regions.is_valid(code, as_of) and not regions.is_valid(code, day_at(at))
    return "REGION_ABOLISHED" if is_abolished else None


def _district(row: Row, at: int, regions: Regions) -> str | None:
    return regions.translate(row["reg_region"] or "", _as_of(row, at), day_at(at))


def _as_of(row: Row, at: int) -> int:
    established = row["established"]
    return min(established, day_at(at)) if established is not None else day_at(at)
