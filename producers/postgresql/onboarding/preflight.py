"""Preflight: what must be true of a database before its tables can be captured, and the statement that makes it so.

`mesh check` and `mesh onboard` show all findings; capture itself refuses to start on any error among them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import psycopg

from producers.finding import Finding
from producers.postgresql.identity import logged_columns, usable_identity, whole_row_fix
from producers.postgresql.link.catalog import CatalogTable, SourceTypes, spelled, tables
from producers.postgresql.link.link import connect, translated
from producers.postgresql.value.avro import Unmapped, encoder
from producers.postgresql.value.encoding import codec_of
from schemas.agreement.agency import SourceConfig
from schemas.contract import Contract
from schemas.errors import Misconfigured

_SERVER = """
SELECT current_setting('wal_level'), current_setting('server_version_num')::int, getdatabaseencoding(),
       current_setting('max_slot_wal_keep_size'), current_user,
       (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user),
       current_setting('max_replication_slots')::int - (SELECT count(*) FROM pg_replication_slots),
       has_database_privilege(current_database(), 'CREATE'), current_database(), pg_is_in_recovery(),
       (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user)"""

_CONNECTIONS = 12
"""What a source uses at most: statements, stream, lookout, what copies beside them, and a copying process a core."""

_OLDEST = 140_000


def examine(
    source: SourceConfig, address: str, contracts: Sequence[Contract], *, name: str
) -> tuple[Sequence[Finding], Mapping[str, CatalogTable]]:
    """See `producers.kind.Preflight`."""
    encoding = source.options.get("text_encoding")
    found = preflight(address, contracts, name=name, text_encoding=encoding)
    if any(finding.severity == "error" for finding in found):
        return found, {}
    present = describe(address, [contract.table for contract in contracts], name=name, text_encoding=encoding)
    return found, {contract.feed: present[contract.table] for contract in contracts}


def describe(
    address: str, names: Iterable[str], *, name: str = "check", text_encoding: str | None = None
) -> Mapping[str, CatalogTable]:
    """The named tables (`<schema>.<table>`) as the catalog has them. Raises Transient or Misconfigured."""
    with connect(address, name=name, text_encoding=text_encoding) as connection, translated(name):
        return tables(connection, SourceTypes(connection), names)


def preflight(
    address: str, contracts: Sequence[Contract], *, name: str = "check", text_encoding: str | None = None
) -> list[Finding]:
    """Everything that stands in the way of capturing these contracts. Raises Transient when the database is unreachable."""
    with connect(address, name=name, text_encoding=text_encoding) as connection, translated(name):
        return findings(connection, SourceTypes(connection), contracts, text_encoding)


def findings(
    connection: psycopg.Connection[Any],
    types: SourceTypes,
    contracts: Sequence[Contract],
    text_encoding: str | None = None,
) -> list[Finding]:
    """As `preflight`, on an open connection."""
    found = list(_server(connection, text_encoding))
    present = tables(connection, types, [contract.table for contract in contracts])
    for contract in contracts:
        table = present.get(contract.table)
        if table is None:
            found.append(
                Finding(
                    severity="error",
                    subject=contract.feed,
                    message=f"table {contract.table} does not exist, or the role may not see it",
                    fix='correct "gov": {"table": "<schema>.<table>"} in the contract, or create the table',
                )
            )
        else:
            found.extend(_table(contract, table))
    return found


def _server(connection: psycopg.Connection[Any], text_encoding: str | None) -> Iterator[Finding]:
    row = connection.execute(_SERVER).fetchone()
    assert row is not None, "a SELECT without FROM has one row"
    (
        wal_level,
        version,
        encoding,
        keep_size,
        role,
        may_replicate,
        free_slots,
        may_create,
        database,
        is_standby,
        connections,
    ) = row
    if wal_level != "logical":
        yield Finding(
            severity="error",
            subject="server",
            message=f"wal_level is {wal_level}",
            fix="ALTER SYSTEM SET wal_level = 'logical'; then restart the database",
        )
    if version < _OLDEST:
        yield Finding(
            severity="error", subject="server", message="PostgreSQL is older than 14", fix="upgrade to 14 or newer"
        )
    if is_standby:
        yield Finding(
            severity="error", subject="server", message="is a standby", fix="give the address of the primary server"
        )
    if not may_replicate:
        yield Finding(
            severity="error",
            subject="server",
            message=f"role {role} may not replicate",
            fix=f'ALTER ROLE "{role}" WITH REPLICATION;',
        )
    if not may_create:
        yield Finding(
            severity="error",
            subject="server",
            message=f"role {role} may not create a publication",
            fix=f'GRANT CREATE ON DATABASE "{database}" TO "{role}";',
        )
    if 0 <= connections < _CONNECTIONS:
        yield Finding(
            severity="warning",
            subject="server",
            message=f"role {role} may have {connections} connections; capture uses up to {_CONNECTIONS}",
            fix=f'ALTER ROLE "{role}" CONNECTION LIMIT {_CONNECTIONS};',
        )
    if free_slots < 2:
        yield Finding(
            severity="warning",
            subject="server",
            message=f"{free_slots} replication slots are free; one is needed, and one more during a later snapshot",
            fix="ALTER SYSTEM SET max_replication_slots = 20; then restart the database",
        )
    if keep_size == "-1":
        yield Finding(
            severity="warning",
            subject="server",
            message="max_slot_wal_keep_size is unlimited: a stopped capture could fill the disk",
            fix="ALTER SYSTEM SET max_slot_wal_keep_size = '50GB'; SELECT pg_reload_conf();",
        )
    yield from _encoding(encoding, text_encoding)


def _encoding(encoding: str, text_encoding: str | None) -> Iterator[Finding]:
    try:
        codec = codec_of(encoding, text_encoding, "the source")
    except Misconfigured as error:
        yield Finding(severity="error", subject="server", message=str(error.args[0]), fix=error.fix)
        return
    if encoding != "UTF8" and not codec:
        yield Finding(
            severity="warning",
            subject="server",
            message=f"the database's encoding is {encoding}, whose text only the server converts: one value that does not "
            "convert would stop the source",
            fix="migrate the database to UTF8",
        )
    elif encoding != "UTF8" and text_encoding is None:
        is_known = encoding in ("SQL_ASCII", "EUC_CN")
        yield Finding(
            severity="warning",
            subject="server",
            message=f"the database's encoding is {encoding}; rows whose text is not {'UTF-8' if codec == 'utf-8' else encoding} "
            "go to the dead letters",
            fix="none needed where all text converts; where it is in another encoding, say so in agency.yaml: "
            "options: {text_encoding: gb18030}"
            if is_known
            else "none needed where all text converts; otherwise migrate the database to UTF8",
        )


def _table(contract: Contract, table: CatalogTable) -> Iterator[Finding]:
    name = spelled(table.name)
    if table.kind not in "rp":
        yield _error(
            contract, f"{table.name} is no table (views and foreign tables have no log)", "name the table behind it"
        )
    if table.persistence != "p":
        yield _error(contract, f"{table.name} is not logged", f"ALTER TABLE {name} SET LOGGED;")
    if not table.is_readable:
        yield _error(
            contract,
            f"{table.name} may not be read",
            f"GRANT USAGE ON SCHEMA {name.split('.', 1)[0]} TO CURRENT_ROLE; GRANT SELECT ON {name} TO CURRENT_ROLE;",
        )
    if table.is_row_secured:
        yield _error(
            contract,
            f"{table.name}: row security would hide rows from the snapshot",
            "ALTER ROLE <role> WITH BYPASSRLS;",
        )
    if not table.is_owner:
        yield _error(
            contract,
            f"{table.name} belongs to {table.owner}: only its owner can publish it",
            f'GRANT "{table.owner}" TO <role>; or let the owner create the publication',
        )
    yield from _partitions(contract, table)
    yield from _identity(contract, table)
    yield from _columns(contract, table)


def _error(contract: Contract, message: str, fix: str) -> Finding:
    return Finding(severity="error", subject=contract.feed, message=message, fix=fix)


def _columns(contract: Contract, table: CatalogTable) -> Iterator[Finding]:
    name = spelled(table.name)
    # The server would break the stream at such a column, whether the contract names it or not.
    for column in table.columns:
        if column.type.is_unsendable:
            yield _error(
                contract,
                f"column {column.name} ({column.shown}) holds a type that the server cannot send",
                f'ALTER TABLE {name} ALTER "{column.name}" TYPE text;',
            )
    columns = {column.name: column for column in table.columns}
    for field in contract.fields:
        column = columns.get(field.column)
        if column is None:
            fix = "add the column, or name it back"
            if not field.is_key:
                fix += f"; or remove the field; for a feed that runs: `mesh follow {contract.feed} --yes`"
            yield _error(contract, f"{table.name} has no column {field.column}", fix)
            continue
        try:
            encoder(column.type, field, typmod=column.typmod)
        except Unmapped as unmapped:
            yield _error(
                contract,
                f"column {field.column} ({column.shown}): {unmapped}",
                f"correct the field's type in the contract; for a feed that runs: `mesh follow {contract.feed} --yes`",
            )
        if field.is_key and not field.is_nullable and not column.is_not_null:
            yield _error(
                contract,
                f"key column {field.column} may be null",
                f'ALTER TABLE {name} ALTER "{field.column}" SET NOT NULL;',
            )


def _identity(contract: Contract, table: CatalogTable) -> Iterator[Finding]:
    if (fault := usable_identity(table)) is not None:
        yield _error(contract, fault.message, fault.fix)
        return
    full = whole_row_fix(table)
    keys = {contract.by_name[name].column for name in contract.key}
    logged = logged_columns(table)
    if logged is not None and not keys <= logged:
        yield _error(
            contract,
            f"the contract's key {', '.join(sorted(keys))} is not within {table.name}'s replica identity "
            f"({', '.join(sorted(logged))})",
            full or "name the columns of the replica identity as the contract's key",
        )
    elif not table.is_whole_row:
        yield Finding(
            severity="warning",
            subject=contract.feed,
            message=f"{table.name} does not log the row as it was: the feed is keyed-only, row filters cost more, "
            "large unchanged columns stay out of updates",
            fix=full or "none: FULL would make its updates fail, since it has a virtual generated column",
        )


def _partitions(contract: Contract, table: CatalogTable) -> Iterator[Finding]:
    for leaf in table.leaves:
        if leaf.kind == "f":
            yield _error(
                contract,
                f"{leaf.name}, a partition of {table.name}, is a foreign table: the log has none of its changes",
                f"ALTER TABLE {spelled(table.name)} DETACH PARTITION {spelled(leaf.name)};",
            )
        elif leaf.persistence != "p":
            yield _error(
                contract,
                f"{leaf.name}, a partition of {table.name}, is not logged",
                f"ALTER TABLE {spelled(leaf.name)} SET LOGGED;",
            )
