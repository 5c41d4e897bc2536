"""Files: a data set as a file to keep: CSV for spreadsheets, JSON, Parquet.

| format  | what                                                                                                                |
|---------|---------------------------------------------------------------------------------------------------------------------|
| csv     | UTF-8 with a byte order mark, by which Excel knows Chinese; the columns' names in Chinese; formulas have an apostrophe |
| json    | one document, exactly what the API's rows are                                                                        |
| parquet | zstd; dates are dates, amounts decimals, numbers numbers; the columns' names and the terms as metadata                |
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import islice
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from ops.opendata.terms import Terms
from sinks.spreadsheet import harmless

BATCH = 5_000
Rows = Iterable[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What a file says of its set: its columns as the listing has them (ops/opendata/listing.py), and the terms."""

    dataset: str
    title: str
    last_change: str | None
    columns: Sequence[Mapping[str, Any]]
    terms: Terms

    @property
    def names(self) -> list[str]:
        """The columns' codes, in order."""
        return [column["column"] for column in self.columns]


def write_csv(file: BinaryIO, told: Described, rows: Rows) -> None:
    """A line of names, then one for each row (RFC 4180); null is an empty cell."""
    file.write(codecs.BOM_UTF8)
    text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
    writer = csv.writer(text)
    writer.writerow([harmless(column["title"] or column["column"]) for column in told.columns])
    writer.writerows([harmless(cell(row.get(name))) for name in told.names] for row in rows)
    text.detach()


def cell(value: Any) -> Any:
    """A value as CSV has it: what is no text as JSON, null as nothing."""
    return value if isinstance(value, str) or value is None else json.dumps(value, ensure_ascii=False)


def write_json(file: BinaryIO, told: Described, rows: Rows) -> None:
    """One object: the set, its columns by name, its terms, and the rows."""
    head = {
        "dataset": told.dataset,
        "title": told.title,
        "last_change": told.last_change,
        "licence": told.terms.licence.url,
        "columns": [{name: column[name] for name in ("column", "title", "unit")} for column in told.columns],
    }
    file.write(json.dumps(head, ensure_ascii=False)[:-1].encode() + b', "rows": [')
    for number, row in enumerate(rows):
        shown = {name: row.get(name) for name in told.names}
        file.write((b",\n" if number else b"\n") + json.dumps(shown, ensure_ascii=False).encode())
    file.write(b"\n]}\n")


def write_parquet(file: BinaryIO, told: Described, rows: Rows) -> None:
    """Row groups of BATCH rows. Raises ValueError for a value that its column's type cannot hold, rather than leave it out."""
    makers = [_maker(column) for column in told.columns]
    schema = pa.schema(
        [
            pa.field(column["column"], kind, metadata={"title": column["title"] or ""})
            for column, (kind, _) in zip(told.columns, makers, strict=True)
        ],
        metadata={"title": told.title, "licence": told.terms.licence.url, "last_change": told.last_change or ""},
    )
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in _batches(rows):
            arrays = [
                pa.array([make(row.get(name)) for row in batch], kind)
                for name, (kind, make) in zip(told.names, makers, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _batches(rows: Rows) -> Iterator[list[Mapping[str, Any]]]:
    left = iter(rows)
    while batch := list(islice(left, BATCH)):
        yield batch


def _maker(column: Mapping[str, Any]) -> tuple[pa.DataType, Callable[[Any], Any]]:
    """The type of a column, and how a value becomes one of it."""
    match column["type"]:
        case "date":
            return pa.date32(), lambda value: None if value is None else date.fromisoformat(value)
        case "decimal":
            return pa.decimal128(38, 2), lambda value: None if value is None else Decimal(value)
        case "integer" | "number" | "boolean" as word:
            return {"integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}[word], lambda value: value
        case _:
            return pa.string(), cell


FORMATS: Mapping[str, tuple[str, Callable[[BinaryIO, Described, Rows], None]]] = {
    "csv": ("text/csv", write_csv),
    "json": ("application/json", write_json),
    "parquet": ("application/vnd.apache.parquet", write_parquet),
}
"""By the word for a format: its media type, and what writes it."""
