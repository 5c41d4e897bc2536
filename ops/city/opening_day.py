"""Opening day: the population as it stands in the departments' tables when the demo begins, made and loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import psycopg
from psycopg import sql

from ops.city import quota
from ops.city.city import City, address
from ops.city.firms import certificates, credit, firms, papers, registration, taxes
from ops.city.people import assets, homes, household, livelihood, people, welfare
from ops.proof.ddl import create_table, table_of
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
        with psycopg.connect(address(dsn_of_agency, agency), autocommit=True) as connection:
            for contract in city.contracts.values():
                if contract.agency == agency:
                    for statement in create_table(contract):
                        connection.execute(statement)


def fill(city: City, dsn_of_agency: Mapping[str, str], progress: Progress | None = None) -> dict[str, int]:
    """Load the population by COPY, a transaction per department; rows loaded per feed."""
    settle(city)
    total = sum(map(len, city.rolls.values()))
    loaded: dict[str, int] = {}
    done = 0
    for agency in city.agencies:
        with psycopg.connect(address(dsn_of_agency, agency)) as connection:
            for feed, contract in city.contracts.items():
                if contract.agency != agency:
                    continue
                _copy(city, connection, contract)
                loaded[feed] = len(city.rolls[feed])
                done += loaded[feed]
                if progress:
                    progress(feed, done, total)
    return loaded


def _copy(city: City, connection: psycopg.Connection[Any], contract: Contract) -> None:
    columns = sql.SQL(", ").join(sql.Identifier(field.column) for field in contract.fields)
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(table_of(contract), columns)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in city.rolls[contract.feed]:
            copy.write_row(tuple(row.values()))
