"""Conditions, read a second time: row filters and rules as the comparison understands them.

The mesh compiles these texts (schemas/expression/expression.py); the comparison that judges the mesh must not trust that, so
it reads them with Python's own parser and walks the tree over database values. Only what the city's files use is understood;
anything else raises, which is better than to agree by accident.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from schemas.errors import Misconfigured
from schemas.expression import identifiers

Row = Mapping[str, Any]
Condition = Callable[[Row], bool]

_WORD = re.compile(r"\s+|'(?:[^']|'')*'|&&|\|\||[!=<>]=|[A-Za-z_]\w*|-?\d+(?:\.\d+)?|[!<>()\[\],]")
_PYTHON = {"&&": " and ", "||": " or ", "!": " not ", "null": "None", "true": "True", "false": "False"}
_ORDERS = {ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge}
_TAKEN = {identifiers.NumberStatus.VALID, identifiers.NumberStatus.UPGRADED}
_VALIDATORS = {
    "valid_citizen_id": identifiers.validate_citizen_id,
    "valid_uscc": identifiers.validate_uscc,
    "valid_org_code": identifiers.validate_org_code,
    "valid_registration_no": identifiers.validate_registration_no,
    "valid_disability_card": identifiers.validate_disability_card,
}


def condition(text: str) -> Condition:
    """A function of a row (column to value as the database driver gives it). Raises Misconfigured for what it cannot read."""
    words: list[str] = []
    place = 0
    while place < len(text):
        match = _WORD.match(text, place)
        if match is None:
            raise _unreadable(text)
        place = match.end()
        word = match[0]
        if word.startswith("'"):
            word = repr(word[1:-1].replace("''", "'"))
        words.append(_PYTHON.get(word, f" {word} "))
    try:
        tree = ast.parse("".join(words).strip(), mode="eval").body
    except SyntaxError as error:
        raise _unreadable(text) from error
    return lambda row: _truth(tree, row, text)


def _unreadable(text: str) -> Misconfigured:
    return Misconfigured(
        f"expression {text!r}", "the comparison cannot read it", fix="teach ops/proof/condition.py what it means"
    )


def _truth(node: ast.expr, row: Row, text: str) -> bool:  # noqa: PLR0911 - one case per kind of node
    match node:
        case ast.BoolOp(op=ast.And(), values=parts):
            return all(_truth(part, row, text) for part in parts)
        case ast.BoolOp(op=ast.Or(), values=parts):
            return any(_truth(part, row, text) for part in parts)
        case ast.UnaryOp(op=ast.Not(), operand=part):
            return not _truth(part, row, text)
        case ast.Name():
            return row[node.id] is True
        case ast.Compare(left=left, ops=[ast.In()], comparators=[ast.List(elts=items)]):
            return any(_same(*_sides(left, item, row, text)) for item in items)
        case ast.Compare(left=left, ops=[order], comparators=[right]):
            return _compared(type(order), *_sides(left, right, row, text), text)
        case ast.Call(func=ast.Name(id=function), args=[ast.Name(id=name), *rest]):
            return row[name] is not None and _called(function, row[name], rest, text)
        case _:
            raise _unreadable(text)


def _compared(order: type[ast.cmpop], one: Any, other: Any, text: str) -> bool:
    if order in {ast.Eq, ast.NotEq}:
        return _same(one, other) is (order is ast.Eq)
    if order not in _ORDERS:
        raise _unreadable(text)
    return one is not None and other is not None and _ORDERS[order](one, other)


def _called(function: str, value: str, rest: list[ast.expr], text: str) -> bool:
    match rest:
        case [ast.Constant(value=str(prefix))] if function == "starts_with":
            return value.startswith(prefix)
        case [] if function in _VALIDATORS:
            return _VALIDATORS[function](value).status in _TAKEN
        case _:
            raise _unreadable(text)


def _same(one: Any, other: Any) -> bool:
    return one is other if one is None or other is None else one == other


def _sides(left: ast.expr, right: ast.expr, row: Row, text: str) -> tuple[Any, Any]:
    one, other = _value(left, row, text), _value(right, row, text)
    return _like(one, other), _like(other, one)


def _value(node: ast.expr, row: Row, text: str) -> Any:
    match node:
        case ast.Name():
            return row[node.id]
        case ast.Constant(value=value):
            return Decimal(str(value)) if isinstance(value, float) else value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return Decimal(str(-value))
        case _:
            raise _unreadable(text)


def _like(value: Any, other: Any) -> Any:
    """A written constant as what it is compared with: dates and times are written as text."""
    if isinstance(value, str) and isinstance(other, datetime):
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC) if moment.tzinfo else moment
    if isinstance(value, str) and isinstance(other, date):
        return date.fromisoformat(value)
    return value
