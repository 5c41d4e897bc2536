"""Run cells: what was found in a run of messages becomes the cells of a column, all of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sinks.postgresql.table.row import NEGATIVE, NULL, cell, numeric
from sinks.table.run_walk import Places, RunWalk

NOWHERE = -1
SIZES = {"boolean": 1, "real": 4, "double precision": 8, "integer": 4, "date": 4}


class RowRun(RunWalk):
    """A run with what was found in it: per slot a number of each message, `NOWHERE` where nothing was."""

    def __init__(self, messages: Sequence[bytes]) -> None:
        super().__init__(messages)
        self._kept: dict[int, Places] = {}

    def keep(self, slot: int, rows: Places, values: Places) -> None:
        """Note a number of each of these messages."""
        if rows.size == self.count:
            self._kept[slot] = values
            return
        if slot not in self._kept:
            self._kept[slot] = np.full(self.count, NOWHERE, np.int64)
        self._kept[slot][rows] = values

    def kept(self, slot: int, rows: Places) -> Places:
        """What was noted of these messages."""
        found = self._kept.get(slot)
        return np.full(rows.size, NOWHERE, np.int64) if found is None else found[rows]

    def slices(self, slot: int, rows: Places) -> list[bytes]:
        """The bytes that a slot and the next one say: place and length."""
        places, data = self.kept(slot, rows), self.data
        ends = places + self.kept(slot + 1, rows)
        return [data[start:end] for start, end in zip(places.tolist(), ends.tolist(), strict=True)]


def text_cells(run: RowRun, slot: int, rows: Places) -> list[bytes]:
    """Texts and plain bytes, by the slots of place and length; a null has no place."""
    places, sizes, data = run.kept(slot, rows), run.kept(slot + 1, rows), run.data
    heads = np.where(places == NOWHERE, -1, sizes).astype(">i4").view("V4").tolist()
    ends = (places + np.maximum(sizes, 0)).tolist()
    return [head + data[start:end] for head, start, end in zip(heads, places.tolist(), ends, strict=True)]


def number_cells(run: RowRun, slot: int, rows: Places, staged: str) -> list[bytes]:
    """Whole numbers, dates and times, by the slots of place and value."""
    size = SIZES.get(staged, 8)
    return _nulled(run, slot, rows, _fixed(size, f">i{size}", run.kept(slot + 1, rows)))


def raw_cells(run: RowRun, slot: int, rows: Places, size: int) -> list[bytes]:
    """Booleans and floats, whose bytes Avro has the other way round."""
    places = run.kept(slot, rows)
    reversed_ = run.bytes_at(np.maximum(places, 0)[:, None] + np.arange(size - 1, -1, -1))
    return _nulled(run, slot, rows, _fixed(size, f"V{size}", reversed_.view(f"V{size}")[:, 0]))


def numeric_cells(run: RowRun, slot: int, rows: Places, scale: int) -> list[bytes]:
    """See `numeric` in row.py; groups of zeros in front are no matter to PostgreSQL."""
    places, sizes = run.kept(slot, rows), run.kept(slot + 1, rows)
    if not rows.size or sizes.max() > 8:
        raw = run.slices(slot, rows)
        return _nulled(
            run, slot, rows, [cell(numeric(int.from_bytes(each, "big", signed=True), scale)) for each in raw]
        )
    # The eight bytes that end where the number ends; what of them is before it goes by shifting, and the sign comes.
    ends = np.maximum(places + sizes, 0)
    before = 8 * (8 - np.clip(sizes, 1, 8))
    number = run.bytes_at(ends[:, None] + np.arange(-8, 0)).view(">i8")[:, 0].astype(np.int64) << before >> before
    rest = np.where(sizes > 0, np.abs(number), 0).astype(np.uint64)
    shift = -scale % 4
    rest, lowest = np.divmod(rest, np.uint64(10 ** (4 - shift)))
    groups = [lowest * np.uint64(10**shift)]
    while rest.any():
        rest, group = np.divmod(rest, np.uint64(10_000))
        groups.append(group)
    head = [("size", ">i4"), ("count", ">i2"), ("weight", ">i2"), ("sign", ">u2"), ("scale", ">i2")]
    cells = np.empty(rows.size, np.dtype([*head, ("groups", ">u2", (len(groups),))]))
    cells["size"] = 8 + 2 * len(groups)
    cells["count"] = len(groups)
    cells["weight"] = len(groups) - 1 - -(-scale // 4)
    cells["sign"] = np.where(number < 0, NEGATIVE, 0)
    cells["scale"] = scale
    cells["groups"] = np.stack(groups[::-1], axis=1)
    return _nulled(run, slot, rows, cells.view(f"V{cells.itemsize}").tolist())


def _fixed(size: int, kind: str, values: NDArray[Any]) -> list[bytes]:
    """Cells of one size: the size, then the value."""
    cells = np.empty(values.size, np.dtype([("size", ">i4"), ("value", kind)]))
    cells["size"] = size
    cells["value"] = values
    return cells.view(f"V{4 + size}").tolist()


def _nulled(run: RowRun, slot: int, rows: Places, cells: list[bytes]) -> list[bytes]:
    for index in np.flatnonzero(run.kept(slot, rows) == NOWHERE).tolist():
        cells[index] = NULL
    return cells
