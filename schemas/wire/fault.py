"""What is wrong with an Avro schema: every fault with its place and what to write instead.

The rules are those of the Avro 1.12 specification, stricter in two places where readers differ from it: a default must
fit the first branch of a union, and a logical type must stand on its own base type (SR-05).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from schemas.wire.schema import (
    LOGICAL_BASES,
    NAME,
    NAMED,
    PRIMITIVES,
    AvroSchema,
    Path,
    Scope,
    full_name,
    kind_of,
    namespace_of,
)

DEPTH_MAX = 64
FIELDS_MAX = 2_000
"""Of one record: more than any table has columns. Comparing records takes time by the square of it."""
_FULL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")


class SchemaFault(NamedTuple):
    """One thing wrong with a schema: where (keys and indices from the root), what, and what to write instead."""

    path: Path
    message: str
    fix: str


def faults(schema: AvroSchema) -> list[SchemaFault]:
    """Everything that is wrong with a schema, in document order; empty for a good one."""
    return list(_faults(schema, (), Scope("", {})))


def _faults(schema: AvroSchema, path: Path, scope: Scope) -> Iterator[SchemaFault]:
    if len(path) > DEPTH_MAX:
        yield SchemaFault(path, f"is nested deeper than {DEPTH_MAX} levels", "flatten it")
    elif isinstance(schema, str):
        if schema not in PRIMITIVES and scope.resolve(schema) is None:
            yield SchemaFault(
                path, f"unknown type {_shown(schema)}", f"use {', '.join(sorted(PRIMITIVES))} or a defined name"
            )
    elif isinstance(schema, list):
        yield from _union_faults(schema, path, scope)
    elif isinstance(schema, Mapping):
        yield from _mapping_faults(schema, path, scope)
    else:
        yield SchemaFault(path, f"{_shown(schema)} is no type", "a type is a name, an object or a list of types")


def _mapping_faults(schema: Mapping[str, Any], path: Path, scope: Scope) -> Iterator[SchemaFault]:
    kind = schema.get("type")
    if not isinstance(kind, str):
        fix = 'write "type": "record" or another type\'s name' if kind is None else "put the inner type in its place"
        yield SchemaFault((*path, "type"), "a type object names no type", fix)
        return
    if kind in NAMED:
        yield from _named_faults(schema, kind, path, scope)
    elif kind in {"array", "map"}:
        part = "items" if kind == "array" else "values"
        if part not in schema:
            yield SchemaFault(path, f"{kind} says nothing of its {part}", f'add "{part}": "<type>"')
        else:
            yield from _faults(schema[part], (*path, part), scope)
    elif kind not in PRIMITIVES:
        yield SchemaFault((*path, "type"), f"unknown type {_shown(kind)}", f"use {', '.join(sorted(PRIMITIVES))}")
        return
    yield from _logical_faults(schema, kind, path)


def _union_faults(branches: list[AvroSchema], path: Path, scope: Scope) -> Iterator[SchemaFault]:
    if not branches:
        yield SchemaFault(path, "a union without branches", 'name its types, such as ["null", "string"]')
    seen: set[str] = set()
    for index, branch in enumerate(branches):
        at = (*path, index)
        if isinstance(branch, list):
            yield SchemaFault(at, "a union directly inside a union", "merge the two lists")
            continue
        kind = kind_of(branch)
        if isinstance(branch, Mapping) and kind in NAMED:
            kind = full_name(branch, scope.namespace)
        elif kind not in PRIMITIVES:
            kind = scope.resolve(kind) or kind
        if kind in seen:
            yield SchemaFault(at, f"the union holds {_shown(kind)} twice", "keep one of them")
        seen.add(kind)
        yield from _faults(branch, at, scope)


def _named_faults(schema: Mapping[str, Any], kind: str, path: Path, scope: Scope) -> Iterator[SchemaFault]:
    name, own = schema.get("name"), schema.get("namespace", "")
    if not isinstance(name, str) or not _FULL_NAME.fullmatch(name):
        yield SchemaFault(
            (*path, "name"), f"{kind} has no legal name: {_shown(name)}", "start with a letter, then letters, digits, _"
        )
        return
    if not isinstance(own, str) or (own and not _FULL_NAME.fullmatch(own)):
        yield SchemaFault((*path, "namespace"), f"{_shown(own)} is no namespace", "use names joined by dots")
        return
    known_as = full_name(schema, scope.namespace)
    if known_as in PRIMITIVES or known_as in scope.named:
        yield SchemaFault((*path, "name"), f"{known_as} is already defined", "name each type once; refer to it by name")
        return
    yield from _alias_faults(schema, path)
    scope.named[known_as] = schema
    inner = Scope(namespace_of(known_as), scope.named)
    if kind == "enum":
        yield from _enum_faults(schema, path)
    elif kind == "fixed":
        size = schema.get("size")
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            yield SchemaFault((*path, "size"), "fixed has no size", 'add "size": <bytes>')
    else:
        yield from _record_faults(schema, path, inner)


def _alias_faults(schema: Mapping[str, Any], path: Path) -> Iterator[SchemaFault]:
    aliases = schema.get("aliases", [])
    if not isinstance(aliases, list) or not all(isinstance(a, str) and _FULL_NAME.fullmatch(a) for a in aliases):
        yield SchemaFault((*path, "aliases"), "aliases is no list of names", "correct or remove it")


def _enum_faults(schema: Mapping[str, Any], path: Path) -> Iterator[SchemaFault]:
    symbols = schema.get("symbols")
    if not isinstance(symbols, list) or not all(
        isinstance(symbol, str) and NAME.fullmatch(symbol) for symbol in symbols
    ):
        yield SchemaFault((*path, "symbols"), "enum has no list of legal symbols", "letters, digits and _ only")
        return
    if len(set(symbols)) != len(symbols):
        yield SchemaFault((*path, "symbols"), "enum names a symbol twice", "keep one of them")
    if "default" in schema and schema["default"] not in symbols:
        yield SchemaFault((*path, "default"), "the enum's default is none of its symbols", "use one of its symbols")


def _record_faults(schema: Mapping[str, Any], path: Path, scope: Scope) -> Iterator[SchemaFault]:
    fields = schema.get("fields")
    if not isinstance(fields, list):
        yield SchemaFault((*path, "fields"), "record has no list of fields", 'add "fields": […]')
        return
    if len(fields) > FIELDS_MAX:
        yield SchemaFault((*path, "fields"), f"record has more than {FIELDS_MAX} fields", "split it into several")
        return
    seen: set[str] = set()
    for index, field in enumerate(fields):
        at = (*path, "fields", index)
        if not isinstance(field, Mapping):
            yield SchemaFault(at, "a field that is no object", 'write {"name": …, "type": …}')
            continue
        name = field.get("name")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            yield SchemaFault(
                (*at, "name"),
                f"{_shown(name)} is no legal Avro name",
                'start with a letter or _, then letters, digits, _; keep the column\'s own name in "column"',
            )
            continue
        yield from _alias_faults(field, at)
        if name in seen:
            yield SchemaFault((*at, "name"), f"field {name} is there twice", "remove one of them")
        seen.add(name)
        if "type" not in field:
            yield SchemaFault(at, f"field {name} has no type", 'add "type": …')
            continue
        inner = list(_faults(field["type"], (*at, "type"), scope))
        yield from inner
        if not inner and "default" in field and not fits(field["default"], field["type"], scope):
            yield SchemaFault(
                (*at, "default"), f"the default of {name} does not fit {_expected(field['type'])}", _default_fix(field)
            )


def _logical_faults(schema: Mapping[str, Any], kind: str, path: Path) -> Iterator[SchemaFault]:
    logical = schema.get("logicalType")
    if logical is None:
        return
    at = (*path, "logicalType")
    bases = LOGICAL_BASES.get(logical) if isinstance(logical, str) else None
    if bases is None:
        return  # Avro: an unknown logical type is ignored.
    if kind not in bases:
        yield SchemaFault(at, f"logical type {logical} cannot stand on {kind}", f'use "type": "{min(bases)}"')
    elif logical == "decimal":
        precision, scale = schema.get("precision"), schema.get("scale", 0)
        if not isinstance(precision, int) or isinstance(precision, bool) or precision < 1:
            yield SchemaFault(at, "decimal has no precision", 'add "precision" and "scale", as the column has them')
        elif not isinstance(scale, int) or isinstance(scale, bool) or not 0 <= scale <= precision:
            yield SchemaFault(
                (*path, "scale"), "the scale is not between 0 and the precision", "correct the two numbers"
            )


def fits(default: Any, schema: AvroSchema, scope: Scope) -> bool:
    """Whether a JSON default is a value of the type; for a union, of its first branch."""
    return _Fitting().fits(default, schema, scope)


class _Fitting:
    """One question of that kind.

    Each default is looked at once for each type: types that name others twice would double the work with every level. A
    default that needs itself is none.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], bool] = {}

    def fits(self, default: Any, schema: AvroSchema, scope: Scope) -> bool:
        if isinstance(schema, list):
            return bool(schema) and self.fits(default, schema[0], scope)
        kind = kind_of(schema)
        if kind in _IS_VALUE:
            return _IS_VALUE[kind](default)
        if isinstance(schema, Mapping):
            place = (id(default), id(schema))
            if place not in self._known:
                self._known[place] = False
                self._known[place] = self._fits_complex(default, schema, kind, scope)
            return self._known[place]
        name = scope.resolve(kind)
        return name is not None and self.fits(default, scope.named[name], Scope(namespace_of(name), scope.named))

    def _fits_complex(self, default: Any, schema: Mapping[str, Any], kind: str, scope: Scope) -> bool:
        match kind:
            case "fixed":
                return _is_bytes(default) and len(default) == schema["size"]
            case "enum":
                return default in schema["symbols"]
            case "array":
                return isinstance(default, list) and all(self.fits(item, schema["items"], scope) for item in default)
            case "map":
                return isinstance(default, Mapping) and all(
                    self.fits(value, schema["values"], scope) for value in default.values()
                )
            case _:
                return isinstance(default, Mapping) and all(
                    self.fits(default.get(field["name"], field.get("default", ...)), field["type"], scope)
                    for field in schema["fields"]
                )


def _is_integer(bits: int) -> Callable[[Any], bool]:
    end = 1 << bits
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and -end <= value < end


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_bytes(value: Any) -> bool:
    return isinstance(value, str) and all(ord(character) < 256 for character in value)


_IS_VALUE: Mapping[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "int": _is_integer(31),
    "long": _is_integer(63),
    "float": _is_number,
    "double": _is_number,
    "string": lambda value: isinstance(value, str),
    "bytes": _is_bytes,
}


def _expected(schema: AvroSchema) -> str:
    return f"the union's first branch, {kind_of(schema[0])}" if isinstance(schema, list) else kind_of(schema)


def _default_fix(field: Mapping[str, Any]) -> str:
    kind = field["type"]
    if field["default"] is None and not (isinstance(kind, list) and "null" in kind):
        return "remove the default, or make the type a union that starts with null"
    if isinstance(kind, list) and "null" in kind:
        return 'put "null" first and write "default": null'
    return "correct or remove the default"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= 60 else f"{text[:57]}..."
