"""Draft of what a department pushes: a contract by a JSON Schema of its rows, or by a sample of them in JSON Lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

from producers.draft import Drafted, DraftedTable, LeftOut, stems
from producers.finding import Finding
from producers.pushed.address import EXAMPLE
from producers.pushed.json_schema import SchemaColumn, SchemaTable, read_schema
from producers.pushed.row import RowFault, lines_of, object_of
from producers.stated.sample import SAMPLE_ROWS, SampledColumn, key_of, sampled
from schemas.errors import Misconfigured
from schemas.wire.name import avro_name

SCHEMA = "push"
_SCHEMA_ENDING = ".schema.json"


def draft(address: str, *, is_lossless: bool) -> Drafted:
    """See `producers.draft.Drafting`. `address` is a file. Raises Misconfigured for what is none, or is read as neither."""
    path = Path(address)
    if not path.is_file():
        fix = "name a JSON Schema of one row (.schema.json), or rows as JSON Lines (push:rows.jsonl)"
        raise Misconfigured("mesh draft", f"there is no file {path.name}", fix=fix)
    is_schema = path.name.lower().endswith((_SCHEMA_ENDING, ".json"))
    name = path.name[: -len(_SCHEMA_ENDING)] if path.name.lower().endswith(_SCHEMA_ENDING) else path.stem
    [(table, stem)] = stems([f"{SCHEMA}.{name.rstrip('0123456789-_. ') or name}"])
    drafted = Drafted(address=EXAMPLE, sample="" if is_schema else str(path))
    if is_schema:
        _by_schema(drafted, read_schema(path), table, stem, is_lossless=is_lossless)
    else:
        _by_rows(drafted, path, table, stem, is_lossless=is_lossless)
    return drafted


def _by_schema(drafted: Drafted, schema: SchemaTable, table: str, stem: str, *, is_lossless: bool) -> None:
    for column, reason in schema.left_out:
        fix = "describe it with one type of string, integer, number or boolean, or leave it to rows of its own"
        drafted.left_out.append(LeftOut(table=table, column=column, reason=reason, fix=fix))
    if not schema.key:
        reason = "nothing in the schema says which property names a row"
        fix = 'write `"x-key": ["<property>"]` beside its "properties", and draft again'
        drafted.left_out.append(LeftOut(table=table, column="", reason=reason, fix=fix))
        return
    fields = [_schema_field(column, schema, is_lossless=is_lossless) for column in schema.columns]
    key = [avro_name(name) for name in schema.key]
    drafted.tables.append(DraftedTable(table=table, stem=stem, doc=schema.doc, key=key, fields=fields))
    if schema.is_key_found:
        message = f"key {', '.join(schema.key)} was found by its name"
        fix = f'look at it in {stem}.avsc; the schema may say it: `"x-key": ["<property>"]`'
        drafted.findings.append(Finding(severity="warning", subject=table, message=message, fix=fix))


def _schema_field(column: SchemaColumn, schema: SchemaTable, *, is_lossless: bool) -> dict[str, Any]:
    entry = _field(column.name, column.type, is_key=column.name in schema.key, is_lossless=is_lossless)
    return {**entry, "doc": column.doc} if column.doc else entry


def _by_rows(drafted: Drafted, path: Path, table: str, stem: str, *, is_lossless: bool) -> None:
    sample = _Sample(path)
    columns, count = sampled(None, islice(sample.rows(), SAMPLE_ROWS))
    for name in sorted(sample.nested):
        fix = "send what it holds as columns or rows of their own"
        drafted.left_out.append(LeftOut(table=table, column=name, reason="it holds objects or lists", fix=fix))
    columns = [column for column in columns if column.name not in sample.nested]
    key = key_of(columns, count)
    if key is None:
        reason = f"no column has a value of its own in every row ({count:,} rows were looked at)"
        fix = "let the sender add a column that names each row, and draft again"
        drafted.left_out.append(LeftOut(table=table, column="", reason=reason, fix=fix))
        return
    fields = [
        _field(column.name, sample.type_of(column), is_key=column.name == key, is_lossless=is_lossless)
        for column in columns
    ]
    drafted.tables.append(DraftedTable(table=table, stem=stem, doc="", key=[avro_name(key)], fields=fields))
    message = f"key {key} and types were found in {count:,} rows"
    fix = f"look at them in {stem}.avsc: they hold for every row to come"
    drafted.findings.append(Finding(severity="warning", subject=table, message=message, fix=fix))


class _Sample:
    """Rows of a file. `texts`, `numbers`, `nested`: the columns in which such values were seen."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.texts, self.numbers, self.nested = set[str](), set[str](), set[str]()

    def rows(self) -> Iterator[Mapping[str, Any]]:
        """Each of them. Raises Misconfigured for a line that is none."""
        for number, line in lines_of(self._path):
            try:
                row = object_of(line)
            except RowFault as fault:
                problem = f"line {number} is no row ({fault.why})"
                fix = "write one JSON object a line, as UTF-8"
                raise Misconfigured(f"sample {self._path.name}", problem, fix=fix) from None
            for name, value in row.items():
                seen = self.texts if isinstance(value, str) else self.nested if isinstance(value, dict | list) else None
                if seen is None and isinstance(value, int | Decimal) and not isinstance(value, bool):
                    seen = self.numbers
                if seen is not None:
                    seen.add(name)
            yield row

    def type_of(self, column: SampledColumn) -> Any:
        """As a sample of files has it, but JSON says which values are text: those stay it, and numbers are none."""
        found = column.avro_type()
        if column.name in self.texts:
            is_time = isinstance(found, Mapping) and found["logicalType"] != "decimal"
            return found if is_time else "string"
        return "long" if found == "string" and column.name in self.numbers else found


def _field(column: str, kind: Any, *, is_key: bool, is_lossless: bool) -> dict[str, Any]:
    name = avro_name(column)
    entry: dict[str, Any] = {"name": name, "type": kind}
    if not is_key:
        text = ["string"] if is_lossless and kind != "string" else []
        entry |= {"type": ["null", kind, *text], "default": None}
    return entry if name == column else {**entry, "doc": column, "column": column}
