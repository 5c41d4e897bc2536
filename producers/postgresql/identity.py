"""Replica identity: whether a published table's own UPDATE and DELETE go on working, and what the log says of an old row.

A table in a publication needs an identity that the server can use; without one the department's own statements fail
(invariant 10). `usable_identity` judges a table as the catalog has it: preflight asks before a feed is onboarded, `Slot.publish`
in the transaction that publishes the table, and whoever watches published tables may ask at any time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from psycopg import sql

from producers.postgresql.link.catalog import CatalogTable, ReplicaIdentity, spelled


@dataclass(frozen=True, slots=True)
class IdentityFault:
    """Why a table must not be published as it is, and the statements that mend it."""

    message: str
    fix: str


def usable_identity(table: CatalogTable) -> IdentityFault | None:
    """What would make the table's own updates and deletes fail once it is published, in it or in a partition; None if nothing."""
    for name, identity in _parts(table):
        if reason := _unusable(identity):
            message = f"{name} {reason}: once published, its updates and deletes would fail"
            return IdentityFault(message, _mended(name, identity))
    return None


def logged_columns(table: CatalogTable) -> set[str] | None:
    """The columns that every old row in the log has, whichever partition it is in; None if it has all of them."""
    narrow = [set(identity.columns) for _, identity in _parts(table) if identity.kind != "f"]
    return set.intersection(*narrow) if narrow else None


def whole_row_fix(table: CatalogTable) -> str:
    """The statements after which every update and delete carries the row as it was; empty where the server cannot do that."""
    parts = list(_parts(table))
    if any(identity.has_virtual_columns for _, identity in parts):
        return ""
    return " ".join(
        f"ALTER TABLE {spelled(name)} REPLICA IDENTITY FULL;" for name, identity in parts if identity.kind != "f"
    )


def _parts(table: CatalogTable) -> Iterator[tuple[str, ReplicaIdentity]]:
    """A table and its partitions: a row is logged by the identity of the partition it is in, and announced by the root's."""
    yield table.name, table.logged
    for leaf in table.leaves:
        yield leaf.name, leaf.logged


def _unusable(identity: ReplicaIdentity) -> str:
    match identity.kind:
        case "f" if identity.has_virtual_columns:
            return "has REPLICA IDENTITY FULL and a virtual generated column, which no publication carries"
        case "f":
            return ""
        case "d" | "i" if identity.columns:
            return ""
        case "i":
            return "has lost the index of its replica identity"
        case "d" if identity.primary_key:
            return "has a deferrable primary key, which is no replica identity"
        case _:
            return "has no replica identity"


def _mended(name: str, identity: ReplicaIdentity) -> str:
    table = spelled(name)
    if not identity.has_virtual_columns:
        return f"ALTER TABLE {table} REPLICA IDENTITY FULL;"
    if not identity.primary_key:
        return f"ALTER TABLE {table} ADD PRIMARY KEY (<the columns that make a row unique>), REPLICA IDENTITY DEFAULT;"
    if not identity.is_deferrable:
        return f"ALTER TABLE {table} REPLICA IDENTITY DEFAULT;"
    index = sql.Identifier(f"{name.partition('.')[2][:12]}_mesh_identity").as_string()
    columns = ", ".join(sql.Identifier(column).as_string() for column in identity.primary_key)
    return (
        f"CREATE UNIQUE INDEX {index} ON {table} ({columns}); ALTER TABLE {table} REPLICA IDENTITY USING INDEX {index};"
    )
