"""Limits: what of a grant MariaDB and MySQL could not hold, said before anything is delivered."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from schemas.agreement.grant import Grant, Mask
from schemas.agreement.subscriber import SinkConfig
from schemas.contract import Contract, Field
from schemas.wire.name import column_name
from sinks.mysql.table.table import NAME_CHARACTERS_MAX, OTHER_COLUMN, SHORTER_TABLE, does_hold
from sinks.mysql.table.type import KEY_BYTES_MAX, key_types
from sinks.row import WireColumn

COLUMNS_MAX = 1_000
_BOUND = re.compile(r"character(?: varying)?\((\d+)\)")


def unfit(sink: SinkConfig, grant: Grant, contract: Contract) -> Iterator[tuple[str, str]]:
    """Names that its table would not have, and keys too long for an index. See `SinkKind.unfit`."""
    delivered = grant.delivered_as
    tables = sink.options.get("tables")
    table = str((tables if isinstance(tables, Mapping) else {}).get(delivered, delivered.replace(".", "_")))
    text = f"is no name for MariaDB and MySQL (1 to {NAME_CHARACTERS_MAX} characters, no blank at the end)"
    if not does_hold(table):
        yield f"table {table} {text}: the table would not be made", SHORTER_TABLE
    granted = [name for name in dict.fromkeys((*contract.key, *grant.columns)) if name in contract.by_name]
    granted = [name for name in granted if grant.mask.get(name) is not Mask.DROP]
    for name in granted:
        if not does_hold(column_name(name)):
            yield f"column {column_name(name)} {text}: the table would not be made", OTHER_COLUMN
    lower = [column_name(name).lower() for name in granted]
    for name in sorted({name for name in lower if lower.count(name) > 1}):
        yield (
            f"column {name} stands there in capitals and without, which is one name for MariaDB and MySQL",
            OTHER_COLUMN,
        )
    if len(granted) > COLUMNS_MAX:
        fix = f"grant at most {COLUMNS_MAX} columns"
        yield f"table {table} would have {len(granted)} columns, more than InnoDB keeps", fix
    yield from _unfit_key(contract)


def _unfit_key(contract: Contract) -> Iterator[tuple[str, str]]:
    fields = [contract.by_name[name] for name in contract.key if name in contract.by_name]
    kinds = key_types([_column(field) for field in fields])
    other = "deliver the feed to a sink of another kind, or let the source show it under a shorter key, by a view"
    for field in fields:
        kind = kinds[column_name(field.name)]
        if not kind.startswith(("varchar", "varbinary")):
            continue
        held, needed = int(kind.partition("(")[2].rstrip(")")), _length(field)
        if held == 0 or (needed is not None and needed > held):
            what = f"key column {column_name(field.name)} may have {needed or 'many'} characters"
            yield f"{what}, of which an index of MariaDB and MySQL, {KEY_BYTES_MAX:,} bytes, keeps {held}", other


def _column(field: Field) -> WireColumn:
    return WireColumn(
        name=column_name(field.name),
        wire=field.name,
        kind=field.branches[0],
        is_nullable=False,
        is_lossless=field.is_lossless,
        doc="",
    )


def _length(field: Field) -> int | None:
    """The most characters that the source has in a text column; None where it sets no bound that is known."""
    bound = _BOUND.fullmatch(str(field.properties.get("pg.type", "")))
    return int(bound[1]) if bound else None
