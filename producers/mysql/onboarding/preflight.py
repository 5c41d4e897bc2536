"""Preflight: what must be true of a database before its tables can be captured, and the statement that makes it so.

`mesh check` and `mesh onboard` show all findings; capture itself refuses to start on the server's, and stops a feed by its table's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing

from producers.finding import Finding
from producers.mysql.admission import faults_of, key_columns
from producers.mysql.link.catalog import SourceTable, mysql_tables
from producers.mysql.link.connection import connect_mysql, database_named
from producers.mysql.link.fault import mysql_translated
from producers.mysql.onboarding.server import server_findings
from producers.mysql.options import MysqlSourceOptions
from producers.mysql.value.misfit import Unpaired
from producers.mysql.value.row import paired
from schemas.agreement.agency import SourceConfig
from schemas.contract import Contract
from schemas.form import read


def examine(
    source: SourceConfig, address: str, contracts: Sequence[Contract], *, name: str
) -> tuple[Sequence[Finding], Mapping[str, SourceTable]]:
    """See `producers.kind.Preflight`."""
    options = read(MysqlSourceOptions, source.options, f"source {name}")
    database = database_named(address)
    agency = contracts[0].agency if contracts else name
    whole_name = f"{agency}.{source.name}"
    with closing(connect_mysql(address, name=name)) as connection, mysql_translated(name):
        found = list(server_findings(connection, whole_name, options.replica_id(whole_name)))
        tables = mysql_tables(connection, database)
    for contract in contracts:
        found.extend(table_findings(contract, tables, database))
    if any(finding.severity == "error" for finding in found):
        return found, {}
    return found, {contract.feed: tables[contract.table] for contract in contracts}


def table_findings(contract: Contract, tables: Mapping[str, SourceTable], database: str) -> Iterator[Finding]:
    """What stands in the way of one contract."""
    feed, table = contract.feed, tables.get(contract.table)
    if table is None:
        fix = f'correct "gov": {{"table": "{database}.<table>"}} in the contract, or create the table'
        yield _error(feed, f"table {contract.table} does not exist in {database}, or the account may not read it", fix)
        return
    yield from faults_of(table, feed)
    for of_column in _columns(contract, table):
        yield _error(feed, of_column, "mend the contract as it says, or let `mesh draft` write one")
    for field in contract.fields:
        column = table.columns.get(field.column)
        if column is not None and field.is_key and column.is_nullable:
            fix = "name columns in gov.key that are NOT NULL"
            yield _error(feed, f"key column {field.column} may be NULL", fix)


def _columns(contract: Contract, table: SourceTable) -> Iterator[str]:
    try:
        paired(contract, table.columns)
        key_columns(contract, table)
    except Unpaired as error:
        yield f"table {table.name}: {error}"


def _error(subject: str, message: str, fix: str) -> Finding:
    return Finding(severity="error", subject=subject, message=message, fix=fix)
