"""`mesh draft`: a first contract for each table of a live PostgreSQL database, for a person to finish.

What only a person can decide is filled with what shares least and is marked as undecided (`mesh check` warns of it):

- the table is CONDITIONAL 有条件共享; it can be onboarded at once, and still nothing flows before a grant names its columns;
- a column whose name looks personal is NOT_SHARED 不予共享 and tagged PII: no grant can name it until somebody decides;
- the Chinese name (`doc`) is the comment in the database; where there is none, it is missing.

A table without a key is left out with the reason, a column that no type carries likewise. Nothing is overwritten unasked.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from ops.lint.folder import AGENCY_FILE, CODE, VARIABLE, resolved
from ops.onboarding.draft_type import RECORD_BASIS, Unmapped, field_of
from producers.postgresql.link.catalog import Table, TableColumn, Types, spelled, tables
from producers.postgresql.link.link import connect, translated
from producers.postgresql.onboarding.preflight import Finding, findings
from schemas.contract import Contract
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


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A table, or one column of it, that is not in the draft."""

    table: str
    column: str
    reason: str
    fix: str


@dataclass(slots=True, kw_only=True)
class Draft:
    """What was written, what stayed as it was, what was left out, and what the database still needs."""

    into: Path
    written: list[Path] = field(default_factory=list[Path])
    kept: list[Path] = field(default_factory=list[Path])
    left_out: list[LeftOut] = field(default_factory=list[LeftOut])
    findings: list[Finding] = field(default_factory=list[Finding])

    def to_json(self) -> dict[str, Any]:
        """The outcome as JSON."""
        return {
            "into": str(self.into),
            "written": [str(path) for path in self.written],
            "kept": [str(path) for path in self.kept],
            "left_out": [asdict(item) for item in self.left_out],
            "findings": [asdict(finding) for finding in self.findings],
        }

    def render(self, console: Console | None = None) -> None:
        """Print the outcome for people."""
        console = console or Console()
        for path in self.written:
            console.print(Text(f"wrote  {path}", style="green"), soft_wrap=True)
        for path in self.kept:
            console.print(Text(f"kept   {path} (exists; --force overwrites)", style="dim"), soft_wrap=True)
        for item in self.left_out:
            name = f"{item.table}, column {item.column}" if item.column else item.table
            console.print(Text(f"left out  {name}: {item.reason}", style="yellow"), soft_wrap=True)
            console.print(Text(f"    fix: {item.fix}", style="green"), soft_wrap=True)
        for finding in self.findings:
            style = "bold red" if finding.severity == "error" else "yellow"
            console.print(
                Text(f"{finding.severity}  {finding.subject}: {finding.message}", style=style), soft_wrap=True
            )
            console.print(Text(f"    fix: {finding.fix}", style="green"), soft_wrap=True)
        console.print(f"next: mesh check {self.into}", soft_wrap=True, highlight=False)


def draft(
    dsn: str,
    tables: Sequence[str],
    into: Path,
    agency: str,
    lossless: bool = False,
    *,
    force: bool = False,
    text_encoding: str | None = None,
) -> Draft:
    """Write `agency.yaml` and one contract per table into a folder.

    `dsn` is an address or `${VARIABLE}`; `tables` are `<schema>.<table>` (or `<table>` of `public`), all when empty.
    `lossless` gives columns a text branch where their type cannot hold every value. Existing files stay unless `force`.
    `text_encoding` becomes the source's option: what an SQL_ASCII database's names and text are in.
    Raises Misconfigured for an address or a table that does not exist, Transient when the database does not answer.
    """
    if not CODE.fullmatch(agency):
        raise Misconfigured(f"agency {agency!r}", "is no code", fix="use lower-case letters, digits and _")
    address = resolved(dsn, os.environ, "mesh draft")
    if not address.startswith(("postgresql://", "postgres://")) and "=" not in address:
        raise Misconfigured(
            "mesh draft", "is given no PostgreSQL address", fix="write postgresql://user:password@host/database"
        )
    outcome = Draft(into=into)
    contracts: dict[Path, Contract] = {}
    with connect(address, name="draft", text_encoding=text_encoding) as connection, translated("draft"):
        types = Types(connection)
        for table, stem in _named(_tables(connection, types, tables)):
            record = _Drafting(connection, agency, table, outcome).record(is_lossless=lossless)
            if record is not None:
                contracts[into / f"{stem}.avsc"] = Contract.parse(record, f"{agency}.{stem}")
        outcome.findings.extend(findings(connection, types, list(contracts.values()), text_encoding))
    into.mkdir(parents=True, exist_ok=True)
    _write(outcome, into / AGENCY_FILE, _agency_text(agency, dsn, text_encoding), is_forced=force)
    for path, contract in contracts.items():
        _write(outcome, path, _contract_text(contract.record), is_forced=force)
    return outcome


def _tables(connection: Any, types: Types, wanted: Sequence[str]) -> list[Table]:
    names = [name if "." in name else f"public.{name}" for name in wanted]
    found = tables(connection, types, names or [row[0] for row in connection.execute(_LIST)])
    if absent := sorted(set(names) - set(found)):
        fix = "write <schema>.<table> exactly as in the database; the role needs USAGE on the schema"
        raise Misconfigured("mesh draft", f"there is no table {', '.join(absent)}", fix=fix)
    return [found[name] for name in sorted(found)]


def _named(found: Sequence[Table]) -> Iterator[tuple[Table, str]]:
    """Each table with the last part of its feed's name; tables of one name in two schemas keep apart."""
    taken: set[str] = set()
    for table in found:
        schema, _, name = table.name.partition(".")
        stem = _stem(name)
        if stem in taken:
            stem = f"{_stem(schema)}_{stem}"
        base, number = stem, 2
        while stem in taken:
            stem, number = f"{base}_{number}", number + 1
        taken.add(stem)
        yield table, stem


def _stem(name: str) -> str:
    text = "".join(
        c if c.isascii() and (c.isalnum() or c == "_") else "_" if c.isascii() else f"x{ord(c):x}" for c in name
    )
    text = text.lower()[:60]
    return text if text[:1].isalpha() else f"t{text}"


class _Drafting:
    """One table on its way into a contract."""

    def __init__(self, connection: Any, agency: str, table: Table, outcome: Draft) -> None:
        self._connection = connection
        self._agency = agency
        self._table = table
        self._outcome = outcome

    def record(self, *, is_lossless: bool) -> dict[str, Any] | None:
        """The contract's record; None, with the reason noted, for a table that cannot be a feed."""
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
        name = table.name.partition(".")[2]
        return {
            "type": "record",
            "name": re.sub(r"(^|_)([a-z0-9])", lambda match: match[2].upper(), avro_name(name)),
            "namespace": f"gz.{self._agency}",
            **({"doc": comment} if comment else {}),
            "gov": {
                "provider": self._agency,
                "source": "main",
                "table": table.name,
                "key": [avro_name(column) for column in key],
                "class": "CONDITIONAL",
                "basis": RECORD_BASIS,
                "open": "NOT_OPEN",
                "updateCycle": "REALTIME",
            },
            "fields": fields,
        }

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


def _write(outcome: Draft, path: Path, text: str, *, is_forced: bool) -> None:
    if path.exists() and not is_forced:
        outcome.kept.append(path)
        return
    path.write_text(text, "utf-8")
    outcome.written.append(path)


def _agency_text(agency: str, dsn: str, text_encoding: str | None) -> str:
    given = VARIABLE.fullmatch(dsn)
    variable = given[1] if given else f"MESH_{agency.upper()}_DSN"
    options = f"    options: {{text_encoding: {text_encoding}}}\n" if text_encoding else ""
    return f"""\
# Keep addresses and passwords out of this file: export {variable}=postgresql://user:password@host:5432/database
agency: {agency}
name: {agency}  # 部门名称
contact: ""
sources:
  - name: main
    kind: postgres
    connection: ${{{variable}}}
{options}"""


def _contract_text(record: Mapping[str, Any]) -> str:
    """The contract with one column per line, as people read and compare it."""

    def shown(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False)

    head = ", ".join(
        f"{shown(name)}: {shown(record[name])}" for name in ("type", "name", "namespace", "doc") if name in record
    )
    fields = ",\n  ".join(shown(entry) for entry in record["fields"])
    return f'{{{head},\n "gov": {shown(record["gov"])},\n "fields": [\n  {fields}]}}\n'
