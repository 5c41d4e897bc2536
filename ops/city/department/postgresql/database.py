"""A department's database on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping

import psycopg
from psycopg import sql

from ops.city.department.postgresql.pipeline import Pipeline
from ops.city.people.roll import Row
from ops.proof.ddl import create_table, table_of
from schemas.contract import Contract


class PostgresDepartment:
    """See DepartmentDatabase; it is filled by COPY."""

    def __init__(self, address: str) -> None:
        self._address = address

    def create(self, contracts: Iterable[Contract], /) -> None:
        """See DepartmentDatabase."""
        with psycopg.connect(self._address, autocommit=True) as connection:
            for contract in contracts:
                for statement in create_table(contract):
                    connection.execute(statement)

    def fill(self, tables: Iterable[tuple[Contract, Iterable[Row]]], /) -> None:
        """See DepartmentDatabase."""
        with psycopg.connect(self._address) as connection:
            for contract, rows in tables:
                columns = sql.SQL(", ").join(sql.Identifier(field.column) for field in contract.fields)
                statement = sql.SQL("COPY {} ({}) FROM STDIN").format(table_of(contract), columns)
                with connection.cursor() as cursor, cursor.copy(statement) as copy:
                    for row in rows:
                        copy.write_row(tuple(row.values()))

    def writer(self, agency: str, contracts: Iterable[Contract], hindered: MutableMapping[str, str], /) -> Pipeline:
        """See DepartmentDatabase."""
        return Pipeline(agency, self._address, contracts, hindered)
