"""Predicate: an expression as a function of a decoded row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from schemas.contract import AvroType, Contract
from schemas.errors import Misconfigured
from schemas.expression.code import source_of
from schemas.expression.column_kind import VERBATIM, kind_of
from schemas.expression.expression import Expression
from schemas.wire.code import Code


class RowBinding:
    """Columns of a decoded row: a mapping of column name to raw Avro value."""

    def __init__(self, types: Mapping[str, AvroType], keep: Callable[[Any], str]) -> None:
        self._types = types
        self._keep = keep
        self.loads: dict[str, tuple[str, str]] = {}

    def value(self, column: str) -> str:
        """A local variable, filled once by the line kept in `loads`."""
        if column not in self.loads:
            name = f"v{len(self.loads)}"
            loader = self._keep(row_loader(self._types[column]))
            self.loads[column] = (name, f"{name} = {loader}(row.get({self._keep(column)}))")
        return self.loads[column][0]

    def text(self, value: str) -> str:
        """Text compares as itself."""
        return value

    def equals(self, column: str, values: Sequence[Any]) -> str | None:  # noqa: ARG002  # the port's shape
        """A decoded row has no cheaper way."""
        return None


def row_loader(avro_type: AvroType) -> Callable[[Any], Any]:
    """From a raw Avro value of this type to what compares."""
    kind = kind_of(avro_type).kind

    def load(value: Any) -> Any:
        if value is None or kind in {"text", "opaque"}:
            return value
        if isinstance(value, str):
            return VERBATIM
        return int.from_bytes(value, "big", signed=True) if kind == "decimal" else value

    return load


def predicate(expression: Expression, contract: Contract) -> Callable[[Mapping[str, Any]], bool]:
    """The expression as a function of a decoded row: column name to raw Avro value (dates as days, decimals as bytes).

    Raises Misconfigured, with the place and the fix, where a column is unknown or is compared with something of another type.
    """
    types: dict[str, AvroType] = {field.name: field.wire_type() for field in contract.fields}
    for name in sorted(expression.columns - types.keys()):
        raise Misconfigured(
            f"expression {expression.text!r}",
            f"{contract.feed} has no column {name}",
            fix=f"use one of {', '.join(sorted(types))}; text constants stand in single quotes",
        )
    code = Code()
    binding = RowBinding(types, code.keep)
    source = source_of(expression, types, binding, code.keep)
    lines = ["def holds(row):", *(f"    {line}" for _, line in binding.loads.values()), f"    return {source}"]
    return code.build(lines, "holds")
