"""The successor of a feed's contract that its table asks for: what the table changed, and nothing else (invariant 5).

Names, docs, tags, sharing classes and rules stay as people wrote them. A type that still takes every value of its column stays too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from producers.kind import Successor
from producers.postgresql.link.catalog import CatalogTable, TableColumn
from producers.postgresql.onboarding.draft_type import Unmapped, field_of
from producers.postgresql.onboarding.preflight import describe as tables_of
from producers.postgresql.value.avro import encoder
from producers.postgresql.value.decimal import outgrown
from schemas.agreement.agency import SourceConfig
from schemas.contract import AvroType, Contract, Field
from schemas.errors import Misconfigured
from schemas.wire.compatibility import describe


def look(source: SourceConfig, address: str, contract: Contract, table: str | None) -> Successor:
    """What fits the table as it is. See `producers.kind.Following`."""
    name = table or contract.table
    found = tables_of(address, [name], name="follow", text_encoding=source.options.get("text_encoding")).get(name)
    if found is None:
        command = f"mesh follow {contract.feed} --table <schema>.<its name now>"
        fix = f"if it was renamed: `{command}`; `mesh status` says what it is called"
        raise Misconfigured(contract.feed, f"there is no table {name} in its source", fix=fix)
    after, differences = successor(contract, found)
    return Successor(contract=after, differences=differences, is_whole_row=found.is_whole_row)


def successor(contract: Contract, table: CatalogTable) -> tuple[Contract, list[str]]:
    """The contract that fits the table, and what differs, in words. Raises Misconfigured for a table that cannot be this feed's."""
    columns = {column.name: column for column in table.columns}
    differences: list[str] = []
    fields: list[Mapping[str, Any]] = []
    for field, record in zip(contract.fields, contract.record["fields"], strict=True):
        column = columns.get(field.column)
        if column is None:
            if field.is_key:
                fix = "name the column back, or onboard the table under another file name, as a new feed"
                raise Misconfigured(contract.feed, f"the table has no key column {field.column} any more", fix=fix)
            unnamed = sorted(columns.keys() - {each.column for each in contract.fields})
            others = f"; in no contract are {', '.join(unnamed)}" if unnamed else ""
            differences.append(f"column {field.column} is gone: its field is left out{others}")
            continue
        followed = _followed(contract.feed, field, column)
        if followed is None:
            fields.append(record)
            continue
        differences.append(f"column {field.column} ({column.shown}): {_words(field)} becomes {describe(followed)}")
        drafted = {"pg.type": column.shown, "pg.typmod": column.typmod} if "pg.type" in record else {}
        fields.append({**record, **drafted, "type": _as_before(field, followed)})
    gov = dict(contract.gov)
    if table.name != contract.table:
        differences.append(f"table {contract.table} is {table.name} now")
        gov["table"] = table.name
    return Contract.parse({**contract.record, "gov": gov, "fields": fields}, contract.feed), differences


def _followed(feed: str, field: Field, column: TableColumn) -> AvroType | None:
    """The type that takes the column's values; None where the field's own does."""
    if _is_taken(field, column):
        return None
    try:
        kind = field_of(column, typmod=column.typmod, is_key=field.is_key, is_lossless=False)["type"]
    except Unmapped as unmapped:
        fix = "leave the column out of the contract, or give it another type"
        raise Misconfigured(feed, f"column {field.column} ({column.shown}): {unmapped}", fix=fix) from None
    return kind[-1] if isinstance(kind, list) else kind


def _is_taken(field: Field, column: TableColumn) -> bool:
    """Whether the field's own type takes every value of the column."""
    try:
        encoder(column.type, field)
    except Unmapped:
        return False
    return outgrown(column.type, column.typmod, field) is None


def _as_before(field: Field, kind: AvroType) -> AvroType:
    """Nullable as the field was, and with its text branch."""
    branches = [*(["null"] if field.is_nullable else []), kind, *(["string"] if field.is_lossless else [])]
    branches = (
        list(branches[:-1]) if branches[-1] == kind == "string" and len(branches) > 1 + field.is_nullable else branches
    )
    return branches[0] if len(branches) == 1 else branches


def _words(field: Field) -> str:
    return describe(field.branches[0])
