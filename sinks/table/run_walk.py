"""Run walk: steps through the Avro bytes of many messages of one schema at once, field by field for all of them.

A walk of one message (walk.py) pays for every field of it some hundred nanoseconds of Python. Here one step moves through that field
of thousands of messages by a few array operations, so a field costs some nanoseconds each. Messages that one step cannot read, or
that do not end where their schema says, are `odd`: whoever reads a run walks those one by one, and hears there what is wrong.

Places only ever grow, so a message whose walk ends at its end was never left on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.wire.walk import AvroType

Places = NDArray[np.int64]
Numbers = NDArray[np.int64]
Step = Callable[["RunWalk", Places, Places], Places]
"""Step over a field: the run, where each message is, and which messages of the run these are. Returns where each is then."""

_LENGTH_MAX = 1 << 31
_SHIFT_MAX = 63
_VARINT_BYTES = 10


class RunWalk:
    """One run. `data` has the messages one after another; `is_odd` says of each whether it has to be walked by itself."""

    def __init__(self, messages: Sequence[bytes]) -> None:
        self.data = b"".join(messages)
        self.count = len(messages)
        self.is_odd = np.zeros(self.count, np.bool_)
        self._bytes = np.frombuffer(self.data, np.uint8)
        sizes = np.fromiter(map(len, messages), np.int64, self.count)
        self._ends = np.cumsum(sizes)
        self._starts = self._ends - sizes

    def walk(self, step: Step, skipped: int) -> None:
        """Take one step over everything behind the first bytes of each message."""
        ends = step(self, self._starts + skipped, np.arange(self.count))
        self.is_odd |= ends != self._ends

    def bytes_at(self, places: Places) -> NDArray[np.uint8]:
        """The bytes there; behind the end of all, the last one."""
        return self._bytes.take(places, mode="clip")

    def numbers(self, places: Places, rows: Places) -> tuple[Numbers, Places]:
        """The whole numbers there, and the places behind them."""
        first = self.bytes_at(places)
        places = places + 1
        number = (first & 127).astype(np.uint64)
        more = np.flatnonzero(first > 127)
        shift = 7
        while more.size:
            is_all = more.size == places.size
            byte = self.bytes_at(places if is_all else places[more])
            part = (byte & 127).astype(np.uint64) << np.uint64(shift)
            if is_all:
                number |= part
                places = places + 1
            else:
                number[more] |= part
                places[more] += 1
            if shift == _SHIFT_MAX:
                self.is_odd[rows[more[byte > 1]]] = True
                break
            more, shift = more[byte > 127], shift + 7
        sign = -(number & np.uint64(1)).astype(np.int64)
        return (number >> np.uint64(1)).astype(np.int64) ^ sign, places

    def lengths(self, places: Places, rows: Places) -> tuple[Places, Places]:
        """The lengths there, and the places behind them."""
        first = self.bytes_at(places)
        if first.size and first.max() < 128:
            is_bad = first & 1
            length = (first >> 1).astype(np.int64)
            places = places + 1
        else:
            length, places = self.numbers(places, rows)
            is_bad = (length < 0) | (length > _LENGTH_MAX)
        if is_bad.any():
            self.is_odd[rows[is_bad != 0]] = True
            length[is_bad != 0] = 0
        return length, places

    def choose(self, branches: Sequence[Step], places: Places, rows: Places) -> Places:
        """Step over a union; each message over the branch that it has."""
        tags = self.bytes_at(places)
        places = places + 1
        if not tags.size:
            return places
        first = int(tags[0])
        if (tags == first).all():
            if first & 1 or first >> 1 >= len(branches):
                self.is_odd[rows] = True
                return places
            return branches[first >> 1](self, places, rows)
        known = np.zeros(tags.size, np.bool_)
        for index, branch in enumerate(branches):
            is_here = tags == 2 * index
            known |= is_here
            here = np.flatnonzero(is_here)
            if here.size:
                places[here] = branch(self, places[here], rows[here])
        self.is_odd[rows[~known]] = True
        return places

    def repeat(self, item: Step, places: Places, rows: Places) -> Places:
        """Step over the blocks of an array or map. A block that says its size, which nobody here writes, is odd."""
        places, ends = places.copy(), self._ends[rows]
        at = np.arange(places.size)
        while at.size:
            counts, places[at] = self.numbers(places[at], rows[at])
            # No item is smaller than a byte, so a larger count is a broken message, and not to be counted to.
            is_open = counts > 0
            self.is_odd[rows[at[(counts < 0) | (counts > ends[at] - places[at])]]] = True
            is_open &= ~self.is_odd[rows[at]]
            at, left = at[is_open], counts[is_open]
            here = at
            while here.size:
                places[here] = item(self, places[here], rows[here])
                left = left - 1
                self.is_odd[rows[here[places[here] >= ends[here]]]] = True
                is_open = (left > 0) & ~self.is_odd[rows[here]]
                here, left = here[is_open], left[is_open]
            at = at[~self.is_odd[rows[at]]]
        return places


def _forward(size: int, _run: RunWalk, places: Places, _rows: Places) -> Places:
    return places + size if size else places


def _number(run: RunWalk, places: Places, rows: Places) -> Places:
    byte = run.bytes_at(places)
    places = places + 1
    more = np.flatnonzero(byte > 127)
    for _ in range(_VARINT_BYTES - 1):
        if not more.size:
            break
        if more.size == places.size:
            byte = run.bytes_at(places)
            places = places + 1
        else:
            byte = run.bytes_at(places[more])
            places[more] += 1
        more = more[byte > 127]
    run.is_odd[rows[more]] = True
    return places


def _bytes(run: RunWalk, places: Places, rows: Places) -> Places:
    length, places = run.lengths(places, rows)
    return places + length


def _each(steps: Sequence[Step], run: RunWalk, places: Places, rows: Places) -> Places:
    for step in steps:
        places = step(run, places, rows)
    return places


def sequence(steps: Sequence[Step]) -> Step:
    """One step over several fields."""
    return partial(_each, tuple(steps))


def union(branches: Sequence[Step]) -> Step:
    """One step over a union of these branches."""
    steps = tuple(branches)
    return lambda run, places, rows: run.choose(steps, places, rows)


def skip(kind: AvroType, resolve: Callable[[AvroType], AvroType]) -> Step:  # noqa: C901, PLR0911 -- one arm per type
    """One step over a value that nobody asked for."""
    kind = resolve(kind)
    if isinstance(kind, list):
        return union([skip(branch, resolve) for branch in kind])
    name: Any = kind["type"] if isinstance(kind, Mapping) else kind
    match name:
        case "null":
            return partial(_forward, 0)
        case "boolean":
            return partial(_forward, 1)
        case "int" | "long" | "enum":
            return _number
        case "float":
            return partial(_forward, 4)
        case "double":
            return partial(_forward, 8)
        case "string" | "bytes":
            return _bytes
        case "fixed":
            return partial(_forward, int(kind["size"]))
        case "record":
            return sequence([skip(field["type"], resolve) for field in kind["fields"]])
        case "array":
            item = skip(kind["items"], resolve)
            return lambda run, places, rows: run.repeat(item, places, rows)
        case "map":
            entry = sequence([_bytes, skip(kind["values"], resolve)])
            return lambda run, places, rows: run.repeat(entry, places, rows)
        case _:
            return skip(name, resolve)
