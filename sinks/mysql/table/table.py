# ruff: noqa: S608  -- identifiers are quoted here, values are literals (cell.py)
"""Statements of one delivered table in MariaDB and MySQL: pure text, from a contract's columns.

Beside the delivered tables are three of ours. `_mesh_offsets` says per partition how far this database is, and who writes (SK-06).
`_mesh_removed` keeps for every removed key the token of its removal, so that an older upsert which comes again does not bring the
row back (SK-04); its entry with the empty key is a truncate. `_mesh_tables` says what we made (memory.py).

Rows are written by one upsert of many rows (SK-01, SK-02). What touches rows that are there is a join with the keys that came, each
looked up by the primary key.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from schemas.errors import Misconfigured
from sinks.mysql.flavour import Flavour
from sinks.mysql.table.type import key_types, sql_type
from sinks.row import RESERVED, WireColumn
from sinks.table.target import TOKEN

NAME_CHARACTERS_MAX = 64
TOKEN_TYPE = "varbinary(255)"  # noqa: S105 -- a type
OFFSETS, REMOVED, TABLES = "`_mesh_offsets`", "`_mesh_removed`", "`_mesh_tables`"

SHORTER_TABLE = "give the table another name with the sink's option `tables: {<feed>: <name>}`"
OTHER_COLUMN = "leave the column out of the grant, or let the source show it under another name, by a view"

_COMMENT_MAX = 500
_CASTS = ("date", "time", "datetime", "decimal")


def does_hold(name: str) -> bool:
    """Whether the servers take a name: so many characters, none beyond the basic plane, and no blank at its end."""
    return (
        0 < len(name) <= NAME_CHARACTERS_MAX
        and name == name.rstrip(" ")
        and all("\0" < character <= "\uffff" for character in name)
    )


def quote(name: str) -> str:
    """An identifier, quoted (SE-09)."""
    return "`" + name.replace("`", "``").replace("\0", "") + "`"


def text_literal(text: str) -> str:
    """Text of ours in quotes: comments, and names."""
    return "'" + text.replace("\\", "").replace("'", "''").replace("\0", "") + "'"


class Upsert(NamedTuple):
    """A statement before and behind its rows."""

    before: bytes
    after: bytes

    def of(self, rows: Sequence[Sequence[bytes]]) -> bytes:
        """The statement with these rows."""
        return self.before + b",".join([b"(" + b",".join(row) + b")" for row in rows]) + self.after


class Joined(NamedTuple):
    """A statement before and behind the rows that it is joined with, and what those are called there."""

    before: bytes
    after: bytes
    names: tuple[str, ...]

    def of(self, rows: Sequence[Sequence[bytes]]) -> bytes:
        """The statement with these rows."""
        first = b",".join(cell + b" AS " + quote(name).encode() for cell, name in zip(rows[0], self.names, strict=True))
        others = b"".join(b" UNION ALL SELECT " + b",".join(row) for row in rows[1:])
        return self.before + b"(SELECT " + first + others + b") AS s" + self.after


@dataclass(frozen=True, slots=True, kw_only=True)
class MysqlTable:
    """One delivered table. `key` are its primary key's columns."""

    name: str
    columns: tuple[WireColumn, ...]
    key: tuple[WireColumn, ...]
    doc: str = ""

    def __post_init__(self) -> None:
        if own := [column.name for column in self.columns if column.name.lower().startswith(RESERVED)]:
            raise Misconfigured(
                f"table {self.name}, column {', '.join(own)}",
                f"names that begin with {RESERVED} are the mesh's own",
                fix=OTHER_COLUMN,
            )
        unfit = f"is no name for MariaDB and MySQL: 1 to {NAME_CHARACTERS_MAX} characters, no blank at the end"
        if not does_hold(self.name):
            raise Misconfigured(f"table {self.name}", unfit, fix=SHORTER_TABLE)
        for column in self.columns:
            if not does_hold(column.name):
                raise Misconfigured(f"table {self.name}, column {column.name}", unfit, fix=OTHER_COLUMN)
        names = [column.name.lower() for column in self.columns]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise Misconfigured(
                f"table {self.name}, column {', '.join(twice)}",
                "stands there in capitals and without, which is one name for MariaDB and MySQL",
                fix=OTHER_COLUMN,
            )

    def named_as(self, columns_in: Callable[[MysqlTable], Collection[str]]) -> MysqlTable:
        """The same with the columns called as they are there: a table of before may have wire names."""
        if all(column.name == column.wire for column in self.columns):
            return self
        found = columns_in(self)

        def named(column: WireColumn) -> WireColumn:
            return replace(column, name=column.wire) if column.wire in found and column.name not in found else column

        return replace(self, columns=tuple(map(named, self.columns)), key=tuple(map(named, self.key)))

    @property
    def path(self) -> str:
        """The name, quoted."""
        return quote(self.name)

    @property
    def key_names(self) -> tuple[str, ...]:
        """The key columns' names."""
        return tuple(column.name for column in self.key)

    def type_of(self, column: WireColumn) -> str:
        """The type that a column is made with."""
        return key_types(self.key).get(column.name) or sql_type(column)

    def definition(self, column: WireColumn, flavour: Flavour) -> str:
        """A column as CREATE and ALTER TABLE have it."""
        kind, is_key = self.type_of(column), column.name in self.key_names
        is_text = kind.startswith(("varchar", "char", "longtext"))
        charset = f" CHARACTER SET utf8mb4 COLLATE {flavour.collation}" if is_text else ""
        comment = f" COMMENT {text_literal(column.doc[:_COMMENT_MAX])}" if column.doc else ""
        return f"{quote(column.name)} {kind.upper()}{charset} {'NOT NULL' if is_key else 'NULL'}{comment}"

    def create(self, flavour: Flavour, mark: str) -> str:
        """The table; `mark` in its comment says which of that name it is."""
        lines = [self.definition(column, flavour) for column in self.columns]
        lines.append(f"{TOKEN} {TOKEN_TYPE.upper()} NOT NULL")
        lines.append(f"PRIMARY KEY ({', '.join(map(quote, self.key_names))})")
        return (
            f"CREATE TABLE IF NOT EXISTS {self.path} ({', '.join(lines)}) ENGINE=InnoDB ROW_FORMAT=DYNAMIC "
            f"DEFAULT CHARACTER SET utf8mb4 COLLATE {flavour.collation} "
            f"COMMENT={text_literal(f'{self.doc[:_COMMENT_MAX]} [{mark}]'.lstrip())}"
        )

    def add(self, column: WireColumn, flavour: Flavour) -> str:
        """One more nullable column: what SK-12 lets happen by itself."""
        return f"ALTER TABLE {self.path} ADD COLUMN {self.definition(column, flavour)}"

    def modify(self, column: WireColumn, flavour: Flavour) -> str:
        """A column as it has to be."""
        return f"ALTER TABLE {self.path} MODIFY COLUMN {self.definition(column, flavour)}"

    def upsert(self, flavour: Flavour, *, takes_equal: bool) -> Upsert:
        """Insert or update whole rows; an older token changes nothing, nor does an equal one unless `takes_equal`.

        A row under another unique index may be in the way instead of the one with this primary key: the division by zero ends the
        statement then, before it writes into a stranger. The token is assigned last, since assignments run from left to right.
        """
        token = quote(TOKEN)
        mine, fresh = f"{self.path}.{token}", flavour.fresh(token)
        is_newer = f"{fresh} {'>=' if takes_equal else '>'} {mine}"
        sets = [
            f"{name} = IF({is_newer}, {flavour.fresh(name)}, {self.path}.{name})"
            for name in (quote(column.name) for column in self.columns if column.name not in self.key_names)
        ]
        same = " AND ".join(f"{self.path}.{name} <=> {flavour.fresh(name)}" for name in map(quote, self.key_names))
        sets.append(f"{token} = IF(1 / ({same}), IF({is_newer}, {fresh}, {mine}), '')")
        names = ", ".join(map(quote, [*(column.name for column in self.columns), TOKEN]))
        before = f"INSERT INTO {self.path} ({names}) VALUES "
        return Upsert(before.encode(), f"{flavour.alias} ON DUPLICATE KEY UPDATE {', '.join(sets)}".encode())

    def update(self, sent: Sequence[WireColumn]) -> Joined:
        """Set only the columns that the source sent (SK-03), where the row is older."""
        return self._joined_update(sent, [column.name for column in sent if column.name not in self.key_names], "<")

    def fill(self, sent: Sequence[WireColumn], anew: Collection[str]) -> Joined:
        """Set columns that were made anew, in rows that are as new or newer."""
        return self._joined_update(sent, [column.name for column in sent if column.name in anew], ">=", moves=False)

    def _joined_update(
        self, sent: Sequence[WireColumn], names: Collection[str], compare: str, *, moves: bool = True
    ) -> Joined:
        sets = [f"t.{name} = s.{name}" for name in map(quote, [*names, *([TOKEN] if moves else [])])]
        return Joined(
            b"UPDATE ",
            f" STRAIGHT_JOIN {self.path} AS t ON {self._same_key()} SET {', '.join(sets)} "
            f"WHERE t.{quote(TOKEN)} {compare} s.{quote(TOKEN)}".encode(),
            _staged(sent),
        )

    def give_way(self, sent: Sequence[WireColumn], nulled: Collection[str], *, takes_equal: bool) -> Joined:
        """Null these columns, none: delete the rows, where an upsert of the same rows is about to overwrite them."""
        join = f" STRAIGHT_JOIN {self.path} AS t ON {self._same_key()}"
        where = f" WHERE t.{quote(TOKEN)} {'<=' if takes_equal else '<'} s.{quote(TOKEN)}"
        if not nulled:
            return Joined(b"DELETE t FROM ", f"{join}{where}".encode(), _staged(sent))
        sets = ", ".join(f"t.{name} = NULL" for name in map(quote, nulled))
        return Joined(b"UPDATE ", f"{join} SET {sets}{where}".encode(), _staged(sent))

    def missing(self, sent: Sequence[WireColumn]) -> Joined:
        """How many of these rows are not there."""
        after = f" LEFT JOIN {self.path} AS t ON {self._same_key()} WHERE t.{quote(TOKEN)} IS NULL"
        return Joined(b"SELECT COUNT(*) FROM ", after.encode(), _staged(sent))

    def delete(self, *, is_guarded: bool = True) -> Joined:
        """Delete rows that are not newer; without the guard, whatever they are."""
        guard = f" AND t.{quote(TOKEN)} <= s.{quote(TOKEN)}" if is_guarded else ""
        after = f" STRAIGHT_JOIN {self.path} AS t ON {self._same_key()}{guard}"
        return Joined(b"DELETE t FROM ", after.encode(), _staged(self.key))

    def truncate(self, token: bytes) -> bytes:
        """Delete every row older than the truncate; its token as a literal."""
        return f"DELETE FROM {self.path} WHERE {quote(TOKEN)} < ".encode() + token

    def _same_key(self) -> str:
        kinds = key_types(self.key)
        return " AND ".join(f"t.{quote(column.name)} = {_cast(column.name, kinds[column.name])}" for column in self.key)


def _cast(name: str, kind: str) -> str:
    """A staged value in the type of its column, or the server would not look for it by the key."""
    value = f"s.{quote(name)}"
    return f"CAST({value} AS {kind.upper()})" if kind.startswith(_CASTS) else value


def _staged(columns: Sequence[WireColumn]) -> tuple[str, ...]:
    return (*(column.name for column in columns), TOKEN)


def remember_removal(flavour: Flavour) -> Upsert:
    """Keep the newest removal of keys; the rows are topic, key and token."""
    token, fresh = f"{REMOVED}.{quote(TOKEN)}", flavour.fresh(quote(TOKEN))
    return Upsert(
        f"INSERT INTO {REMOVED} (topic, row_key, {TOKEN}) VALUES ".encode(),
        f"{flavour.alias} ON DUPLICATE KEY UPDATE {quote(TOKEN)} = IF({fresh} > {token}, {fresh}, {token})".encode(),
    )


def own_tables(flavour: Flavour) -> list[str]:
    """Our three tables."""
    text = f"CHARACTER SET utf8mb4 COLLATE {flavour.collation}"
    ends = f"ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT {text}"
    return [
        f"CREATE TABLE IF NOT EXISTS {OFFSETS} (topic VARCHAR(249) NOT NULL, `partition` INT NOT NULL, "
        f"subscriber VARCHAR(255) NOT NULL, next_offset BIGINT NULL, epoch BIGINT NOT NULL, PRIMARY KEY (topic, `partition`)) {ends}",
        f"CREATE TABLE IF NOT EXISTS {REMOVED} (topic VARCHAR(249) NOT NULL, row_key VARBINARY(32) NOT NULL, "
        f"{TOKEN} {TOKEN_TYPE.upper()} NOT NULL, PRIMARY KEY (topic, row_key)) {ends}",
        f"CREATE TABLE IF NOT EXISTS {TABLES} (topic VARCHAR(249) NOT NULL PRIMARY KEY, name VARCHAR(64) NOT NULL, "
        f"mark VARCHAR(64) NOT NULL, columns LONGTEXT NOT NULL, filling LONGTEXT NULL, until LONGTEXT NULL) {ends}",
    ]
