# ruff: noqa: S608  -- identifiers are quoted here, values are always parameters
"""PostgreSQL statements of one delivered table: pure text, from a contract's columns.

Beside the delivered tables, in the same schema, are three of ours. `_mesh_offsets` says per partition how far this database is,
and who writes (SK-06). `_mesh_removed` keeps for every removed key the token of its removal, so that an older upsert
which comes again does not bring the row back (SK-04); its entry with the empty key is a truncate. `_mesh_tables` says what we
made (postgres_tables.py).

Values come as one array per column and are unnested: as fast as COPY into a temporary table, measured, with one round trip and no
temporary table to empty at every commit. Where no removal is looked up, the array of keys is empty and they are null.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from schemas.errors import Misconfigured
from sinks.postgresql.table.row import sql_type, staging_type
from sinks.row import RESERVED, WireColumn
from sinks.table.target import TOKEN

KEY = "_mesh_key"
NAME_BYTES_MAX = 63

SHORTER_TABLE = "give the table a shorter name with the sink's option `tables: {<feed>: <name>}`"
SHORTER_COLUMN = "leave the column out of the grant, or let the source show it under a shorter name, by a view"

_AS_PRINTED = {
    "time": "time without time zone",
    "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
}
_TEXT_LIKE = ("character varying", "character", "json", "jsonb", "uuid", "xml", "citext", "inet", "cidr")


def does_hold(name: str) -> bool:
    """Whether PostgreSQL keeps a name whole."""
    return len(name.encode()) <= NAME_BYTES_MAX


def quote(name: str) -> str:
    """An identifier, quoted (SE-09)."""
    return '"' + name.replace('"', '""').replace("\0", "") + '"'


def printed_type(column: WireColumn) -> str:
    """The column's type as `format_type` prints it."""
    name = sql_type(column.kind)
    base = name.removesuffix("[]")
    return _AS_PRINTED.get(base, base) + name[len(base) :]


def does_fit(column: WireColumn, printed: str) -> bool:
    """Whether an existing column may take the contract's values: the same type, or a department's own kind of text or JSON."""
    expected = printed_type(column)
    if expected == "jsonb" and printed in {"json", "text"}:
        return True
    return printed == expected or (expected == "text" and printed.split("(", 1)[0] in _TEXT_LIKE)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveredTable:
    """One delivered table. `key` are its primary key's columns; `types` the target's own, where they differ."""

    schema: str
    name: str
    columns: tuple[WireColumn, ...]
    key: tuple[WireColumn, ...]
    doc: str = ""

    def __post_init__(self) -> None:
        if own := [column.name for column in self.columns if column.name.lower().startswith(RESERVED)]:
            raise Misconfigured(
                f"table {self.name}, column {', '.join(own)}",
                f"names that begin with {RESERVED} are the mesh's own",
                fix="leave the column out of the grant, or let the source show it under another name, by a view",
            )
        too_long = f"is longer than PostgreSQL's {NAME_BYTES_MAX} bytes"
        for name in (self.schema, self.name):
            if not does_hold(name):
                raise Misconfigured(f"table {self.name}", f"the name {name} {too_long}", fix=SHORTER_TABLE)
        for column in self.columns:
            if not does_hold(column.name):
                raise Misconfigured(f"table {self.name}, column {column.name}", too_long, fix=SHORTER_COLUMN)

    def named_as(self, columns_in: Callable[[DeliveredTable], Collection[str]]) -> DeliveredTable:
        """The same with the columns called as they are there: a table of before may have wire names."""
        if all(column.name == column.wire for column in self.columns):
            return self
        found = columns_in(self)

        def named(column: WireColumn) -> WireColumn:
            return replace(column, name=column.wire) if column.wire in found and column.name not in found else column

        return replace(self, columns=tuple(map(named, self.columns)), key=tuple(map(named, self.key)))

    @property
    def path(self) -> str:
        """Schema and name, quoted."""
        return f"{quote(self.schema)}.{quote(self.name)}"

    @property
    def removed(self) -> str:
        """The table of removals, quoted."""
        return f"{quote(self.schema)}._mesh_removed"

    @property
    def key_names(self) -> tuple[str, ...]:
        """The key columns' names."""
        return tuple(column.name for column in self.key)

    def create(self) -> list[str]:
        """The table and its comments."""
        lines = [f"{quote(column.name)} {sql_type(column.kind)}" for column in self.columns]
        lines.append(f'{TOKEN} text COLLATE "C" NOT NULL')
        lines.append(f"PRIMARY KEY ({_names(self.key)})")
        statements = [f"CREATE TABLE IF NOT EXISTS {self.path} ({', '.join(lines)})"]
        if self.doc:
            statements.append(f"COMMENT ON TABLE {self.path} IS {_literal(self.doc)}")
        return statements + [self._comment(column) for column in self.columns if column.doc]

    def add(self, column: WireColumn) -> list[str]:
        """One more nullable column: what SK-12 lets happen by itself."""
        name = quote(column.name)
        added = f"ALTER TABLE {self.path} ADD COLUMN IF NOT EXISTS {name} {sql_type(column.kind)}"
        return [added, *([self._comment(column)] if column.doc else [])]

    def _comment(self, column: WireColumn) -> str:
        return f"COMMENT ON COLUMN {self.path}.{quote(column.name)} IS {_literal(column.doc)}"

    def upsert(self, types: Mapping[str, str], *, takes_equal: bool, is_guarded: bool) -> str:
        """Insert or update whole rows; an older token changes nothing, nor does an equal one unless `takes_equal`.

        Parameters: the columns, token, key bytes and topic.
        """
        names = [quote(column.name) for column in self.columns]
        values = [_cast(column, types) for column in self.columns]
        others = [name for name in names if name not in {quote(name) for name in self.key_names}]
        sets = ", ".join(f"{name} = excluded.{name}" for name in [*others, TOKEN])
        return (
            f"INSERT INTO {self.path} AS t ({', '.join([*names, TOKEN])}) "
            f"SELECT {', '.join(values)}, s.{TOKEN} FROM {_staged(self.columns)} "
            f"WHERE {self._not_removed(len(self.columns) + 3, is_guarded=is_guarded, takes_equal=takes_equal)} "
            f"ON CONFLICT ({_names(self.key)}) DO UPDATE SET {sets} "
            f"WHERE t.{TOKEN} {'<=' if takes_equal else '<'} excluded.{TOKEN}"
        )

    def _not_removed(self, topic: int, *, is_guarded: bool, takes_equal: bool) -> str:
        if not is_guarded:  # no removal is known: spare the look-ups, but keep the parameter typed
            return f"${topic}::text IS NOT NULL"
        # One look-up for the row, one for a truncate. As a join, the planner would read all removals of the topic each time.
        compare = "<=" if takes_equal else "<"
        return " AND ".join(
            f"coalesce((SELECT g.{TOKEN} FROM {self.removed} g WHERE g.topic = ${topic}::text AND g.key = {key}), '') "
            f"{compare} s.{TOKEN}"
            for key in (f"s.{KEY}", "''::bytea")
        )

    def update(self, types: Mapping[str, str], sent: Sequence[WireColumn]) -> str:
        """Set only the columns that the source sent (SK-03). Parameters as for `upsert`, over `sent`."""
        keys = set(self.key_names)
        sets = [f"{quote(column.name)} = {_cast(column, types)}" for column in sent if column.name not in keys]
        return (
            f"UPDATE {self.path} t SET {', '.join([*sets, f'{TOKEN} = s.{TOKEN}'])} FROM {_staged(sent)} "
            f"WHERE {self._same_key(types)} AND t.{TOKEN} < s.{TOKEN} AND ${len(sent) + 3}::text IS NOT NULL"
        )

    def check_present(self, types: Mapping[str, str], sent: Sequence[WireColumn]) -> str:
        """Fail with a division by zero if one of the partial rows has no row to complete it. Parameters as for `update`."""
        topic = len(sent) + 3
        return (
            f"SELECT 1 / (count(*) = 0)::int FROM {_staged(sent)} "
            f"WHERE NOT EXISTS (SELECT FROM {self.path} t WHERE {self._same_key(types)}) "
            f"AND {self._not_removed(topic, is_guarded=True, takes_equal=False)}"
        )

    def give_way(self, types: Mapping[str, str], nulled: Collection[str], *, takes_equal: bool) -> str:
        """Null these columns, none: delete the rows, where an upsert of the same parameters is about to overwrite them."""
        sets = ", ".join(f"{quote(name)} = NULL" for name in nulled)
        what = f"UPDATE {self.path} t SET {sets} FROM" if nulled else f"DELETE FROM {self.path} t USING"
        return (
            f"{what} {_staged(self.columns)} WHERE {self._same_key(types)} AND t.{TOKEN} {'<=' if takes_equal else '<'} s.{TOKEN} "
            f"AND {self._not_removed(len(self.columns) + 3, is_guarded=True, takes_equal=takes_equal)}"
        )

    def fill(self, types: Mapping[str, str], anew: Collection[str]) -> str:
        """Set columns that were made anew in rows that are as new or newer. Parameters as for `upsert`."""
        sets = [f"{quote(column.name)} = {_cast(column, types)}" for column in self.columns if column.name in anew]
        return (
            f"UPDATE {self.path} t SET {', '.join(sets)} FROM {_staged(self.columns)} "
            f"WHERE {self._same_key(types)} AND t.{TOKEN} >= s.{TOKEN} AND ${len(self.columns) + 3}::text IS NOT NULL"
        )

    def delete(self, types: Mapping[str, str]) -> str:
        """Delete rows that are not newer, and remember it. Parameters: the key columns, token, key bytes and topic."""
        return (
            f"WITH s AS MATERIALIZED (SELECT * FROM {_staged(self.key)}), gone AS ("
            f"DELETE FROM {self.path} t USING s WHERE {self._same_key(types)} AND t.{TOKEN} <= s.{TOKEN}) "
            f"INSERT INTO {self.removed} AS g (topic, key, {TOKEN}) "
            f"SELECT ${len(self.key) + 3}::text, s.{KEY}, s.{TOKEN} FROM s "
            f"ON CONFLICT (topic, key) DO UPDATE SET {TOKEN} = excluded.{TOKEN} WHERE g.{TOKEN} < excluded.{TOKEN}"
        )

    def forget(self, types: Mapping[str, str]) -> str:
        """Delete rows whose removal survives only as a tombstone. Parameters as for `delete`; the tokens say nothing."""
        return (
            f"DELETE FROM {self.path} t USING {_staged(self.key)} "
            f"WHERE {self._same_key(types)} AND ${len(self.key) + 3}::text IS NOT NULL"
        )

    def truncate(self) -> str:
        """Delete every row older than the truncate, and remember it. Parameters: token and topic."""
        return (
            f"WITH gone AS (DELETE FROM {self.path} t WHERE t.{TOKEN} < $1::text) "
            f"INSERT INTO {self.removed} AS g (topic, key, {TOKEN}) VALUES ($2::text, '', $1::text) "
            f"ON CONFLICT (topic, key) DO UPDATE SET {TOKEN} = excluded.{TOKEN} WHERE g.{TOKEN} < excluded.{TOKEN}"
        )

    def _same_key(self, types: Mapping[str, str]) -> str:
        return " AND ".join(f"t.{quote(column.name)} = {_cast(column, types)}" for column in self.key)


def _staged(columns: Sequence[WireColumn]) -> str:
    types = [*(staging_type(column) for column in columns), "text", "bytea"]
    names = [*(quote(column.name) for column in columns), TOKEN, KEY]
    # In the list of what is selected the arrays go forward together, row by row; in FROM each would first be written out whole.
    arrays = (
        f"unnest(${number}::{kind}[]) AS {name}"
        for number, (kind, name) in enumerate(zip(types, names, strict=True), 1)
    )
    return f"(SELECT {', '.join(arrays)}) AS s"


def _cast(column: WireColumn, types: Mapping[str, str]) -> str:
    """The staged value in the target column's own type."""
    target = types.get(column.name, printed_type(column))
    value = f"s.{quote(column.name)}"
    if target.startswith("character"):
        # A cast to char(n) or varchar(n) would clip in silence; the assignment refuses what is too long.
        return value if target.startswith("character varying") else f"{value}::bpchar"
    return value if target == _AS_PRINTED.get(staging_type(column), staging_type(column)) else f"{value}::{target}"


def _names(columns: Collection[WireColumn]) -> str:
    return ", ".join(quote(column.name) for column in columns)


def _literal(text: str) -> str:
    return "E'" + text.replace("\\", "\\\\").replace("'", "''").replace("\0", "") + "'"


def own_tables(schema: str) -> list[str]:
    """Our three tables, and the schema if the department has none of that name."""
    name = quote(schema)
    return [
        f"CREATE SCHEMA IF NOT EXISTS {name}",
        f"CREATE TABLE IF NOT EXISTS {name}._mesh_offsets (topic text, partition int, subscriber text NOT NULL, "
        "next_offset bigint, epoch bigint NOT NULL, PRIMARY KEY (topic, partition))",
        f'CREATE TABLE IF NOT EXISTS {name}._mesh_removed (topic text, key bytea, {TOKEN} text COLLATE "C" NOT NULL, '
        "PRIMARY KEY (topic, key))",
        f"CREATE TABLE IF NOT EXISTS {name}._mesh_tables (topic text PRIMARY KEY, name text NOT NULL, relation oid, home oid, "
        "columns text[] NOT NULL, filling text[], until jsonb)",
    ]


def take_over(schema: str) -> str:
    """Raise the epoch of partitions; what an earlier owner holds is fenced. By name: topics, partitions, subscriber."""
    return (
        f"INSERT INTO {quote(schema)}._mesh_offsets AS o (topic, partition, subscriber, epoch) "
        "SELECT n.topic, n.partition, %(subscriber)s, 1 "
        "FROM unnest(%(topics)s::text[], %(partitions)s::int[]) AS n(topic, partition) ORDER BY 1, 2 "
        "ON CONFLICT (topic, partition) DO UPDATE SET epoch = o.epoch + 1 RETURNING topic, partition, next_offset, epoch"
    )


def move_offsets(schema: str) -> str:
    """Move offsets; fail with a division by zero if another owner raised an epoch, or one is not where we know it to be.

    Parameters: topics, partitions, next offsets, epochs, offsets before (-2 for none), and their count as one text.
    """
    return (
        f"WITH moved AS (UPDATE {quote(schema)}._mesh_offsets o SET next_offset = n.next_offset "
        "FROM unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[], $5::bigint[]) "
        "AS n(topic, partition, next_offset, epoch, former) WHERE o.topic = n.topic AND o.partition = n.partition "
        "AND o.epoch = n.epoch AND coalesce(o.next_offset, -2) = n.former RETURNING 1) "
        "SELECT 1 / (count(*) = $6::text::bigint)::int FROM moved"
    )
