"""One dropped file as a statement: read for its sum and encoding, then for its rows (FD-03, FD-08)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from producers.drops.encoding import TextScan
from producers.drops.folder import DONE, DroppedFile
from producers.drops.options import DropSourceOptions
from producers.drops.reading import FileReading, ReadRow, open_reading, raw_bytes
from producers.stated.op import is_delete
from producers.stated.records import KeyUnread, StatedRows
from producers.stated.staging import Refused, Staging
from schemas.contract import Contract
from schemas.errors import Rejected, Transient

PAUSE_ROWS = 2_000


class FileStatement:
    """See `producers.stated.teller.TableStatement`. `has_taken` tells whether a file of that content was taken before."""

    def __init__(self, contract: Contract, file: DroppedFile, options: DropSourceOptions, former_sums: Any) -> None:
        self._contract, self._file, self._options = contract, file, options
        self._has_taken = former_sums
        self._scan = TextScan(file.path, self.subject, options.encoding)
        self.is_whole = options.mode == "full"

    @property
    def subject(self) -> str:
        """See TableStatement."""
        return f"{self._contract.feed}, file {self._file.name}"

    def about(self) -> Mapping[str, Any]:
        """See TableStatement."""
        file, sha256 = self._file, self._scan.sha256
        return {
            "name": file.name,
            "file": file.name,
            "stamp": list(file.stamp),
            "turn": list(file.turn),
            "sha256": sha256,
            "token": sha256[:12],
            "encoding": {"utf-8-sig": "UTF-8", "gb18030": "GB18030"}.get(self._scan.encoding, "XLSX"),
            "at_ms": file.stamp.mtime_ns // 1_000_000,
        }

    def rows(self, rows: StatedRows, staging: Staging) -> Iterator[None]:
        """See TableStatement."""
        is_text = self._file.path.suffix.lower() != ".xlsx"
        yield from self._scan.pieces(is_text=is_text)
        if not self.is_whole and self._has_taken(self._scan.sha256):
            return  # the same list of changes again, whatever it is called now
        try:
            reading = open_reading(self._file.path, self._scan.encoding, self._options, self.subject)
        except OSError as error:
            raise Transient(f"{self.subject} cannot be read: {error.strerror}") from error
        try:
            yield from self._stage(reading, rows, staging)
        finally:
            reading.close()
        if self._file.stamped() != self._file.stamp:
            fix = "let it be written under another name and renamed, or say `settled_by: done`"
            raise Transient(f"{self.subject} changed while it was read; it is read again", fix=fix)
        self._require_promised(staging)

    def _stage(self, reading: FileReading, rows: StatedRows, staging: Staging) -> Iterator[None]:
        header = reading.header()
        if header is not None:
            require_columns(self._contract, header, self.subject)
        renamed = {field.column: field.name for field in self._contract.fields if field.column != field.name}
        op_column = None if self.is_whole else self._options.op_column
        for count, row in enumerate(reading.rows(), 1):
            if count % PAUSE_ROWS == 0:
                yield
            try:
                self._add(row, rows, staging, renamed, op_column)
            except Rejected as error:
                staging.reject(error, row.line, raw_bytes(row.raw))

    def _add(
        self, row: ReadRow, rows: StatedRows, staging: Staging, renamed: Mapping[str, str], op_column: str | None
    ) -> None:
        if row.fault is not None:
            raise row.fault
        values = row.values
        if renamed:
            values = {renamed.get(name, name): value for name, value in values.items()}
        if op_column is not None and (op := row.values.get(op_column)) is not None:
            is_gone = is_delete(op)
            if is_gone is None:
                raise KeyUnread("unknown_op", f"column {op_column} is none of c, u, d")
            if is_gone:
                staging.add(rows.key(values), None, row.line)
                return
        staging.add(*rows.encoded(values), row.line)

    def _require_promised(self, staging: Staging) -> None:
        """What the marker beside the file promises of it, if it promises anything: a file cut off between two rows looks whole."""
        marker = self._file.path.with_name(self._file.name + DONE)
        try:
            text = marker.read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            return
        try:
            promised: Any = json.loads(text)
        except ValueError:
            return
        if not isinstance(promised, dict):
            return
        stated = {"rows": staging.count + staging.letters, "sha256": self._scan.sha256}
        for name, value in stated.items():
            if name in promised and promised[name] != value:
                fix = "let the sender write the file and its marker again"
                raise Refused(self.subject, f"its marker promises other {name} than it has", fix=fix)


def require_columns(contract: Contract, header: Any, subject: str) -> None:
    """A file without one of the contract's columns is another table's. Raises Refused."""
    missing = [field.column for field in contract.fields if field.column not in header]
    if missing:
        breach = f"its header has no {', '.join(missing)}"
        fix = f"let its first line name all of: {', '.join(field.column for field in contract.fields)} (further ones may stand there)"
        raise Refused(subject, breach, fix=fix)
