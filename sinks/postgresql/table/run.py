"""Rows of a run: what row.py reads of one message, read of thousands of one schema side by side (sinks/table/run_walk.py).

Texts, numbers, times and booleans become cells by columns. Of every other kind only the place is found so; there row.py's own reader
is asked for each cell. What a run cannot read is read message by message, and refused there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from schemas.wire.envelope_walk import BROKEN
from schemas.wire.walk import AvroType, Walk, decode
from sinks.postgresql.table.row import (
    DAYS_TO_2000,
    MICROS_TO_2000,
    TEXT,
    Rows,
    row_reader,
    staging_type,
)
from sinks.postgresql.table.run_cells import NOWHERE, SIZES, RowRun, number_cells, numeric_cells, raw_cells, text_cells
from sinks.row import WireColumn, columns_of, row_record
from sinks.table.reading import RowReader, Taken
from sinks.table.run_walk import Places, Step, sequence, skip, union

RUN_MIN = 128
"""Below this a message by itself is cheaper."""
_FRAME_BYTES = 5
_taken: Callable[[tuple[Any, ...]], Taken] = partial(tuple.__new__, Taken)  # as Taken(...), without a call of Python's
_TIMES = frozenset({"time", "timestamp", "timestamptz"})
_BOUND = {4: 1 << 31, 8: 1 << 63}


Cells = Callable[[RowRun, Places], list[bytes]]


def run_reader(envelope: Mapping[str, Any]) -> RowReader:
    """The reader of an envelope schema's rows, of many at a time where there are many."""
    reader = row_reader(envelope)
    many = _Steps(envelope).reader(reader.read)
    return replace(
        reader, run=lambda messages: many.run(messages) if len(messages) >= RUN_MIN else map(reader.read, messages)
    )


@dataclass(frozen=True, slots=True)
class _RunReader:
    """Reads messages of one envelope schema. `read` is for one message: it raises Rejected for bytes that are no such envelope."""

    read: Callable[[bytes], Taken]
    step: Step
    columns: Sequence[Cells]
    slots: Mapping[str, int]
    unchanged: Callable[[bytes, int], tuple[Any, int]]

    def run(self, messages: Sequence[bytes]) -> list[Taken]:
        """What each comes to. Raises Rejected as `read`."""
        try:
            return self._side_by_side(messages)
        except BROKEN:  # in a value that is read by itself; which message it is in, and why, `read` says
            return list(map(self.read, messages))

    def _side_by_side(self, messages: Sequence[bytes]) -> list[Taken]:
        run = RowRun(messages)
        run.walk(self.step, _FRAME_BYTES)
        slots, everyone = self.slots, np.arange(run.count)
        run.is_odd |= run.kept(slots["token"] + 1, everyone) <= 0
        rows = np.flatnonzero(~run.is_odd)
        is_row = run.kept(slots["after"], rows) != NOWHERE
        there = rows[is_row]
        full: Any = zip(*(column(run, there) for column in self.columns), strict=True)
        cells = full if there.size == rows.size else (next(full) if has_row else None for has_row in is_row.tolist())
        absent: Any = [()] * rows.size
        names = run.kept(slots["unchanged"], rows)
        for index in np.flatnonzero(names != NOWHERE).tolist():
            absent[index] = self.unchanged(run.data, int(names[index]))[0]
        ops, tokens = run.slices(slots["op"], rows), run.slices(slots["token"], rows)
        taken = list(map(_taken, zip(cells, ops, tokens, absent, strict=True)))
        if rows.size == run.count:
            return taken
        found = iter(taken)
        return [
            self.read(messages[index]) if is_odd else next(found) for index, is_odd in enumerate(run.is_odd.tolist())
        ]


class _Steps:
    """Makes the steps over an envelope, and gives out slots."""

    def __init__(self, envelope: Mapping[str, Any]) -> None:
        self._envelope = envelope
        self._walk = Walk()
        self._resolve = self._walk.resolve
        self._count = 0
        self._slots: dict[str, int] = {}
        self._columns: list[Cells] = []

    def reader(self, read: Callable[[bytes], Taken]) -> _RunReader:
        steps: list[Step] = []
        unchanged: Any = None
        for field in self._envelope["fields"]:
            name, kind = field["name"], field["type"]
            if name == "after":
                self._slots[name] = self._slot()
                steps.append(union([self._after(branch) for branch in kind]))
            elif name == "source":
                steps.append(sequence([self._of_source(each) for each in self._resolve(kind)["fields"]]))
            elif name == "op":
                steps.append(self._bytes(self._named(name)))
            elif name == "unchanged":
                self._slots[name] = slot = self._slot()
                [listed] = [branch for branch in kind if branch != "null"]
                unchanged = decode(self._walk, listed)
                steps.append(union([self._placed(slot, branch) for branch in kind]))
            else:
                steps.append(skip(kind, self._resolve))
        return _RunReader(read, sequence(steps), self._columns, self._slots, unchanged)

    def _slot(self) -> int:
        self._count += 2
        return self._count

    def _named(self, name: str) -> int:
        self._slots[name] = slot = self._slot()
        return slot

    def _after(self, branch: AvroType) -> Step:
        if branch == "null":
            return skip(branch, self._resolve)
        record = self._resolve(branch)
        columns = columns_of(row_record(self._envelope))
        row = [self._column(field["type"], column) for field, column in zip(record["fields"], columns, strict=True)]
        over, slot = sequence(row), self._slots["after"]

        def step(run: RowRun, places: Places, rows: Places) -> Places:
            run.keep(slot, rows, places)
            return over(run, places, rows)

        return step  # pyright: ignore[reportReturnType]  -- every run of ours is a Run

    def _of_source(self, field: Mapping[str, Any]) -> Step:
        if field["name"] != "sequence":
            return skip(field["type"], self._resolve)
        taken = self._bytes(self._named("token"))
        return union([skip(branch, self._resolve) if branch == "null" else taken for branch in field["type"]])

    def _placed(self, slot: int, branch: AvroType) -> Step:
        over = skip(branch, self._resolve)

        def step(run: RowRun, places: Places, rows: Places) -> Places:
            run.keep(slot, rows, places)
            return over(run, places, rows)

        return over if branch == "null" else step  # pyright: ignore[reportReturnType]

    def _bytes(self, slot: int) -> Step:
        def step(run: RowRun, places: Places, rows: Places) -> Places:
            length, places = run.lengths(places, rows)
            run.keep(slot, rows, places)
            run.keep(slot + 1, rows, length)
            return places + length

        return step  # pyright: ignore[reportReturnType]

    def _column(self, kind: AvroType, column: WireColumn) -> Step:
        """The step over a column; its cells are added to those of the row."""
        slot = self._slot()
        branches = kind if isinstance(kind, list) else [kind]
        typed = [branch for branch in branches if branch != "null"]
        taken = self._taken(slot, typed[0], column) if len(typed) == 1 else None
        if taken is None:
            return self._by_itself(slot, kind, column)
        step, cells = taken
        self._columns.append(cells)
        if kind is typed[0]:
            return step
        return union([skip(branch, self._resolve) if branch == "null" else step for branch in branches])

    def _taken(self, slot: int, kind: AvroType, column: WireColumn) -> tuple[Step, Cells] | None:
        """Step and cells of a kind that is read by columns."""
        staged = staging_type(column)
        base = kind["type"] if isinstance(kind, Mapping) else kind
        logical = kind.get("logicalType") if isinstance(kind, Mapping) else None
        if base == "string" or (base == "bytes" and logical is None and staged == "bytea"):
            return self._bytes(slot), lambda run, rows: text_cells(run, slot, rows)
        if staged != TEXT and base in {"int", "long"}:
            return self._number(slot, staged, logical), lambda run, rows: number_cells(run, slot, rows, staged)
        if staged == "numeric":
            scale = int(kind.get("scale", 0))
            return self._bytes(slot), lambda run, rows: numeric_cells(run, slot, rows, scale)
        if staged in {"boolean", "real", "double precision"}:
            size = SIZES[staged]

            def step(run: RowRun, places: Places, rows: Places) -> Places:
                run.keep(slot, rows, places)
                return places + size

            return step, lambda run, rows: raw_cells(run, slot, rows, size)  # pyright: ignore[reportReturnType]
        return None

    def _number(self, slot: int, staged: str, logical: str | None) -> Step:
        factor = 1000 if staged in _TIMES and logical and logical.endswith("millis") else 1
        less = {"date": DAYS_TO_2000, "timestamp": MICROS_TO_2000, "timestamptz": MICROS_TO_2000}.get(staged, 0)
        bound = _BOUND[SIZES.get(staged, 8)]
        lowest, highest = -(bound // factor) + less, (bound - 1) // factor

        def step(run: RowRun, places: Places, rows: Places) -> Places:
            found, places = run.numbers(places, rows)
            if found.size and (found.min() < lowest or found.max() > highest):
                # Perhaps no number of that type: whoever reads one message knows.
                run.is_odd[rows[(found < lowest) | (found > highest)]] = True
            run.keep(slot, rows, places)
            run.keep(slot + 1, rows, found * factor - less)
            return places

        return step  # pyright: ignore[reportReturnType]

    def _by_itself(self, slot: int, kind: AvroType, column: WireColumn) -> Step:
        """Only the place of the value is found here."""
        walk = Rows()
        walk.resolve(row_record(self._envelope))
        [name] = walk.row({"fields": [{"type": kind}]}, (column,))
        read = walk.compile("value", name)
        over = skip(kind, self._resolve)

        def step(run: RowRun, places: Places, rows: Places) -> Places:
            run.keep(slot, rows, places)
            return over(run, places, rows)

        self._columns.append(lambda run, rows: [read(run.data, place) for place in run.kept(slot, rows).tolist()])
        return step  # pyright: ignore[reportReturnType]
