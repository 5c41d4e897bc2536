"""What an expression becomes: Python source made from its checked nodes, for rows and for generated scanners.

The source holds no word of the author's: columns come from a `Binding`, constants are named k0, k1, … and live in the
namespace that the source is executed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any, Protocol

from schemas.contract import AvroType
from schemas.errors import Misconfigured
from schemas.expression import identifiers
from schemas.expression.column_kind import ColumnKind, kind_of, moment
from schemas.expression.expression import (
    Among,
    Both,
    Call,
    ColumnRef,
    Compare,
    Constant,
    Expression,
    Literal,
    Node,
    Not,
)

_VALIDATORS: Mapping[str, Callable[[str], identifiers.Validation]] = {
    "valid_citizen_id": identifiers.validate_citizen_id,
    "valid_uscc": identifiers.validate_uscc,
    "valid_org_code": identifiers.validate_org_code,
    "valid_registration_no": identifiers.validate_registration_no,
    "valid_disability_card": identifiers.validate_disability_card,
}


class Binding(Protocol):
    """Where a generated expression finds its columns."""

    def value(self, column: str) -> str:
        """Source of the column's comparable value: None for null, VERBATIM for verbatim text of a typed column."""
        ...

    def text(self, value: str) -> Any:
        """The form in which this binding's text values compare."""
        ...

    def equals(self, column: str, values: Sequence[Any]) -> str | None:
        """Source of a cheaper test that the column is one of the values (raw Avro, None for null); None for none."""
        ...


def source_of(
    expression: Expression, types: Mapping[str, AvroType], binding: Binding, keep: Callable[[Any], str]
) -> str:
    """Python source of the expression's truth. `keep` puts a constant into the namespace and gives its name.

    A column without a type (a record written before the column existed) counts as null. Raises Misconfigured where a
    column is compared with something of another type.
    """
    return _Generator(expression, types, binding, keep).source(expression.root)


class _Generator:
    def __init__(
        self, expression: Expression, types: Mapping[str, AvroType], binding: Binding, keep: Callable[[Any], str]
    ) -> None:
        self._expression = expression
        self._kinds = {name: kind_of(types[name]) for name in expression.columns if name in types}
        self._binding = binding
        self._keep = keep

    def source(self, node: Node) -> str:  # noqa: PLR0911  # one case per node
        match node:
            case Constant(value):
                return str(value)
            case Not(operand):
                return f"(not {self.source(operand)})"
            case Both(is_and, operands):
                return "(" + (" and " if is_and else " or ").join(self.source(operand) for operand in operands) + ")"
            case ColumnRef(name, place):
                if self._kind(node).kind != "boolean":
                    raise self._misfit(place, f"uses {name} as a condition", "compare it: only booleans stand alone")
                return f"({self._value(name)} is True)"
            case Among(column, literals):
                return self._among(column, literals)
            case Call():
                return self._call(node)
            case Compare(operator, left, right):
                if isinstance(right, Literal):
                    return self._compare_literal(operator, left, right)
                return self._compare_columns(operator, left, right)

    def _kind(self, column: ColumnRef) -> ColumnKind:
        return self._kinds.get(column.name) or ColumnKind("absent")

    def _value(self, name: str) -> str:
        return self._binding.value(name) if name in self._kinds else "None"

    def _misfit(self, place: int, problem: str, fix: str) -> Misconfigured:
        text = self._expression.text[:200]
        return Misconfigured(f"expression {text!r}", f"{problem} (at character {place + 1})", fix=fix)

    def _among(self, column: ColumnRef, literals: tuple[Literal, ...]) -> str:
        values = [self._literal(column, literal) for literal in literals]
        if column.name not in self._kinds:
            return str(None in values)
        cheap = self._binding.equals(column.name, values)
        if cheap:
            return cheap
        if any(isinstance(value, Fraction) for value in values) or self._kind(column).kind in {"float", "decimal"}:
            return "(" + " or ".join(self._equal(column, value) for value in values) + ")"
        # A frozenset would hash, and VERBATIM has no hash on purpose: a tuple compares.
        return f"({self._value(column.name)} in {self._keep(tuple(self._comparable(value) for value in values))})"

    def _equal(self, column: ColumnRef, value: Any) -> str:
        if column.name not in self._kinds:
            return str(value is None)
        cheap = self._binding.equals(column.name, [value])
        if cheap:
            return cheap
        if value is None:
            return f"({self._value(column.name)} is None)"
        return f"({self._value(column.name)} == {self._keep(self._comparable(value))})"

    def _comparable(self, value: Any) -> Any:
        return self._binding.text(value) if isinstance(value, str) else value

    def _compare_literal(self, operator: str, column: ColumnRef, literal: Literal) -> str:
        value = self._literal(column, literal)
        if operator == "==":
            return self._equal(column, value)
        if operator == "!=":
            return f"(not {self._equal(column, value)})"
        source = self._value(column.name)
        if source == "None":
            return "False"
        return f"({source} is not None and {source} {operator} {self._keep(self._comparable(value))})"

    def _compare_columns(self, operator: str, left: ColumnRef, right: ColumnRef) -> str:
        one, other = self._kind(left), self._kind(right)
        a, b = self._value(left.name), self._value(right.name)
        absent = "absent" in {one.kind, other.kind}
        exact = {"number", "decimal"}
        if not absent and {one.kind, other.kind} <= exact:
            shift = one.scale - other.scale
            a_scaled = a if shift >= 0 else f"({a} * {self._keep(10**-shift)})"
            b_scaled = b if shift <= 0 else f"({b} * {self._keep(10**shift)})"
        elif absent or (one == other and one.kind != "opaque") or {one.kind, other.kind} == {"number", "float"}:
            a_scaled, b_scaled = a, b
        else:
            raise self._misfit(
                right.place,
                f"compares {left.name} ({one.kind}) with {right.name} ({other.kind})",
                "compare columns of one type",
            )
        if operator in {"==", "!="}:
            either_null = f"{a} is None or {b} is None"
            equal = f"({a} is {b} if {either_null} else {a_scaled} == {b_scaled})"
            return equal if operator == "==" else f"(not {equal})"
        return f"({a} is not None and {b} is not None and {a_scaled} {operator} {b_scaled})"

    def _call(self, call: Call) -> str:
        name, kind = call.column.name, self._kind(call.column).kind
        if kind not in {"text", "absent"}:
            raise self._misfit(
                call.column.place, f"gives {call.function} the column {name}, which is no text", "give it a text column"
            )
        value = self._value(name)
        if call.argument is not None:
            prefix = self._keep(self._binding.text(str(call.argument.value)))
            return f"({value} is not None and {value}.startswith({prefix}))"
        return f"({value} is not None and {self._keep(validity(call.function))}({value}))"

    def _literal(self, column: ColumnRef, literal: Literal) -> Any:  # noqa: PLR0911  # one return per kind
        """The literal as the column's raw Avro value; a Fraction where no such value can be equal to it."""
        kind, scale = self._kind(column)
        if literal.kind == "null":
            return None
        text = str(literal.value)
        wanted = "boolean" if kind == "boolean" else "number" if kind in {"number", "float", "decimal"} else "text"
        if kind == "absent":
            return text
        if kind == "opaque" or literal.kind != wanted:
            fix = f"compare it with null only; its type is {kind}" if kind == "opaque" else f"write a {wanted} constant"
            problem = f"compares {column.name} ({kind}) with a {literal.kind} constant"
            raise self._misfit(literal.place, problem, f"{fix}; text stands in single quotes")
        if kind == "boolean":
            return bool(literal.value)
        if kind == "float":
            return float(text)
        if wanted == "number":
            exact = Fraction(text) * 10**scale
            return exact.numerator if exact.denominator == 1 else exact
        if kind == "text":
            return text
        try:
            return moment(kind, scale, text)
        except ValueError as error:
            example = {"date": "2000-01-31", "time": "23:59:59", "local": "2000-01-31T23:59:59"}
            raise self._misfit(
                literal.place,
                f"compares {column.name} with a text that is no {kind}",
                f"write it like '{example.get(kind, '2000-01-31T23:59:59+08:00')}'",
            ) from error


@lru_cache(maxsize=8)
def validity(function: str) -> Callable[[str | bytes], bool]:
    """A validator as a predicate over text or its UTF-8 bytes; remembers a bounded number of answers."""
    validate = _VALIDATORS[function]

    @lru_cache(maxsize=16384)
    def is_valid(text: str | bytes) -> bool:
        found = validate(text if isinstance(text, str) else text.decode("utf-8", "replace"))
        return found.status in {identifiers.NumberStatus.VALID, identifiers.NumberStatus.UPGRADED}

    return is_valid
