"""File formats of drops: JSON Lines, CSV (RFC 4180) and Parquet. Each writes the same columns.

    _mesh_op, _mesh_token, _mesh_committed_at, then the columns of the contract

No contract has a column that begins with `_mesh_`. A removal has _mesh_op=d and the row as it was, as far as it is known; a
truncate _mesh_op=t and no values. CSV writes NULL as an empty field and empty text as "" (two quotes), so that the two stay apart.
Spreadsheets run text that begins with `=`, `+`, `-`, `@`, a tab or a carriage return: unless `escape_formulas` is off, such text, and
text that begins with an apostrophe, has an apostrophe before it, which whoever reads it by program takes off again. A column that
holds records, arrays or maps is JSON: itself in JSON Lines, JSON as text in CSV and Parquet.
"""

from __future__ import annotations

import base64
import codecs
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from functools import partial
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import ContractBroken, Misconfigured
from sinks.document import Document, utc_text
from sinks.row import RESERVED, RowView, WireColumn
from sinks.spreadsheet import harmless

WriteFile = Callable[[BinaryIO, RowView, Sequence[Document]], None]
META = (f"{RESERVED}op", f"{RESERVED}token", f"{RESERVED}committed_at")


def _meta(document: Document) -> dict[str, Any]:
    change = document.change
    return dict(zip(META, (str(change.op), document.position, utc_text(change.committed_at_ms)), strict=True))


def _own(view: RowView) -> RowView:
    """The view, if none of its columns is named as ours are. `mesh check` refuses such a contract; an older one may run."""
    if taken := [column.name for column in view.columns if column.name.lower().startswith(RESERVED)]:
        raise ContractBroken(
            ", ".join(taken),
            f"begins with {RESERVED}, as columns of the mesh do",
            fix="rename it, or grant the feed without it",
        )
    return view


def write_json_lines(file: BinaryIO, view: RowView, documents: Sequence[Document]) -> None:
    """One JSON object per line."""
    _own(view)
    for document in documents:
        row = {**_meta(document), **(view.json(document.flat()) or {})}
        file.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")


def _csv_field(value: Any) -> str:  # noqa: PLR0911 -- one arm per type
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat() + ("Z" if value.tzinfo else "")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else str(value)
    if not text or any(sign in text for sign in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def write_csv(
    file: BinaryIO,
    view: RowView,
    documents: Sequence[Document],
    *,
    has_bom: bool = False,
    escapes_formulas: bool = True,
) -> None:
    """A header line, then one line per change."""
    names = [column.name for column in _own(view).columns]
    nested = {column.name for column in view.columns if column.type_name in {"array", "map", "record"}}
    texts = (
        {column.name for column in view.columns if column.type_name in {"string", "enum"}} if escapes_formulas else ()
    )
    file.write((codecs.BOM_UTF8 if has_bom else b"") + ",".join([*META, *map(_csv_field, names)]).encode() + b"\r\n")
    for document in documents:
        flat = document.flat()
        row, plain = view.python(flat), (view.json(flat) or {}) if nested else {}
        values = [
            plain[name] if name in nested else harmless(row[name]) if name in texts else row[name] for name in names
        ]
        file.write(",".join(map(_csv_field, [*_meta(document).values(), *values])).encode() + b"\r\n")


_ARROW: Mapping[str, pa.DataType] = {
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    "fixed": pa.binary(),
    "date": pa.date32(),
    "time-millis": pa.time64("us"),
    "time-micros": pa.time64("us"),
    "timestamp-millis": pa.timestamp("us", tz="UTC"),
    "timestamp-micros": pa.timestamp("us", tz="UTC"),
    "local-timestamp-millis": pa.timestamp("us"),
    "local-timestamp-micros": pa.timestamp("us"),
}


def arrow_type(column: WireColumn) -> pa.DataType:
    """The Parquet type of a column. Lossless and nested columns are text, as JSON Lines writes them.

    Nested Parquet would change a file's schema with every field that a record gains, and old files would no longer be read
    together with new ones; as text a column is one and the same in all three formats.
    """
    if column.is_lossless:
        return pa.string()
    if column.logical_type == "decimal":
        precision, scale = column.kind["precision"], column.kind.get("scale", 0)
        return pa.decimal128(precision, scale) if precision <= 38 else pa.string()
    return _ARROW.get(column.logical_type or "", _ARROW.get(column.type_name, pa.string()))


def write_parquet(file: BinaryIO, view: RowView, documents: Sequence[Document]) -> None:
    """One row group per file, zstd."""
    _own(view)
    flats = [document.flat() for document in documents]
    fields = [*(pa.field(name, pa.string()) for name in META[:2]), pa.field(META[2], pa.timestamp("ms", tz="UTC"))]
    metas = [_meta(document) for document in documents]
    arrays: list[pa.Array] = [pa.array([meta[name] for meta in metas], pa.string()) for name in META[:2]]
    arrays.append(pa.array([document.change.committed_at_ms for document in documents], fields[2].type))
    typed, plain = [view.python(flat) for flat in flats], [view.json(flat) or {} for flat in flats]
    for column in view.columns:
        kind = arrow_type(column)
        if kind == pa.string():
            values = [_text(row[column.name]) for row in plain]
        elif column.logical_type is not None and column.logical_type.startswith(("timestamp", "local-timestamp")):
            unit = 1000 if column.logical_type.endswith("millis") else 1
            values = [None if flat[column.wire] is None else flat[column.wire] * unit for flat in flats]
        else:
            values = [row[column.name] for row in typed]
        fields.append(pa.field(column.name, kind, metadata={"doc": column.doc} if column.doc else None))
        arrays.append(pa.array(values, kind))
    pq.write_table(pa.Table.from_arrays(arrays, schema=pa.schema(fields)), file, compression="zstd")


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


FORMATS: Mapping[str, tuple[str, WriteFile]] = {
    "jsonl": (".jsonl", write_json_lines),
    "csv": (".csv", write_csv),
    "parquet": (".parquet", write_parquet),
}


def format_of(name: str, label: str, *, bom: bool = False, escape_formulas: bool = True) -> tuple[str, WriteFile]:
    """File name ending and writer of a format; the last two are CSV's. Raises Misconfigured for an unknown one."""
    if name not in FORMATS:
        raise Misconfigured(f"{label}, format", f"{name} is unknown", fix=f"use one of: {', '.join(FORMATS)}")
    ending, write_file = FORMATS[name]
    if name == "csv":
        write_file = partial(write_csv, has_bom=bom, escapes_formulas=escape_formulas)
    return ending, write_file


def moment_text(seconds: float) -> str:
    """A moment in UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
