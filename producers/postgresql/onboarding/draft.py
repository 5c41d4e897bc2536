"""Draft: what a live database says of its tables; one without a key is left out, and a column that no type carries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from producers.draft import Drafted, DraftedTable, LeftOut, stems
from producers.postgresql.link.catalog import CatalogTable, SourceTypes, TableColumn, spelled, tables
from producers.postgresql.link.link import connect, translated
from producers.postgresql.onboarding.draft_type import Unmapped, field_of
from producers.postgresql.onboarding.preflight import findings
from schemas.errors import Misconfigured
from schemas.wire.name import avro_name

_LIST = """
SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%' ORDER BY 1"""

_COMMENT = "SELECT coalesce(obj_description(%s, 'pg_class'), '')"

_UNIQUE = """
SELECT array_agg(a.attname::text ORDER BY k.place) FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, place)
JOIN pg_attribute a ON a.attnum = k.attnum
WHERE i.indrelid = %s AND a.attrelid = i.indrelid AND i.indisunique AND i.indisvalid AND i.indimmediate
  AND i.indpred IS NULL AND i.indexprs IS NULL AND k.place <= i.indnkeyatts
GROUP BY i.indexrelid, i.indnkeyatts HAVING bool_and(a.attnotnull) ORDER BY i.indnkeyatts, i.indexrelid LIMIT 1"""


def draft(address: str, names: Sequence[str], agency: str, text_encoding: str | None, *, is_lossless: bool) -> Drafted:
    """See `producers.draft.Drafting`; a table of `public` needs no schema."""
    outcome = Drafted()
    with connect(address, name="draft", text_encoding=text_encoding) as connection, translated("draft"):
        types = SourceTypes(connection)
        found = _tables(connection, types, names)
        for name, stem in stems(found):
            drafted = _TableDraft(connection, found[name], outcome).drafted(stem, is_lossless=is_lossless)
            if drafted is not None:
                outcome.tables.append(drafted)
        contracts = [drafted.contract(agency) for drafted in outcome.tables]
        outcome.findings.extend(findings(connection, types, contracts, text_encoding))
    return outcome


def _tables(connection: Any, types: SourceTypes, wanted: Sequence[str]) -> dict[str, CatalogTable]:
    names = [name if "." in name else f"public.{name}" for name in wanted]
    found = tables(connection, types, names or [row[0] for row in connection.execute(_LIST)])
    if absent := sorted(set(names) - set(found)):
        fix = "write <schema>.<table> exactly as in the database; the role needs USAGE on the schema"
        raise Misconfigured("mesh draft", f"there is no table {', '.join(absent)}", fix=fix)
    return {name: found[name] for name in sorted(found)}


class _TableDraft:
    """One table on its way into a contract."""

    def __init__(self, connection: Any, table: CatalogTable, outcome: Drafted) -> None:
        self._connection = connection
        self._table = table
        self._outcome = outcome

    def drafted(self, stem: str, *, is_lossless: bool) -> DraftedTable | None:
        """The table; None, with the reason noted, for one that cannot be a feed."""
        table = self._table
        if table.persistence != "p":
            self._leave_out(
                "", "is not logged, so its changes cannot be captured", f"ALTER TABLE {spelled(table.name)} SET LOGGED;"
            )
            return None
        key = self._key()
        if not key:
            reason = "has no primary key and no unique index over NOT NULL columns: updates and deletes could not be told apart"
            fix = f"ALTER TABLE {spelled(table.name)} ADD PRIMARY KEY (…); or name the columns that make a row unique"
            self._leave_out("", reason, fix)
            return None
        fields = list(self._fields(key, is_lossless=is_lossless))
        names = {entry["name"] for entry in fields}
        if lost := [column for column in key if avro_name(column) not in names]:
            fix = "add a key of another type, or publish the table without it as another table"
            self._leave_out("", f"key column {', '.join(lost)} has a type that no contract carries", fix)
            return None
        row = self._connection.execute(_COMMENT, (table.oid,)).fetchone()
        comment = (row[0] if row else "").strip()
        names_of_key = [avro_name(column) for column in key]
        return DraftedTable(table=table.name, stem=stem, doc=comment, key=names_of_key, fields=fields)

    def _leave_out(self, column: str, reason: str, fix: str) -> None:
        self._outcome.left_out.append(LeftOut(table=self._table.name, column=column, reason=reason, fix=fix))

    def _key(self) -> list[str]:
        primary = sorted((column for column in self._table.columns if column.is_key), key=_key_place)
        if primary:
            return [column.name for column in primary]
        row = self._connection.execute(_UNIQUE, (self._table.oid,)).fetchone()
        return list(row[0]) if row else []

    def _fields(self, key: Sequence[str], *, is_lossless: bool) -> Iterator[dict[str, Any]]:
        for column in self._table.columns:
            if column.is_generated:
                # PG-36: the log does not carry it everywhere; the readers can compute it.
                fix = "none needed: its value follows from the other columns"
                self._leave_out(column.name, "is a generated column", fix)
                continue
            try:
                yield field_of(column, typmod=column.typmod, is_key=column.name in key, is_lossless=is_lossless)
            except Unmapped as unmapped:
                self._leave_out(column.name, f"({column.shown}) {unmapped}", "add it as a text column, if it is needed")


def _key_place(column: TableColumn) -> int:
    return column.key_place
