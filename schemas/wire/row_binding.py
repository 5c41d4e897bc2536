"""SpanBinding: expressions over the spans of a scanned row, comparing encoded bytes where that is enough."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from schemas.contract import AvroType
from schemas.expression.column_kind import VERBATIM, branches_of, kind_of
from schemas.wire.scan import Shape
from schemas.wire.spans import Types, read_text
from schemas.wire.varint import long_bytes, read_long, text_bytes

Load = Callable[[bytes, int, int], Any]


class SpanBinding:
    """Finds columns in `b` by the boundaries in the tuple named `row`; `loads` are the lines to run before the test.

    Equality with constants compares the column's bytes with the constants' encodings. That relies on writers that encode
    lengths and numbers in their shortest form, as every Avro library does.
    """

    def __init__(self, shape: Shape, slot: Mapping[int, int], row: str, keep: Callable[[Any], str]) -> None:
        self._shape = shape
        self._slot = slot
        self._row = row
        self._keep = keep
        self._names: dict[str, str] = {}
        self.loads: list[str] = []

    def span(self, column: str) -> tuple[str, str]:
        """Source of the column's start and end."""
        place = self._shape.columns.index(column)
        return f"{self._row}[{self._slot[place]}]", f"{self._row}[{self._slot[place + 1]}]"

    def value(self, column: str) -> str:
        """A local variable, filled once."""
        if column not in self._names:
            start, end = self.span(column)
            name = self._names[column] = f"{self._row}_{len(self._names)}"
            load = self._keep(loader(self._shape.types, self._shape.column_types[column]))
            self.loads.append(f"{name} = {load}(b, {start}, {end})")
        return self._names[column]

    def text(self, value: str) -> bytes:
        """Text compares as its UTF-8 bytes, whose order is that of the code points."""
        return value.encode("utf-8", "surrogatepass")

    def equals(self, column: str, values: Sequence[Any]) -> str | None:
        """Compare bytes with bytes, for columns whose values have one encoding."""
        avro_type = self._shape.column_types[column]
        encoded = [encode(self._shape.types, avro_type, value) for value in values]
        if None in encoded:
            return None
        start, end = self.span(column)
        possible = {value for value in encoded if value}
        if not possible:
            return "False"
        if len(possible) == 1:
            return f"(b[{start}:{end}] == {self._keep(possible.pop())})"
        return f"(b[{start}:{end}] in {self._keep(frozenset(possible))})"


def encode(types: Types, avro_type: AvroType, value: Any) -> bytes | None:
    """The one encoding of a raw value as this type; b"" if it cannot occur; None if equal values may differ in bytes."""
    branches = [types.resolve(branch) for branch in branches_of(avro_type)]
    is_union = isinstance(avro_type, list)
    if value is None:
        return long_bytes(branches.index("null")) if is_union and "null" in branches else b""
    first = next((index for index, branch in enumerate(branches) if branch != "null"), 0)
    prefix = long_bytes(first) if is_union else b""
    kind = kind_of(avro_type).kind
    if kind == "text":
        return prefix + text_bytes(value.encode("utf-8", "surrogatepass"))
    if kind == "boolean":
        return prefix + (b"\1" if value else b"\0")
    if kind in {"number", "date", "time", "timestamp", "local"}:
        fits = isinstance(value, int) and -(1 << 63) <= value < 1 << 63
        return prefix + long_bytes(value) if fits else b""
    return None


def loader(types: Types, avro_type: AvroType) -> Load:
    """From a column's span to what compares: None for null, VERBATIM for a typed column's text branch."""
    branches = [types.resolve(branch) for branch in branches_of(avro_type)]
    first = next((index for index, branch in enumerate(branches) if branch != "null"), 0)
    is_union = isinstance(avro_type, list)
    read = _reader(types, branches[first], kind_of(avro_type).kind)
    if not is_union:
        return read
    own = 2 * first  # a branch's number takes one byte: no column has 64 of them

    def load(b: bytes, i: int, j: int) -> Any:
        tag = b[i]
        if tag == own:
            return read(b, i + 1, j)
        return None if branches[tag >> 1] == "null" else VERBATIM

    return load


def _payload(b: bytes, i: int, j: int) -> bytes:
    """Bytes or text that ends at j, without the length in front."""
    return b[i + 1 : j] if b[i] < 128 else read_text(b, i)[0]


def _reader(types: Types, branch: AvroType, kind: str) -> Load:  # noqa: PLR0911  # one return per kind
    if kind == "text":
        return _payload
    if kind == "boolean":
        return lambda b, i, j: b[i] == 1  # noqa: ARG005  # a Load's shape
    if kind == "float":
        unpack = struct.Struct("<f" if types.resolve(branch) == "float" else "<d").unpack_from
        return lambda b, i, j: unpack(b, i)[0]  # noqa: ARG005
    if kind == "decimal":
        if branch == "bytes" or (isinstance(branch, Mapping) and branch["type"] == "bytes"):
            return lambda b, i, j: int.from_bytes(_payload(b, i, j), "big", signed=True)
        return lambda b, i, j: int.from_bytes(b[i:j], "big", signed=True)
    if kind == "opaque":
        return lambda b, i, j: b[i:j]
    return lambda b, i, j: read_long(b, i)[0]  # noqa: ARG005
