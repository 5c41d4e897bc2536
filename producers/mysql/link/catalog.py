"""What the server says of its tables now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pymysql

from producers.mysql.link.connection import texts

Shape = list[str | int]

_TABLES = """
SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, IFNULL(ENGINE, ''), IFNULL(TABLE_ROWS, 0), TABLE_COMMENT
FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s"""
_COLUMNS = """
SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IFNULL(CHARACTER_SET_NAME, ''), IFNULL(NUMERIC_PRECISION, 0),
  IFNULL(NUMERIC_SCALE, 0), IS_NULLABLE, COLUMN_COMMENT, IS_GENERATED
FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s ORDER BY TABLE_NAME, ORDINAL_POSITION"""
_KEYS = """
SELECT TABLE_NAME, INDEX_NAME, COLUMN_NAME, IFNULL(SUB_PART, ''), NULLABLE FROM information_schema.STATISTICS
WHERE TABLE_SCHEMA = %s AND NON_UNIQUE = 0 ORDER BY TABLE_NAME, INDEX_NAME <> 'PRIMARY', INDEX_NAME, SEQ_IN_INDEX"""
_CASCADES = """
SELECT TABLE_NAME, CONSTRAINT_NAME, DELETE_RULE, UPDATE_RULE FROM information_schema.REFERENTIAL_CONSTRAINTS
WHERE CONSTRAINT_SCHEMA = %s"""
_CHANGING = frozenset({"CASCADE", "SET NULL", "SET DEFAULT"})


@dataclass(frozen=True, slots=True, kw_only=True)
class MysqlColumn:
    """A column as it was declared; `charset` is empty for what is no text."""

    name: str
    type: str
    declared: str
    charset: str = ""
    precision: int = 0
    scale: int = 0
    is_nullable: bool = True
    note: str = ""
    is_generated: bool = False

    @property
    def is_unsigned(self) -> bool:
        """Whether its numbers have no sign."""
        return " unsigned" in self.declared

    @property
    def shape(self) -> Shape:
        """What its values are read by: type, declaration, character set, precision, scale. Columns of one shape are read alike."""
        return [self.type, self.declared, self.charset, self.precision, self.scale]

    @classmethod
    def of_shape(cls, name: str, shape: Shape) -> MysqlColumn:
        """The column again, as far as its values are read by it."""
        kind, declared, charset, precision, scale = shape
        return cls(
            name=name,
            type=str(kind),
            declared=str(declared),
            charset=str(charset),
            precision=int(precision),
            scale=int(scale),
        )

    def holds_all_of(self, shape: Shape) -> bool:
        """Whether a column of that shape became this one without any value of it having changed."""
        former = MysqlColumn.of_shape(self.name, shape)
        if self.shape == shape:
            return True
        if (self.type, self.charset) != (former.type, former.charset):
            return False
        if self.type in ("varchar", "varbinary"):
            return self.width >= former.width
        return self.type in ("enum", "set") and self.declared.startswith(former.declared[:-1])

    @property
    def width(self) -> int:
        """The number in parentheses; 0 without one."""
        _, _, rest = self.declared.partition("(")
        number = rest.partition(")")[0].partition(",")[0]
        return int(number) if number.isdigit() else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTable:
    """A table; see `producers.finding.Provided`. `keys` are the columns of each index that tells rows apart, primary first."""

    name: str
    kind: str
    engine: str
    estimate: int
    comment: str
    columns: Mapping[str, MysqlColumn]
    keys: tuple[tuple[str, ...], ...]
    cascades: tuple[str, ...]

    @property
    def is_whole_row(self) -> bool:
        """Whether updates and deletes carry the row as it was: with binlog_row_image=FULL they always do."""
        return True

    @property
    def blocks(self) -> int:
        """How many rows there are, by the server's estimate; 1 where it says none, since it may be wrong."""
        return max(1, self.estimate)


def mysql_tables(
    connection: pymysql.Connection[Any], database: str, names: Iterable[str] | None = None
) -> dict[str, SourceTable]:
    """The tables of a database by `<database>.<table>`, those of these names, or all."""
    wanted = None if names is None else set(names)
    columns: dict[str, dict[str, MysqlColumn]] = {}
    for row in texts(connection, _COLUMNS, (database,)):
        table, name, kind, declared, charset, precision, scale, nullable, note, generated = row
        columns.setdefault(table, {})[name] = MysqlColumn(
            name=name,
            type=kind.lower(),
            declared=declared,
            charset=charset,
            precision=int(precision),
            scale=int(scale),
            is_nullable=nullable == "YES",
            note=note,
            is_generated=generated == "ALWAYS",
        )
    keys: dict[str, dict[str, list[str]]] = {}
    unusable: set[tuple[str, str]] = set()
    for table, index, column, part, nullable in texts(connection, _KEYS, (database,)):
        keys.setdefault(table, {}).setdefault(index, []).append(column)
        if part or nullable == "YES":
            unusable.add((table, index))
    cascades: dict[str, list[str]] = {}
    for table, constraint, on_delete, on_update in texts(connection, _CASCADES, (database,)):
        if {on_delete, on_update} & _CHANGING:
            cascades.setdefault(table, []).append(constraint)
    found: dict[str, SourceTable] = {}
    for schema, table, kind, engine, rows, comment in texts(connection, _TABLES, (database,)):
        name = f"{schema}.{table}"
        # Renamed between the questions it has no columns: as good as not there, and a statement in the log says what became of it.
        if table in columns and (wanted is None or name in wanted):
            found[name] = SourceTable(
                name=name,
                kind=kind,
                engine=engine,
                estimate=int(rows),
                comment=comment,
                columns=columns.get(table, {}),
                keys=tuple(
                    tuple(parts) for index, parts in keys.get(table, {}).items() if (table, index) not in unusable
                ),
                cascades=tuple(cascades.get(table, ())),
            )
    return found
