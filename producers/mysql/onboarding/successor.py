"""The successor of a feed's contract that its table asks for: what the table changed, and nothing else (invariant 5).

Names, docs, tags, sharing classes and rules stay as people wrote them. A type that still takes every value of its column stays too.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from producers.kind import Successor
from producers.mysql.link.catalog import MysqlColumn, SourceTable, mysql_tables
from producers.mysql.link.connection import connect_mysql, database_named
from producers.mysql.link.fault import mysql_translated
from producers.mysql.onboarding.draft import avro_of
from producers.mysql.value.avro import writer
from producers.mysql.value.family import Unread, family_of
from producers.mysql.value.misfit import Unpaired
from producers.mysql.value.row import check_held
from schemas.contract import AvroType, Contract, Field
from schemas.errors import Misconfigured
from schemas.wire.compatibility import describe


def look(address: str, contract: Contract, table: str | None) -> Successor:
    """What fits the table as it is. See `producers.kind.Following`."""
    name = table or contract.table
    with closing(connect_mysql(address, name="follow")) as connection, mysql_translated("follow"):
        found = mysql_tables(connection, database_named(address), [name]).get(name)
    if found is None:
        command = f"mesh follow {contract.feed} --table <database>.<its name now>"
        fix = f"if it was renamed: `{command}`; `mesh status` says what it is called"
        raise Misconfigured(contract.feed, f"there is no table {name} in its source", fix=fix)
    after, differences = fitting(contract, found)
    return Successor(contract=after, differences=differences, is_whole_row=True)


def fitting(contract: Contract, table: SourceTable) -> tuple[Contract, list[str]]:
    """The contract that fits the table, and what differs, in words. Raises Misconfigured for a table that cannot be this feed's."""
    differences: list[str] = []
    fields: list[Mapping[str, Any]] = []
    for field, record in zip(contract.fields, contract.record["fields"], strict=True):
        column = table.columns.get(field.column)
        if column is None:
            if field.is_key:
                fix = "name the column back, or onboard the table under another file name, as a new feed"
                raise Misconfigured(contract.feed, f"the table has no key column {field.column} any more", fix=fix)
            unnamed = sorted(table.columns.keys() - {each.column for each in contract.fields})
            others = f"; in no contract are {', '.join(unnamed)}" if unnamed else ""
            differences.append(f"column {field.column} is gone: its field is left out{others}")
            continue
        followed = _followed(contract.feed, field, column)
        if followed is None:
            fields.append(record)
            continue
        former = describe(field.branches[0])
        differences.append(f"column {field.column} ({column.declared}): {former} becomes {describe(followed)}")
        drafted = {"mysql.type": column.declared} if "mysql.type" in record else {}
        branches = [*(["null"] if field.is_nullable else []), followed]
        if field.is_lossless and followed != "string":
            branches.append("string")
        fields.append({**record, **drafted, "type": branches[0] if len(branches) == 1 else branches})
    gov = dict(contract.gov)
    if table.name != contract.table:
        differences.append(f"table {contract.table} is {table.name} now")
        gov["table"] = table.name
    return Contract.parse({**contract.record, "gov": gov, "fields": fields}, contract.feed), differences


def _followed(feed: str, field: Field, column: MysqlColumn) -> AvroType | None:
    """The type that takes the column's values; None where the field's own does."""
    try:
        family = family_of(column)
    except Unread as unread:
        fix = "leave the column out of the contract, or give it another type"
        raise Misconfigured(feed, f"column {field.column} ({column.declared}): {unread}", fix=fix) from None
    try:
        writer(family, field)
        check_held(column, field)
    except Unpaired:
        return avro_of(column, family)
    return None
