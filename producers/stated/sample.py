"""What columns hold, by a sample of rows: types for a first contract, and which column may be the key."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date
from decimal import Decimal
from typing import Any

from producers.stated.cell import Misread, cell_reader
from schemas.contract import AvroType, Field

SAMPLE_ROWS = 10_000
_IDENTITY_DIGITS = 11
"""Numbers of so many digits, all of one length, are names of things (telephones, identity numbers) and not quantities."""
_DATE: AvroType = {"type": "int", "logicalType": "date"}
_TIMESTAMP: AvroType = {"type": "long", "logicalType": "local-timestamp-micros"}
_WHOLE = re.compile(r"-?(?:0|[1-9]\d{0,17})")
_FRACTION = re.compile(r"-?(?:0|[1-9]\d*)\.\d+")
_TRUTHS = frozenset({"true", "false", "是", "否"})


@dataclass(slots=True)
class SampledColumn:
    """One column: what was seen of it."""

    name: str
    values: list[Any] = field(default_factory=list[Any])
    count: int = 0

    def may_be_key(self, rows: int) -> bool:
        """Whether every row of the sample has a value here, and no two the same."""
        return rows > 0 and self.count == rows == len({str(value) for value in self.values})

    def avro_type(self) -> AvroType:
        """The narrowest type that all values fit exactly, of those that a person would choose."""
        texts = [str(value) for value in self.values]
        if not texts:
            return "string"
        if all(_WHOLE.fullmatch(text) for text in texts):
            lengths = {len(text) for text in texts}
            return "string" if len(lengths) == 1 and lengths.pop() >= _IDENTITY_DIGITS else "long"
        if all(_WHOLE.fullmatch(text) or _FRACTION.fullmatch(text) for text in texts):
            scale = max(len(text.partition(".")[2]) for text in texts)
            return {"type": "bytes", "logicalType": "decimal", "precision": 18 + scale, "scale": scale}
        if all(text.lower() in _TRUTHS for text in texts):
            return "boolean"
        return next((kind for kind in (_DATE, _TIMESTAMP) if self._all_fit(kind)), "string")

    def _all_fit(self, kind: AvroType) -> bool:
        if not all(isinstance(value, date) or re.search("[-/年]", str(value)) for value in self.values):
            return False
        read = _reader(kind)
        try:
            for value in self.values:
                read(value)
        except Misread:
            return False
        return True


def sampled(header: Sequence[str] | None, rows: Iterable[Mapping[str, Any]]) -> tuple[list[SampledColumn], int]:
    """The columns in their order, and how many rows were looked at. Without a header each row names its own."""
    columns = {name: SampledColumn(name) for name in header or () if name}
    seen = 0
    for row in rows:
        seen += 1
        for name, value in row.items():
            if value is not None and name:
                column = columns.setdefault(name, SampledColumn(name))
                column.count += 1
                column.values.append(format(value, "f") if isinstance(value, Decimal) else value)
        if seen >= SAMPLE_ROWS:
            break
    return list(columns.values()), seen


def key_of(columns: Sequence[SampledColumn], rows: int) -> str | None:
    """The column that is most likely the key: the first whose values are all there and all different."""
    fitting = [column.name for column in columns if column.may_be_key(rows)]
    named = [name for name in fitting if re.search(r"(^|_)(id|no|code|key)$|编号|号码|代码|主键", name, re.IGNORECASE)]
    return next(iter(named or fitting), None)


def _reader(kind: AvroType) -> Callable[[Any], Any]:
    known: dict[str, Any] = {"name": "value", "is_nullable": False, "is_key": False, "doc": ""}
    return cell_reader(Field(**known, branches=(kind,), tags=frozenset(), gov={}, properties={}), UTC, is_sheet=True)
