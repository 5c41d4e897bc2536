"""A department's database on MariaDB."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from contextlib import closing

from ops.city.department.mariadb.connection import connected
from ops.city.department.mariadb.ddl import create_table
from ops.city.department.mariadb.statement import insert, plain
from ops.city.department.mariadb.writer import MariaDbWriter
from ops.city.people.roll import Row
from schemas.contract import Contract


class MariaDbDepartment:
    """See DepartmentDatabase; its tables lie in the database that the address names, whichever its contracts name."""

    def __init__(self, address: str) -> None:
        self._address = address

    def create(self, contracts: Iterable[Contract], /) -> None:
        """See DepartmentDatabase."""
        with closing(connected(self._address)) as connection, connection.cursor() as cursor:
            for contract in contracts:
                cursor.execute(create_table(contract))

    def fill(self, tables: Iterable[tuple[Contract, Iterable[Row]]], /) -> None:
        """See DepartmentDatabase."""
        with closing(connected(self._address)) as connection, connection.cursor() as cursor:
            for contract, rows in tables:
                # The driver makes few statements of many rows of this.
                cursor.executemany(insert(contract), [[plain(value) for value in row.values()] for row in rows])
            connection.commit()

    def writer(
        self, agency: str, contracts: Iterable[Contract], hindered: MutableMapping[str, str], /
    ) -> MariaDbWriter:
        """See DepartmentDatabase."""
        return MariaDbWriter(agency, self._address, contracts, hindered)
