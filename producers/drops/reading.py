"""Reading a dropped file: its header, then its rows, as text or as a sheet's values. Rows come one by one, never all at once."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from openpyxl import load_workbook

from producers.drops.options import DropSourceOptions
from producers.stated.records import KeyUnread
from producers.stated.staging import Refused

CELL_CHARACTERS_MAX = 8 << 20
SHEET_BYTES_MAX = 8 << 30
SHEET_RATIO_MAX = 200
"""Of bytes in a sheet to bytes in its file: beyond it is no table but a bomb."""


class ReadRow(NamedTuple):
    """One row: where it begins, column to value (empty ones left out), and the row as it stands in the file, for a dead letter.

    `fault` says why it is no row at all.
    """

    line: int
    values: Mapping[str, Any]
    raw: Any
    fault: KeyUnread | None = None


class FileReading(Protocol):
    """An open file of rows."""

    def header(self) -> Sequence[str] | None:
        """Its columns; None where each row names its own. Raises Refused."""
        ...

    def rows(self) -> Iterator[ReadRow]:
        """Its rows, once. Raises Refused."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


def open_reading(path: Path, encoding: str, options: DropSourceOptions, subject: str) -> FileReading:
    """The file, by its name's ending. Raises Refused, OSError."""
    match path.suffix.lower():
        case ".xlsx":
            return _Sheet(path, subject)
        case ".jsonl" | ".ndjson":
            return _JsonLines(path, encoding, subject)
        case ending:
            tab = options.delimiter == "tab" or ending == ".tsv"
            return _Csv(path, encoding, "\t" if tab else options.delimiter, options.null_text, subject)


def raw_bytes(raw: Any) -> bytes:
    """A row as it stood in the file, for its dead letter."""
    if isinstance(raw, str):
        return raw.encode()
    return json.dumps(raw, ensure_ascii=False, default=str).encode()


def _checked(names: Sequence[Any], subject: str) -> list[str]:
    header = ["" if name is None else str(name).strip() for name in names]
    while header and not header[-1]:
        header.pop()
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if not header or twice:
        breach = f"its header names {', '.join(twice)} twice" if header else "it has no header"
        raise Refused(subject, breach, fix="let its first line name each column once")
    return header


class _Csv:
    """See FileReading. RFC 4180, strictly: quoted cells may hold line breaks."""

    def __init__(self, path: Path, encoding: str, delimiter: str, null: str, subject: str) -> None:
        csv.field_size_limit(CELL_CHARACTERS_MAX)
        self._file = io.TextIOWrapper(path.open("rb"), encoding=encoding, newline="")
        self._reader = csv.reader(self._file, delimiter=delimiter, strict=True)
        self._null = null
        self._subject = subject
        self._header: list[str] = []

    def header(self) -> Sequence[str]:
        try:
            self._header = _checked(next(self._reader, []), self._subject)
        except csv.Error as error:
            raise self._refused(error) from None
        return self._header

    def rows(self) -> Iterator[ReadRow]:
        names, null, width, reader = self._header, self._null, len(self._header), self._reader
        line = reader.line_num + 1
        try:
            for cells in reader:
                if len(cells) == width:
                    values = {name: cell for name, cell in zip(names, cells, strict=True) if cell != null}
                    yield ReadRow(line, values, cells)
                elif cells:
                    text = f"{len(cells)} cells, and the header has {width}"
                    yield ReadRow(line, {}, cells, KeyUnread("cells_count", text))
                line = reader.line_num + 1
        except csv.Error as error:
            raise self._refused(error) from None

    def _refused(self, error: csv.Error) -> Refused:
        fix = "let the sender write it as RFC 4180 has it: quotes within a cell doubled, cells with breaks quoted"
        return Refused(self._subject, f"line {self._reader.line_num}: {error}", fix=fix)

    def close(self) -> None:
        self._file.close()


class _JsonLines:
    """See FileReading. One object a line; numbers keep their digits."""

    def __init__(self, path: Path, encoding: str, subject: str) -> None:
        self._file = io.TextIOWrapper(path.open("rb"), encoding=encoding, newline="\n")
        self._subject = subject

    def header(self) -> None:
        return None

    def rows(self) -> Iterator[ReadRow]:
        decode = json.JSONDecoder(parse_float=Decimal).decode
        line = 0
        while text := self._file.readline(CELL_CHARACTERS_MAX):
            line += 1
            if len(text) >= CELL_CHARACTERS_MAX:
                raise Refused(self._subject, f"line {line} is too long", fix="write one row a line")
            text = text.strip()
            if not text:
                continue
            try:
                row = decode(text)
            except (ValueError, RecursionError):
                row = None
            if isinstance(row, dict):
                yield ReadRow(line, row, text)
            else:
                yield ReadRow(line, {}, text, KeyUnread("not_an_object", "it is no JSON object"))

    def close(self) -> None:
        self._file.close()


class _Sheet:
    """See FileReading. The first sheet of a workbook, with the values that its formulas had when it was saved."""

    def __init__(self, path: Path, subject: str) -> None:
        self._subject = subject
        self._header: list[str] = []
        self._line = 1
        try:
            self._require_sane(path)
            self._book = load_workbook(path, read_only=True, data_only=True)
            sheet = self._book.worksheets[0]
            sheet.reset_dimensions()
            self._rows = sheet.iter_rows(values_only=True)
        except Refused:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the reader trips over, it is the file's fault
            fix = "let the sender save it as .xlsx again, without a password"
            raise Refused(subject, f"it is no workbook ({type(error).__name__})", fix=fix) from None

    def _require_sane(self, path: Path) -> None:
        with zipfile.ZipFile(path) as parts:
            size = sum(part.file_size for part in parts.infolist())
        if size > SHEET_BYTES_MAX or size > SHEET_RATIO_MAX * path.stat().st_size + PLAIN_BYTES:
            breach = f"it unpacks to {size:,} bytes, which no table of its size does"
            raise Refused(self._subject, breach, fix="let the sender save it again")

    def header(self) -> Sequence[str]:
        self._header = _checked(next(self._rows, ()), self._subject)
        return self._header

    def rows(self) -> Iterator[ReadRow]:
        names, width = self._header, len(self._header)
        try:
            for cells in self._rows:
                self._line += 1
                if all(cell is None for cell in cells):
                    continue
                if any(cell is not None for cell in cells[width:]):
                    fault = KeyUnread("cells_count", f"more cells than the header, which has {width}")
                    yield ReadRow(self._line, {}, list(cells), fault)
                    continue
                values = {
                    name: cell for name, cell in zip(names, cells, strict=False) if cell is not None and cell != ""
                }
                yield ReadRow(self._line, values, list(cells))
        except Exception as error:  # noqa: BLE001 - likewise
            fix = "let the sender save it again"
            raise Refused(
                self._subject, f"it breaks off at line {self._line} ({type(error).__name__})", fix=fix
            ) from None

    def close(self) -> None:
        self._book.close()


PLAIN_BYTES = 16 << 20
"""A sheet that unpacks to less is no trouble whatever its ratio."""
