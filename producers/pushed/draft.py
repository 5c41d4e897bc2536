"""Draft of what a department pushes: a contract by a JSON Schema of its rows, or by a sample of them in JSON Lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    columns, count = sampled(None, islice(_rows(path), SAMPLE_ROWS))
    key = key_of(columns, count)
    if key is None:
        reason = f"no column has a value of its own in every row ({count:,} rows were looked at)"
        fix = "let the sender add a column that names each row, and draft again"
        drafted.left_out.append(LeftOut(table=table, column="", reason=reason, fix=fix))
        return
    fields = [
        _field(column.name, _type(column), is_key=column.name == key, is_lossless=is_lossless) for column in columns
    ]
    drafted.tables.append(DraftedTable(table=table, stem=stem, doc="", key=[avro_name(key)], fields=fields))
    message = f"key {key} and types were found in {count:,} rows"
    fix = f"look at them in {stem}.avsc: they hold for every row to come"
    drafted.findings.append(Finding(severity="warning", subject=table, message=message, fix=fix))


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    for number, line in lines_of(path):
        try:
            yield object_of(line)
        except RowFault as fault:
            problem = f"line {number} is no row ({fault.why})"
            raise Misconfigured(f"sample {path.name}", problem, fix="write one JSON object a line, as UTF-8") from None


def _type(column: SampledColumn) -> Any:
    """As a sample has it, but text stays text: JSON says which values are numbers."""
    is_text = any(isinstance(value, str) for value in column.values)
    found = column.avro_type()
    return (
        "string"
        if is_text and (found in {"long", "boolean"} if isinstance(found, str) else _is_decimal(found))
        else found
    )


def _is_decimal(kind: Any) -> bool:
    return kind.get("logicalType") == "decimal"


def _field(column: str, kind: Any, *, is_key: bool, is_lossless: bool) -> dict[str, Any]:
    name = avro_name(column)
    entry: dict[str, Any] = {"name": name, "type": kind}
    if not is_key:
        text = ["string"] if is_lossless and kind != "string" else []
        entry |= {"type": ["null", kind, *text], "default": None}
    return entry if name == column else {**entry, "doc": column, "column": column}
