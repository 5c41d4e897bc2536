"""Draft of files: a contract for each table that they are of, by their headers and a sample of the newest one's rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from producers.draft import Drafted, DraftedTable, LeftOut, stems
from producers.drops.encoding import TextScan
from producers.drops.folder import ENDINGS, name_pattern
from producers.drops.options import DropSourceOptions
from producers.drops.reading import open_reading
from producers.finding import Finding
from producers.stated.sample import SAMPLE_ROWS, SampledColumn, key_of, sampled
from producers.stated.staging import Refused
from schemas.errors import Misconfigured
from schemas.form import read
from schemas.wire.name import avro_name

SCHEMA = "files"


def draft(address: str, names: Sequence[str], options: Mapping[str, Any], *, is_lossless: bool) -> Drafted:
    """See `producers.draft.Drafting`. `address` is a folder, or one file in it. Raises Misconfigured for what is neither."""
    path = Path(address.removeprefix("file://")).absolute()
    if not path.exists():
        raise Misconfigured(
            "mesh draft", f"there is no {path.name}", fix="name a folder, or a .csv, .xlsx or .jsonl file"
        )
    drafted = Drafted(address=str(path if path.is_dir() else path.parent))
    wanted = {name.rpartition(".")[2] for name in names}
    files = dict(_newest(path))
    if missing := sorted(wanted - files.keys()):
        fix = f"name one of {', '.join(sorted(files)) or 'those that are there: there are none'}"
        raise Misconfigured("mesh draft", f"no file of {', '.join(missing)} is there", fix=fix)
    chosen = {table: file for table, file in files.items() if not wanted or table in wanted}
    form = read(DropSourceOptions, options, "mesh draft")
    for name, stem in stems(f"{SCHEMA}.{table}" for table in sorted(chosen)):
        _table(drafted, name, stem, chosen[name.partition(".")[2]], form, is_lossless=is_lossless)
    return drafted


def _newest(path: Path) -> Iterator[tuple[str, Path]]:
    """Each table with its newest file: what stands before the digits that say a file's turn is the table's name."""
    found = [path] if path.is_file() else sorted(entry for entry in path.iterdir() if entry.is_file())
    for file in found:
        if file.suffix.lower().lstrip(".") in ENDINGS:
            table = file.stem.rstrip("0123456789-_.") or file.stem
            if name_pattern(table).fullmatch(file.name):
                yield table, file


def _table(
    drafted: Drafted, name: str, stem: str, file: Path, options: DropSourceOptions, *, is_lossless: bool
) -> None:
    subject = f"file {file.name}"
    try:
        scan = TextScan(file, subject, options.encoding)
        for _ in scan.pieces(is_text=file.suffix.lower() != ".xlsx"):
            pass
        reading = open_reading(file, scan.encoding, options, subject)
        try:
            header = reading.header()
            rows = (row.values for row in islice(reading.rows(), SAMPLE_ROWS) if row.fault is None)
            columns, count = sampled(header, rows)
        finally:
            reading.close()
    except Refused as refusal:
        drafted.left_out.append(LeftOut(table=name, column="", reason=refusal.problem, fix=refusal.fix))
        return
    key = key_of(columns, count)
    if key is None:
        reason = f"no column of {file.name} has a value of its own in every row ({count:,} rows were looked at)"
        fix = "let the sender add a column that names each row, and draft again"
        drafted.left_out.append(LeftOut(table=name, column="", reason=reason, fix=fix))
        return
    fields = [_field(column, is_key=column.name == key, is_lossless=is_lossless) for column in columns]
    drafted.tables.append(DraftedTable(table=name, stem=stem, doc="", key=[avro_name(key)], fields=fields))
    message = f"key {key} and types were found in {count:,} rows of {file.name}"
    fix = f"look at them in {stem}.avsc: they hold for every file to come"
    drafted.findings.append(Finding(severity="warning", subject=name, message=message, fix=fix))


def _field(column: SampledColumn, *, is_key: bool, is_lossless: bool) -> dict[str, Any]:
    name, kind = avro_name(column.name), column.avro_type()
    entry: dict[str, Any] = {"name": name, "type": kind}
    if not is_key:
        text = ["string"] if is_lossless and kind != "string" else []
        entry |= {"type": ["null", kind, *text], "default": None}
    return entry if name == column.name else {**entry, "doc": column.name, "column": column.name}
