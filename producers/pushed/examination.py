"""Examination of a batch: whether every row of it can be taken, before any of it is (PU-03)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from producers.pushed.answer import ERRORS_TOLD, PushAnswer, faulty, refused
from producers.pushed.options import PushOptions
from producers.pushed.row import PushedRows, RowFault, lines_of
from producers.stated.zone import zone_of
from schemas.agreement.directory import FeedEntry


class PushExamination:
    """Used by one thread."""

    def __init__(self, options: PushOptions) -> None:
        self._options = options
        self._rows: dict[str, PushedRows] = {}

    def faults(self, entry: FeedEntry, path: Path, is_whole: bool) -> PushAnswer | None:
        """What is wrong with a batch; None where nothing is."""
        rows = self._rows_of(entry)
        faults: list[Mapping[str, Any]] = []
        bad = count = 0
        for line, text in lines_of(path):
            count += 1
            if count > self._options.rows_max and not is_whole:
                return self._too_many()
            try:
                rows.encoded(text, is_whole=is_whole)
            except RowFault as fault:
                bad += 1
                if bad <= ERRORS_TOLD:
                    faults.append({"line": line, "column": fault.column, "why": fault.why})
        if bad:
            return faulty(faults, bad)
        if not count and not is_whole:
            return refused(400, "it has no rows", "send one JSON object a line, as Content-Type application/x-ndjson")
        return None

    def _rows_of(self, entry: FeedEntry) -> PushedRows:
        known = self._rows.get(entry.feed)
        if known is None or known.entry is not entry:
            zone = zone_of(self._options.time_zone, entry.contract.source_name)
            known = self._rows[entry.feed] = PushedRows(entry, zone, self._options.op_column)
        return known

    def _too_many(self) -> PushAnswer:
        fix = "send it in parts, each under a key of its own; or as a whole statement, by ?mode=full"
        return refused(413, f"it has more than {self._options.rows_max:,} rows", fix)
