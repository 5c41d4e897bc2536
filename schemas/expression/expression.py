"""Expressions over one row: the row filters of grants and the rules of contracts (SK-17).

    uscc == null || valid_uscc(uscc)
    status == 'ACTIVE' && reg_region in ['440106', '440104']
    capital >= 100.5 && birth_date < '2000-01-01' && !starts_with(address, '4401')

| written                            | meaning                                                                        |
|------------------------------------|--------------------------------------------------------------------------------|
| `a == x`, `a != x`                 | equality; null is a value like others: `a == null`, and null != 'x' is true      |
| `a < x`, `<=`, `>`, `>=`           | order; false when either side is null. Text orders by code point               |
| `a in [x, y, null]`                | equality with one of them                                                      |
| `starts_with(a, 'x')`              | false when a is null                                                           |
| `valid_uscc(a)` and the like       | whether a validator of schemas/expression/identifiers.py takes the text; false for null     |
| `flag`                             | a boolean column; null is false                                                |
| `!`, `&&`, two bars, `( )`         | not, and, or of two-valued logic, binding in this order                        |

Literals are 'text' (a quote is doubled), numbers, true, false, null. Dates, times and timestamps are written as ISO 8601
text and compared as what the column is; numbers compare exactly with decimals. A column whose value travels as verbatim
text in a lossless third branch (NaN, infinity) equals nothing, has no order, and is not null.

Nobody's text is ever evaluated: it is parsed into the nodes below, checked against the column types, and only then turned
into Python in which every name and every constant is ours (schemas/expression/code.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from schemas.errors import Misconfigured

TEXT_MAX = 8000
NESTING_MAX = 32
TOKENS_MAX = 2000

VALIDATORS = frozenset(
    {"valid_citizen_id", "valid_uscc", "valid_org_code", "valid_registration_no", "valid_disability_card"}
)
"""Functions of one text column; each is true for what its validator calls VALID or UPGRADED."""


@dataclass(frozen=True, slots=True)
class ColumnRef:
    """A column by name; `place` is its character offset in the text, for messages."""

    name: str
    place: int


@dataclass(frozen=True, slots=True)
class Literal:
    """`kind` is null, boolean, number or text; a number keeps its digits as text, so that nothing is rounded."""

    kind: str
    value: str | bool | None
    place: int


@dataclass(frozen=True, slots=True)
class Compare:
    """`left operator right`, with one of == != < <= > >=; the left side is always a column."""

    operator: str
    left: ColumnRef
    right: ColumnRef | Literal


@dataclass(frozen=True, slots=True)
class Among:
    """`column in [literals]`."""

    column: ColumnRef
    literals: tuple[Literal, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A function of a column, with a text literal where it takes one."""

    function: str
    column: ColumnRef
    argument: Literal | None = None


@dataclass(frozen=True, slots=True)
class Not:
    """Negation."""

    operand: Node


@dataclass(frozen=True, slots=True)
class Both:
    """All (`is_and`) or any of the operands."""

    is_and: bool
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Constant:
    """`true` or `false` standing alone."""

    value: bool


Node = Compare | Among | Call | Not | Both | Constant | ColumnRef

_TOKEN = re.compile(
    r"""\s*(?:(?P<number>-?[0-9]{1,40}(?:\.[0-9]{1,40})?(?![A-Za-z0-9_.]))|(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<text>'(?:[^']|'')*')|(?P<sign>==|!=|<=|>=|&&|\|\||[<>!()\[\],]))""",
    re.VERBOSE,
)
_MIRROR = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_CONSTANTS: Mapping[str, tuple[str, bool | None]] = {
    "true": ("boolean", True),
    "false": ("boolean", False),
    "null": ("null", None),
}


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression. `columns` are the names it reads; nothing is known about their types yet."""

    text: str
    root: Node
    columns: frozenset[str]


def parse(text: str) -> Expression:
    """Parse an expression. Raises Misconfigured with the place of the first fault."""
    return _Parser(text).expression()


class _Parser:
    """Recursive descent over the tokens; `_depth` bounds the nesting."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[tuple[str, str, int]] = []
        self._next = 0
        self._depth = 0
        self._columns: set[str] = set()
        if len(text) > TEXT_MAX:
            raise self._fault(0, f"is longer than {TEXT_MAX} characters", "split the grant or the rule")
        place = 0
        end = len(text.rstrip())
        while place < end:
            token = _TOKEN.match(text, place)
            if token is None or token.lastgroup is None:
                raise self._fault(
                    place, "has something unreadable", "see schemas/expression/expression.py for the language"
                )
            self._tokens.append((token.lastgroup, token[token.lastgroup], token.start(token.lastgroup)))
            place = token.end()
        if len(self._tokens) > TOKENS_MAX:
            raise self._fault(0, f"has more than {TOKENS_MAX} words", "split the grant or the rule")
        self._tokens.append(("end", "", end))

    def expression(self) -> Expression:
        root = self._any()
        kind, word, place = self._tokens[self._next]
        if kind != "end":
            raise self._fault(place, f"does not end before {word!r}", "join conditions with && or ||")
        return Expression(self._text, root, frozenset(self._columns))

    def _fault(self, place: int, problem: str, fix: str) -> Misconfigured:
        return Misconfigured(f"expression {self._text[:200]!r}", f"{problem} (at character {place + 1})", fix=fix)

    def _take(self, *signs: str) -> str | None:
        kind, word, _ = self._tokens[self._next]
        if word in signs and kind in {"sign", "name"}:
            self._next += 1
            return word
        return None

    def _need(self, sign: str) -> None:
        if self._take(sign) is None:
            _, word, place = self._tokens[self._next]
            raise self._fault(place, f"needs {sign!r} before {word or 'the end'!r}", f"write {sign} there")

    def _any(self) -> Node:
        self._depth += 1
        if self._depth > NESTING_MAX:
            raise self._fault(self._tokens[self._next][2], f"nests deeper than {NESTING_MAX}", "flatten it")
        operands = [self._all()]
        while self._take("||"):
            operands.append(self._all())
        self._depth -= 1
        return operands[0] if len(operands) == 1 else Both(False, tuple(operands))

    def _all(self) -> Node:
        operands = [self._not()]
        while self._take("&&"):
            operands.append(self._not())
        return operands[0] if len(operands) == 1 else Both(True, tuple(operands))

    def _not(self) -> Node:
        negations = 0
        while self._take("!"):
            negations += 1
        node = self._condition()
        return Not(node) if negations % 2 else node

    def _condition(self) -> Node:
        if self._take("("):
            node = self._any()
            self._need(")")
            return node
        kind, word, place = self._tokens[self._next]
        if kind == "name" and self._tokens[self._next + 1][1] == "(" and self._tokens[self._next + 1][0] == "sign":
            return self._call()
        left = self._operand()
        operator = self._take("==", "!=", "<", "<=", ">", ">=")
        if operator:
            return self._compare(operator, left, self._operand(), place)
        if self._take("in"):
            if not isinstance(left, ColumnRef):
                raise self._fault(place, "has a constant before `in`", "write `column in ['a', 'b']`")
            return Among(left, self._list())
        if isinstance(left, Literal):
            if left.kind == "boolean":
                return Constant(bool(left.value))
            raise self._fault(place, f"has the constant {word} where a condition is needed", "compare it with a column")
        return left

    def _compare(self, operator: str, left: ColumnRef | Literal, right: ColumnRef | Literal, place: int) -> Node:
        if isinstance(left, Literal):
            if isinstance(right, Literal):
                raise self._fault(place, "compares two constants", "compare a column with a constant")
            left, right, operator = right, left, _MIRROR[operator]
        if isinstance(right, Literal) and right.kind in {"null", "boolean"} and operator not in {"==", "!="}:
            raise self._fault(right.place, f"orders by {right.kind}", "use == or !=")
        return Compare(operator, left, right)

    def _operand(self) -> ColumnRef | Literal:
        kind, word, place = self._tokens[self._next]
        self._next += 1
        if kind == "number":
            return Literal("number", word, place)
        if kind == "text":
            return Literal("text", word[1:-1].replace("''", "'"), place)
        if kind == "name" and word in _CONSTANTS:
            return Literal(*_CONSTANTS[word], place)
        if kind == "name" and word != "in":
            self._columns.add(word)
            return ColumnRef(word, place)
        raise self._fault(place, f"has {word or 'its end'!r} where a column or a constant is needed", "write one there")

    def _list(self) -> tuple[Literal, ...]:
        self._need("[")
        literals: list[Literal] = []
        while True:
            item = self._operand()
            if isinstance(item, ColumnRef):
                raise self._fault(
                    item.place, f"lists the column {item.name}", "list constants; text stands in single quotes"
                )
            literals.append(item)
            if not self._take(","):
                break
        self._need("]")
        return tuple(literals)

    def _call(self) -> Call:
        _, function, place = self._tokens[self._next]
        self._next += 1
        self._need("(")
        column = self._operand()
        if not isinstance(column, ColumnRef):
            raise self._fault(place, f"gives {function} a constant", "give it a column first")
        argument = None
        if function == "starts_with":
            self._need(",")
            argument = self._operand()
            if not isinstance(argument, Literal) or argument.kind != "text":
                raise self._fault(place, "gives starts_with no text", "write starts_with(column, 'prefix')")
        elif function not in VALIDATORS:
            raise self._fault(place, f"calls {function}", f"use one of starts_with, {', '.join(sorted(VALIDATORS))}")
        self._need(")")
        return Call(function, column, argument)
