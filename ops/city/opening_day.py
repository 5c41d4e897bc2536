"""Opening day: the population as it stands in the departments' tables when the demo begins, made and loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from ops.city import quota
from ops.city.city import City, address
from ops.city.department.opened import department_at
from ops.city.firms import certificates, credit, firms, papers, registration, taxes
from ops.city.people import assets, homes, household, livelihood, people, welfare
from ops.city.people.roll import Row
from schemas.contract import Contract

Progress = Callable[[str, int, int], None]
"""Called with feed, rows loaded so far and rows in all."""


def settle(city: City) -> None:
    """Make the population, once; in about two seconds at a scale of 1/1000."""
    if city.is_settled:
        return
    city.is_settled = True
    people.settle(city)
    firms.found(city)
    livelihood.work_and_study(city)
    welfare.provide(city)
    assets.own(city)
    firms.file_taxes(city)
    papers.issue(city)
    taxes.levy(city)
    registration.claim(city)
    credit.keep(city)
    household.check(city)
    homes.apply(city)
    certificates.issue(city)
    quota.apply(city)


def create(city: City, dsn_of_agency: Mapping[str, str]) -> None:
    """Make every department's tables in its own, empty database."""
    for agency in city.agencies:
        department_at(address(dsn_of_agency, agency)).create(city.of_agency(agency))


def fill(city: City, dsn_of_agency: Mapping[str, str], progress: Progress | None = None) -> dict[str, int]:
    """Load the population, a transaction per department; rows loaded per feed."""
    settle(city)
    total = sum(map(len, city.rolls.values()))
    loaded: dict[str, int] = {}

    def tables(agency: str) -> Iterator[tuple[Contract, Iterable[Row]]]:
        for contract in city.of_agency(agency):
            yield contract, city.rolls[contract.feed]
            loaded[contract.feed] = len(city.rolls[contract.feed])
            if progress:
                progress(contract.feed, sum(loaded.values()), total)

    for agency in city.agencies:
        department_at(address(dsn_of_agency, agency)).fill(tables(agency))
    return loaded
