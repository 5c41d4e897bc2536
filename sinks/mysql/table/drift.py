"""Drift: where a table that is there is not what its contract needs, column by column, and what repairs each (SK-12)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from schemas.errors import ContractBroken
from sinks.mysql.flavour import Flavour
from sinks.mysql.table.catalog import FoundColumn, FoundTable
from sinks.mysql.table.table import TOKEN_TYPE, MysqlTable, quote
from sinks.mysql.table.type import does_fit, is_blob, is_text
from sinks.row import WireColumn
from sinks.table.target import TOKEN

_EXACT = ("utf8mb4_nopad_bin", "utf8mb4_0900_bin", "utf8mb3_nopad_bin", "utf8_nopad_bin")


class Drift(NamedTuple):
    """One thing that is not as it has to be, and what makes it so."""

    what: str
    repair: str


def refuse_drift(table: MysqlTable, found: FoundTable, flavour: Flavour) -> None:
    """Raises ContractBroken that tells everything at once, and the statements in the order in which they help."""
    if TOKEN not in found.columns:
        raise ContractBroken(
            f"table {table.name}",
            "exists already and was not made by the mesh",
            fix="rename it, or give the feed another name with the sink's option `tables`",
        )
    if drifts := list(drift(table, found, flavour)):
        raise ContractBroken(
            f"table {table.name}",
            "; ".join(each.what for each in drifts),
            fix="; ".join(dict.fromkeys(each.repair for each in drifts)),
        )


def drift(table: MysqlTable, found: FoundTable, flavour: Flavour) -> Iterator[Drift]:
    """All that differs; columns that are not there are no drift: they are made."""
    if found.engine.lower() != "innodb":
        what = f"is kept by {found.engine or 'no engine'}, which has no transactions"
        yield Drift(what, f"ALTER TABLE {table.path} ENGINE=InnoDB")
    if sorted(found.key) != sorted(table.key_names):
        what = f"has the primary key {list(found.key)}, the contract says {list(table.key_names)}"
        repair = f"DROP TABLE {table.path}"
        yield Drift(f"{what}: dropped, it is made again with the right key, and filled anew", repair)
        return
    if found.columns[TOKEN].kind != TOKEN_TYPE:
        repair = f"ALTER TABLE {table.path} MODIFY COLUMN {quote(TOKEN)} {TOKEN_TYPE.upper()} NOT NULL"
        yield Drift(f"column {TOKEN} is {found.columns[TOKEN].kind}, it has to be {TOKEN_TYPE}", repair)
    for column in table.columns:
        if there := found.columns.get(column.name):
            yield from _of_column(table, column, there, flavour)
    ours = {column.name for column in table.columns} | {column.wire for column in table.columns} | {TOKEN}
    for name, there in found.columns.items():
        if name not in ours and there.is_demanded:
            what = f"column {name} is not the mesh's, demands a value and has no default"
            repair = f"ALTER TABLE {table.path} MODIFY COLUMN {quote(name)} {there.kind.upper()} NULL"
            yield Drift(what, repair)


def _of_column(table: MysqlTable, column: WireColumn, there: FoundColumn, flavour: Flavour) -> Iterator[Drift]:
    wanted, repair = table.type_of(column), table.modify(column, flavour)
    if there.is_generated:
        what = f"column {column.name} is computed by the database"
        yield Drift(what, f"ALTER TABLE {table.path} DROP COLUMN {quote(column.name)}")
    elif not does_fit(wanted, there.kind):
        yield Drift(f"column {column.name} is {there.kind}, the contract says {wanted}", repair)
    elif column.name in table.key_names:
        is_exact = not there.collation or there.collation in _EXACT
        if is_text(there.kind) and not is_exact and not is_blob(there.kind):
            what = f"column {column.name} compares loosely ({there.collation}): keys that differ would be one row"
            yield Drift(what, repair)
    elif not there.is_nullable:
        yield Drift(f"column {column.name} refuses null, which the contract allows", repair)
