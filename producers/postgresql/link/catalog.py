"""What the catalog says of captured tables: columns with their types resolved, identity, rights, size on disk.

Read through an open statement connection; errors of the driver pass through to the caller's `translated`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row, namedtuple_row

from producers.postgresql.value.type import EXTENSIONS, OIDS, TEXT, PgType

_TYPES = """
SELECT t.oid, t.typname, n.nspname, t.typtype, t.typbasetype, t.typtypmod, t.typelem, t.typcategory,
       coalesce(e.typdelim, ',') AS delimiter, r.rngsubtype, x.extname, t.typsend = 0 AS has_output_only, t.typrelid
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN pg_type e ON e.oid = t.typelem
LEFT JOIN pg_range r ON t.oid IN (r.rngtypid, r.rngmultitypid)
LEFT JOIN pg_depend d ON d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e'
LEFT JOIN pg_extension x ON x.oid = d.refobjid"""

_MEMBERS = """
SELECT atttypid FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""

_TABLES = """
SELECT c.oid, n.nspname, c.relname, c.relkind, c.relpersistence, c.relreplident,
       pg_relation_filenode(c.oid) AS filenode,
       c.reltuples::bigint AS rows, CASE WHEN EXISTS (
           SELECT FROM pg_locks l WHERE l.relation = c.oid AND l.mode = 'AccessExclusiveLock' AND l.granted
             AND l.pid <> pg_backend_pid())
       THEN c.relpages ELSE pg_relation_size(c.oid) / current_setting('block_size')::int END AS blocks,
       pg_has_role(c.relowner, 'USAGE') AS is_owner, r.rolname AS owner,
       has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') AS is_readable,
       c.relrowsecurity AND NOT (o.rolsuper OR o.rolbypassrls
         OR (pg_has_role(c.relowner, 'USAGE') AND NOT c.relforcerowsecurity)) AS is_row_secured,
       EXISTS (SELECT FROM pg_inherits h WHERE h.inhparent = c.oid) AS has_children
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_roles r ON r.oid = c.relowner
JOIN pg_roles o ON o.rolname = current_user
WHERE n.nspname || '.' || c.relname = ANY(%s)"""

_COLUMNS = """
SELECT a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.attgenerated <> '' AS is_generated,
       coalesce(x.is_key, false) AS is_key, coalesce(x.place, 0) AS key_place, col_description(a.attrelid, a.attnum) AS note,
       format_type(a.atttypid, a.atttypmod) AS shown
FROM pg_attribute a LEFT JOIN LATERAL (
    SELECT true AS is_key, array_position(i.indkey::int2[], a.attnum) AS place FROM pg_index i
    WHERE i.indrelid = a.attrelid AND i.indisprimary
      AND a.attnum = ANY((i.indkey::int2[])[0:i.indnkeyatts - 1])) x ON true  -- behind them are INCLUDE's
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"""

# What RelationGetReplicaIndex finds, and CheckCmdReplicaIdentity asks (PG-31).
_IDENTITIES = """
WITH keys AS (
    SELECT i.indrelid, i.indisprimary, i.indisreplident, i.indisvalid, NOT i.indimmediate AS is_deferrable,
           array_agg(a.attname::text ORDER BY k.place) AS columns
    FROM pg_index i CROSS JOIN unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) WITH ORDINALITY k(attnum, place)
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
    WHERE (i.indisprimary OR i.indisreplident)
      AND (i.indrelid = %(oid)s OR i.indrelid IN (SELECT relid FROM pg_partition_tree(%(oid)s)))
    GROUP BY i.indexrelid)
SELECT c.oid, n.nspname || '.' || c.relname AS name, c.relkind, c.relpersistence, c.relreplident,
       p.columns AS primary_key, coalesce(p.is_deferrable, false) AS is_deferrable,
       CASE c.relreplident WHEN 'd' THEN CASE WHEN NOT p.is_deferrable THEN p.columns END WHEN 'i' THEN r.columns END AS logged,
       EXISTS (SELECT FROM pg_attribute v WHERE v.attrelid = c.oid AND v.attgenerated = 'v') AS has_virtual_columns
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN keys p ON p.indrelid = c.oid AND p.indisprimary
LEFT JOIN keys r ON r.indrelid = c.oid AND r.indisreplident AND r.indisvalid
WHERE c.oid = %(oid)s OR c.oid IN (SELECT relid FROM pg_partition_tree(%(oid)s) WHERE isleaf) ORDER BY name"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaIdentity:
    """What the log says of an old row of a table: `kind` is relreplident, `columns` are those of its usable index, if any."""

    kind: str
    columns: tuple[str, ...] = ()
    primary_key: tuple[str, ...] = ()
    is_deferrable: bool = False
    has_virtual_columns: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A partition that holds rows; `kind` and `persistence` as in Table."""

    name: str
    kind: str
    persistence: str
    logged: ReplicaIdentity


@dataclass(frozen=True, slots=True, kw_only=True)
class TableColumn:
    """A column as the catalog has it; `shown` is its type as SQL writes it, `key_place` its place in the primary key."""

    name: str
    type: PgType
    typmod: int
    is_not_null: bool
    is_generated: bool
    is_key: bool
    key_place: int
    note: str | None
    shown: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogTable:
    """A table as the catalog has it. `name` is `<schema>.<table>`, `rows` an estimate (-1: never analysed)."""

    oid: int
    name: str
    kind: str
    persistence: str
    logged: ReplicaIdentity
    filenode: int
    rows: int
    blocks: int
    owner: str
    is_owner: bool
    is_readable: bool
    is_row_secured: bool
    has_children: bool
    columns: tuple[TableColumn, ...]
    leaves: tuple[Leaf, ...] = ()

    @property
    def is_whole_row(self) -> bool:
        """Whether updates and deletes carry the row as it was (REPLICA IDENTITY FULL, in every partition)."""
        return self.logged.kind == "f" and all(leaf.logged.kind == "f" for leaf in self.leaves)


class SourceTypes:
    """Types by oid, domains resolved to what they are made of; asks again for an oid it does not know."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._rows: dict[int, Any] = {}

    def resolve(self, oid: int) -> PgType:
        """The type of this oid."""
        if oid not in self._rows:
            with self._connection.cursor(row_factory=namedtuple_row) as cursor:
                self._rows = {row[0]: row for row in cursor.execute(_TYPES)}
        row = self._rows.get(oid)
        return PgType(name=f"oid_{oid}") if row is None else self._read(row)

    def typmod(self, oid: int, typmod: int) -> int:
        """What a column's type is limited to: for a column of a domain the domain says so, and the column nothing."""
        self.resolve(oid)
        row = self._rows.get(oid)
        return (
            typmod if typmod >= 0 or row is None or row.typtype != "d" else self.typmod(row.typbasetype, row.typtypmod)
        )

    def _read(self, row: Any) -> PgType:
        name = _name(row)
        if row.typtype == "d":
            return self.resolve(row.typbasetype)
        if row.typtype in ("r", "m"):
            return PgType(name=name, bound=self.resolve(row.rngsubtype), is_multirange=row.typtype == "m")
        if row.typtype == "c":
            oids = [oid for (oid,) in self._connection.execute(_MEMBERS, (row.typrelid,)).fetchall()]
            return PgType(name=name, members=tuple((oid, self.resolve(oid)) for oid in oids), known=self.resolve)
        if row.typcategory == "A" and row.typelem and name not in TEXT:
            return PgType(name=name, element=self.resolve(row.typelem), delimiter=row.delimiter)
        return PgType(name=name, is_enum=row.typtype == "e", has_output_only=row.has_output_only)


def _name(row: Any) -> str:
    """The type's name; with its schema if it would pass for a type that it is not."""
    is_own = row.nspname == "pg_catalog" or row.typname in EXTENSIONS.get(row.extname, ())
    return row.typname if is_own or row.typname not in {*TEXT, *OIDS} else f"{row.nspname}.{row.typname}"


def split(name: str) -> tuple[str, str]:
    """Schema and table of `<schema>.<table>`."""
    schema, _, table = name.partition(".")
    return schema, table


def identifier(name: str) -> sql.Identifier:
    """`<schema>.<table>` quoted for a statement."""
    return sql.Identifier(*split(name))


def spelled(name: str) -> str:
    """`<schema>.<table>` as people type it into a statement: quoted only where it would be read as something else."""
    parts = (
        part if re.fullmatch(r"[a-z_][a-z0-9_$]*", part) else sql.Identifier(part).as_string() for part in split(name)
    )
    return ".".join(parts)


def tables(connection: psycopg.Connection[Any], types: SourceTypes, names: Iterable[str]) -> Mapping[str, CatalogTable]:
    """The named tables that exist, by name."""
    found: dict[str, CatalogTable] = {}
    with connection.cursor(row_factory=dict_row) as cursor:
        for row in cursor.execute(_TABLES, (list(names),)).fetchall():
            name = f"{row['nspname']}.{row['relname']}"
            logged, leaves = _identities(cursor, row["oid"])
            found[name] = CatalogTable(
                oid=row["oid"],
                name=name,
                kind=row["relkind"],
                persistence=row["relpersistence"],
                logged=logged,
                filenode=row["filenode"] or 0,
                rows=row["rows"],
                blocks=row["blocks"] or 0,
                owner=row["owner"],
                is_owner=row["is_owner"],
                is_readable=row["is_readable"],
                is_row_secured=row["is_row_secured"],
                has_children=row["has_children"],
                columns=_columns(cursor, types, row["oid"]),
                leaves=leaves,
            )
    return found


def _identities(cursor: psycopg.Cursor[dict[str, Any]], oid: int) -> tuple[ReplicaIdentity, tuple[Leaf, ...]]:
    """The table's own identity, and its partitions with theirs."""
    own = ReplicaIdentity(kind="n")
    leaves: list[Leaf] = []
    for row in cursor.execute(_IDENTITIES, {"oid": oid}).fetchall():
        identity = ReplicaIdentity(
            kind=row["relreplident"],
            columns=tuple(row["logged"] or ()),
            primary_key=tuple(row["primary_key"] or ()),
            is_deferrable=row["is_deferrable"],
            has_virtual_columns=row["has_virtual_columns"],
        )
        if row["oid"] == oid:
            own = identity
        else:
            leaves.append(
                Leaf(name=row["name"], kind=row["relkind"], persistence=row["relpersistence"], logged=identity)
            )
    return own, tuple(leaves)


def _columns(cursor: psycopg.Cursor[dict[str, Any]], types: SourceTypes, oid: int) -> tuple[TableColumn, ...]:
    rows: Sequence[dict[str, Any]] = cursor.execute(_COLUMNS, (oid,)).fetchall()
    return tuple(
        TableColumn(
            name=row["attname"],
            type=types.resolve(row["atttypid"]),
            typmod=types.typmod(row["atttypid"], row["atttypmod"]),
            is_not_null=row["attnotnull"],
            is_generated=row["is_generated"],
            is_key=row["is_key"],
            key_place=row["key_place"],
            note=row["note"],
            shown=row["shown"],
        )
        for row in rows
    )
