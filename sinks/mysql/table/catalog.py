"""Catalogue: what a database says of one of its tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sinks.mysql.table.type import printed

Look = Callable[[str, Sequence[Any]], Sequence[tuple[Any, ...]]]
"""Asks the database; see MysqlPipe."""

NO_MARK = "-"
"""Of a table that was not made by us, or lost its comment."""
_MARK = re.compile(r"\[(mesh [0-9a-f]{16})\]\s*\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundColumn:
    """One column as it is there. `is_demanded`: a row without a value for it is refused."""

    name: str
    kind: str
    collation: str
    is_nullable: bool
    is_demanded: bool
    is_generated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTable:
    """A table that is there. `mark` tells it from others of its name; `key` are its primary key's columns, in order."""

    columns: Mapping[str, FoundColumn]
    key: tuple[str, ...]
    mark: str
    engine: str

    @property
    def types(self) -> Mapping[str, str]:
        """Its columns' types."""
        return {name: column.kind for name, column in self.columns.items()}


def table_in(look: Look, name: str) -> FoundTable | None:
    """The table of this name; None where there is none."""
    tables = look(
        "SELECT engine, table_comment FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = %s",
        (name,),
    )
    if not tables:
        return None
    [(engine, comment)] = tables
    columns: dict[str, FoundColumn] = {}
    for column, kind, collation, nullable, default, extra in look(
        "SELECT column_name, column_type, collation_name, is_nullable, column_default, extra FROM information_schema.columns "
        "WHERE table_schema = DATABASE() AND table_name = %s ORDER BY ordinal_position",
        (name,),
    ):
        is_nullable, is_generated = nullable == "YES", "GENERATED" in extra.upper()
        columns[column] = FoundColumn(
            name=column,
            kind=printed(kind),
            collation=collation or "",
            is_nullable=is_nullable,
            is_demanded=not is_nullable
            and default is None
            and not is_generated
            and "auto_increment" not in extra.lower(),
            is_generated=is_generated,
        )
    key = look(
        "SELECT column_name FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = %s "
        "AND index_name = 'PRIMARY' ORDER BY seq_in_index",
        (name,),
    )
    found = _MARK.search(comment or "")
    return FoundTable(
        columns=columns, key=tuple(part for (part,) in key), mark=found[1] if found else NO_MARK, engine=engine or ""
    )
