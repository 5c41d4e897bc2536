"""Draft: what a live database says of its tables; one without a key is left out, and a column that no type carries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from producers.draft import Drafted, DraftedTable, LeftOut, stems
from producers.mysql.admission import faults_of
from producers.mysql.link.catalog import MysqlColumn, SourceTable, mysql_tables
from producers.mysql.link.connection import connect_mysql, database_named, spelled_name
from producers.mysql.link.fault import mysql_translated
from producers.mysql.onboarding.server import server_findings
from producers.mysql.options import MysqlSourceOptions
from producers.mysql.value.family import Family, Unread, family_of
from schemas.errors import Misconfigured
from schemas.wire.name import avro_name

_NARROWER = frozenset({"date", "datetime", "timestamp"})
"""Families with values that their typed branch cannot hold: dates that no calendar has."""


def draft(address: str, names: Sequence[str], agency: str, *, is_lossless: bool) -> Drafted:
    """See `producers.draft.Drafting`; a table needs no database before its name."""
    outcome = Drafted()
    database = database_named(address)
    with closing(connect_mysql(address, name="draft")) as connection, mysql_translated("draft"):
        found = mysql_tables(connection, database)
        tables = _wanted(found, names, database)
        for name, stem in stems(tables):
            drafted = _table(tables[name], stem, outcome, is_lossless=is_lossless)
            if drafted is not None:
                outcome.tables.append(drafted)
        source = f"{agency}.main"
        outcome.findings.extend(server_findings(connection, source, MysqlSourceOptions().replica_id(source)))
    for drafted in outcome.tables:
        outcome.findings.extend(faults_of(tables[drafted.table], f"{agency}.{drafted.stem}"))
    return outcome


def _wanted(found: Mapping[str, SourceTable], names: Sequence[str], database: str) -> dict[str, SourceTable]:
    wanted = [name if "." in name else f"{database}.{name}" for name in names]
    if absent := sorted(set(wanted) - set(found)):
        fix = "write it exactly as in the database; the account needs SELECT on it"
        raise Misconfigured("mesh draft", f"there is no table {', '.join(absent)}", fix=fix)
    chosen = wanted or [name for name, table in found.items() if table.kind == "BASE TABLE"]
    return {name: found[name] for name in sorted(chosen)}


def _table(table: SourceTable, stem: str, outcome: Drafted, *, is_lossless: bool) -> DraftedTable | None:
    def leave_out(column: str, reason: str, fix: str) -> None:
        outcome.left_out.append(LeftOut(table=table.name, column=column, reason=reason, fix=fix))

    keys = [key for key in table.keys if not {table.columns[name].type for name in key} & {"float", "double"}]
    if not keys:
        reason = "has no primary key and no unique index over NOT NULL columns: its rows could not be told apart"
        leave_out("", reason, f"ALTER TABLE {spelled_name(table.name)} ADD PRIMARY KEY (…)")
        return None
    fields = list(_fields(table, keys[0], leave_out, is_lossless=is_lossless))
    if lost := set(keys[0]) - {entry.get("column", entry["name"]) for entry in fields}:
        leave_out(
            "", f"key column {', '.join(sorted(lost))} has a type that no contract carries", "add a key of another type"
        )
        return None
    return DraftedTable(
        table=table.name,
        stem=stem,
        doc=table.comment.strip(),
        key=[avro_name(column) for column in keys[0]],
        fields=fields,
    )


def _fields(table: SourceTable, key: Sequence[str], leave_out: Any, *, is_lossless: bool) -> Iterator[dict[str, Any]]:
    for column in table.columns.values():
        if column.is_generated:
            leave_out(column.name, "is a generated column", "none needed: its value follows from the other columns")
            continue
        try:
            family = family_of(column)
        except Unread as unread:
            leave_out(column.name, f"({column.declared}) {unread}", "add it as a text column, if it is needed")
            continue
        yield _field(column, family, is_key=column.name in key, is_lossless=is_lossless)


def _field(column: MysqlColumn, family: Family, *, is_key: bool, is_lossless: bool) -> dict[str, Any]:
    branches: list[Any] = [avro_of(column, family)]
    if is_lossless and not is_key and family.name in _NARROWER:
        branches.append("string")
    if not is_key and column.is_nullable:
        branches.insert(0, "null")
    name = avro_name(column.name)
    entry: dict[str, Any] = {"name": name, "type": branches[0] if len(branches) == 1 else branches}
    if branches[0] == "null":
        entry["default"] = None
    if note := column.note.strip():
        entry["doc"] = note
    if name != column.name:
        entry["column"] = column.name
    return {**entry, "mysql.type": column.declared, "mysql.notnull": not column.is_nullable}


def avro_of(column: MysqlColumn, family: Family) -> Any:  # noqa: PLR0911 -- a line per family
    """The type that a contract's field of this column has."""
    match family.name:
        case "int":
            if column.type == "bigint" and column.is_unsigned:
                return {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 0}
            return "long" if column.type == "bigint" or (column.type == "int" and column.is_unsigned) else "int"
        case "bits":
            return "boolean" if column.precision == 1 else "string"
        case "decimal":
            return {"type": "bytes", "logicalType": "decimal", "precision": column.precision, "scale": column.scale}
        case "float" | "double" | "bytes":
            return family.name
        case "date":
            return {"type": "int", "logicalType": "date"}
        case "datetime":
            return {"type": "long", "logicalType": "local-timestamp-micros"}
        case "timestamp":
            return {"type": "long", "logicalType": "timestamp-micros"}
        case "time":
            return "long"  # of microseconds: it goes beyond a day, and below zero (MY-14)
        case _:
            return {"type": "string", "logicalType": "uuid"} if column.type == "uuid" else "string"
