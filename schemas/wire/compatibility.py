"""Compatibility of contract versions: what a new schema would break, in human words.

Avro's own rules (the `avro` package) are the authority; the rules beside them close what those let pass and what corrupts
values or breaks readers in practice (SR-05): changes of logical type, precision or scale, renames (by alias or
otherwise), string read as bytes, defaults that do not fit, and at the FULL levels any Avro enum, since feeds are FULL and a
new symbol breaks every reader that is not told first.

| level    | who must keep working                                        | compared with        |
|----------|--------------------------------------------------------------|----------------------|
| NONE     | nobody                                                       |                      |
| BACKWARD | readers of the new version, over what is already written     | latest, or all (`_TRANSITIVE`) |
| FORWARD  | readers of older versions, over what will be written         | latest, or all       |
| FULL     | both                                                         | latest, or all       |

A captured feed is replayed from its start and read by many: it runs at FULL_TRANSITIVE (SR-04). Upholds invariant 5.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import avro.schema
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.errors import AvroException

from schemas.wire.codec import without_logical_types
from schemas.wire.fault import SchemaFault, faults
from schemas.wire.schema import NAMED, PRIMITIVES, AvroSchema, Scope, full_name, kind_of, namespace_of

LEVELS = ("NONE", "BACKWARD", "BACKWARD_TRANSITIVE", "FORWARD", "FORWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE")
FEED_LEVEL = "FULL_TRANSITIVE"

_READABLE_AS: Mapping[str, frozenset[str]] = {
    "int": frozenset({"int", "long", "float", "double"}),
    "long": frozenset({"long", "float", "double"}),
    "float": frozenset({"float", "double"}),
}
"""Written type to the types it can be read as, besides itself. Avro also lets string and bytes pass for each other: we do not."""


class _Sides(NamedTuple):
    is_backward: bool
    is_forward: bool


class _Breach(NamedTuple):
    where: str
    text: str
    breaks_backward: bool
    breaks_forward: bool

    def __str__(self) -> str:
        return f"{self.where}: {self.text}" if self.where else self.text


def breaches(old: Sequence[AvroSchema], new: AvroSchema, level: str) -> list[str]:
    """What the new schema would break, at a compatibility level; empty when it may follow the old ones.

    `old` are the earlier versions, oldest first, each standing alone (references put inline). Raises ValueError for a level
    that does not exist.
    """
    if level not in LEVELS:
        raise ValueError(f"{level} is no compatibility level: use one of {', '.join(LEVELS)}")
    if level == "NONE":
        return []
    wrong = [_fault_text(fault) for fault in faults(new)]
    if wrong:
        return wrong
    sides = _Sides(is_backward=not level.startswith("FORWARD"), is_forward=not level.startswith("BACKWARD"))
    compared = old if level.endswith("_TRANSITIVE") else old[-1:]
    found: dict[str, None] = {}
    if compared and level.startswith("FULL"):
        found.update(dict.fromkeys(_enum_breaches(new)))
    for version in reversed(compared):
        found.update(dict.fromkeys(_pair_breaches(version, new, sides)))
    return list(found)


def _fault_text(fault: SchemaFault) -> str:
    return f"{'/'.join(map(str, fault.path)) or 'the schema'}: {fault.message} (fix: {fault.fix})"


def _pair_breaches(old: AvroSchema, new: AvroSchema, sides: _Sides) -> list[str]:
    explained = [
        breach
        for breach in _Comparison().differences(old, new, "", Scope("", {}), Scope("", {}))
        if (breach.breaks_backward and sides.is_backward) or (breach.breaks_forward and sides.is_forward)
    ]
    texts = list(dict.fromkeys(str(breach) for breach in explained))
    # Avro's verdict stands even where the rules above found no words for it.
    if sides.is_backward and not any(b.breaks_backward for b in explained):
        texts.extend(_avro_verdict(reader=new, writer=old, who="readers of the new version"))
    if sides.is_forward and not any(b.breaks_forward for b in explained):
        texts.extend(_avro_verdict(reader=old, writer=new, who="readers of an older version"))
    return texts


def parse_avro(schema: AvroSchema) -> avro.schema.Schema:
    """The schema as the `avro` package sees it, without logical types, which it would only warn of. Raises ValueError."""
    try:
        return avro.schema.parse(json.dumps(without_logical_types(schema)))
    except (AvroException, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise ValueError(str(error) or type(error).__name__) from error


def _avro_verdict(*, reader: AvroSchema, writer: AvroSchema, who: str) -> list[str]:
    try:
        result = ReaderWriterCompatibilityChecker().get_compatibility(parse_avro(reader), parse_avro(writer))
    except ValueError as error:
        return [f"{who} cannot be judged: {error}"]
    if result.compatibility is SchemaCompatibilityType.compatible:
        return []
    return [f"{', '.join(sorted(result.locations))}: {who} fail: {', '.join(sorted(result.messages))}"]


def _enum_breaches(schema: AvroSchema) -> Iterator[str]:
    if isinstance(schema, list):
        for branch in schema:
            yield from _enum_breaches(branch)
    elif isinstance(schema, Mapping):
        if schema.get("type") == "enum":
            yield (
                f"{schema.get('name')}: is an Avro enum, and each new symbol breaks its readers; "
                "use string with gov.values"
            )
        for part in ("items", "values"):
            yield from _enum_breaches(schema.get(part))
        for field in schema.get("fields") or ():
            yield from _enum_breaches(field.get("type"))


def describe(schema: AvroSchema) -> str:
    """A type in words, such as `decimal(18,2)`, `date`, `null or string`."""
    if isinstance(schema, list):
        return " or ".join(describe(branch) for branch in schema)
    if not isinstance(schema, Mapping):
        return str(schema)
    kind = kind_of(schema)
    words = str(schema.get("logicalType") or kind)
    if words == "decimal":
        words = f"decimal({schema.get('precision')},{schema.get('scale', 0)})"
    elif kind in NAMED:
        words = f"{kind} {schema.get('name')}"
    elif kind in {"array", "map"}:
        words = f"{kind} of {describe(schema.get('items', schema.get('values')))}"
    return words


class _Comparison:
    """One walk over an old and a new schema; each pair of named types is compared once."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, str]] = set()

    def differences(self, old: AvroSchema, new: AvroSchema, at: str, was: Scope, now: Scope) -> Iterator[_Breach]:
        if isinstance(old, list) or isinstance(new, list):
            yield from self._unions(old, new, at, was, now)
            return
        old, was = _resolved(old, was)
        new, now = _resolved(new, now)
        before, after = kind_of(old), kind_of(new)
        if before != after:
            promoted, demoted = after in _readable(before), before in _readable(after)
            yield _Breach(at, f"{describe(old)} becomes {describe(new)}", not promoted, not demoted)
            return
        yield from _logical_change(old, new, at)
        match after:
            case "record" | "error":
                yield from self._records(old, new, at, was, now)
            case "enum":
                yield from _symbols(old, new, at)
                yield from _renamed(old, new, at, was, now)
            case "fixed":
                yield from _renamed(old, new, at, was, now)
                if old["size"] != new["size"]:
                    yield _Breach(at, f"fixed of {old['size']} bytes becomes {new['size']} bytes", True, True)
            case "array":
                yield from self.differences(old["items"], new["items"], f"{at}[]", was, now)
            case "map":
                yield from self.differences(old["values"], new["values"], f"{at}{{}}", was, now)
            case _:
                pass

    def _unions(self, old: AvroSchema, new: AvroSchema, at: str, was: Scope, now: Scope) -> Iterator[_Breach]:
        old_branches = {_branch_name(branch, was): branch for branch in (old if isinstance(old, list) else [old])}
        new_branches = {_branch_name(branch, now): branch for branch in (new if isinstance(new, list) else [new])}
        gone = [name for name in old_branches if name not in new_branches]
        fresh = [name for name in new_branches if name not in old_branches]
        for name in gone:
            if not any(other in _readable(name) for other in new_branches):
                text = _no_longer(describe(old_branches[name]))
                yield _Breach(at, text, True, False)
        for name in fresh:
            if not any(other in _readable(name) for other in old_branches):
                text = _from_now_on(describe(new_branches[name]))
                yield _Breach(at, text, False, True)
        for name, branch in new_branches.items():
            if name in old_branches:
                yield from self.differences(old_branches[name], branch, at, was, now)

    def _records(self, old: Any, new: Any, at: str, was: Scope, now: Scope) -> Iterator[_Breach]:
        old_name, new_name = full_name(old, was.namespace), full_name(new, now.namespace)
        was.named[old_name], now.named[new_name] = old, new
        if (old_name, new_name) in self._seen:
            return
        self._seen.add((old_name, new_name))
        yield from _renamed(old, new, at, was, now)
        was, now = Scope(namespace_of(old_name), was.named), Scope(namespace_of(new_name), now.named)
        old_fields = {field["name"]: field for field in old["fields"]}
        new_fields = {field["name"]: field for field in new["fields"]}
        for name, field in new_fields.items():
            place = f"{at}.{name}" if at else name
            if name in old_fields:
                yield from self.differences(old_fields[name]["type"], field["type"], place, was, now)
                continue
            renamed = [alias for alias in field.get("aliases") or () if alias in old_fields and alias not in new_fields]
            if renamed:
                text = f"is {renamed[0]} under a new name; add a new column instead and keep the old one"
                yield _Breach(place, text, True, True)
            elif "default" not in field:
                yield _Breach(
                    place, "is new and has no default, so what is already written cannot be read", True, False
                )
            _define(field["type"], now)
        for name, field in old_fields.items():
            if name not in new_fields:
                if "default" not in field:
                    place = f"{at}.{name}" if at else name
                    yield _Breach(place, "is dropped and had no default, so whoever still reads it fails", False, True)
                _define(field["type"], was)


def _no_longer(kind: str) -> str:
    if kind == "null":
        return "can no longer be null, but what is already written may be"
    return f"can no longer be {kind}, but what is already written may be"


def _from_now_on(kind: str) -> str:
    if kind == "null":
        return "may now be null, which readers of an older version cannot take"
    return f"may now be {kind}, which readers of an older version cannot take"


def _readable(written: str) -> frozenset[str]:
    return _READABLE_AS.get(written, frozenset()) | {written}


def _define(schema: AvroSchema, scope: Scope) -> None:
    """Learn the named types inside a field that has no counterpart, since later fields may refer to them."""
    if isinstance(schema, list):
        for branch in schema:
            _define(branch, scope)
    elif isinstance(schema, Mapping):
        if schema.get("type") in NAMED:
            name = full_name(schema, scope.namespace)
            scope.named[name] = schema
            scope = Scope(namespace_of(name), scope.named)
        for part in ("items", "values"):
            _define(schema.get(part), scope)
        for field in schema.get("fields") or ():
            _define(field.get("type"), scope)


def _resolved(schema: AvroSchema, scope: Scope) -> tuple[AvroSchema, Scope]:
    """A reference followed to its definition, in the namespace where that stands."""
    if isinstance(schema, str) and schema not in PRIMITIVES and (name := scope.resolve(schema)) is not None:
        # The definition's own name is given in full, so that it means the same from here.
        return {**scope.named[name], "name": name}, Scope(namespace_of(name), scope.named)
    return schema, scope


def _branch_name(branch: AvroSchema, scope: Scope) -> str:
    kind = kind_of(branch)
    if isinstance(branch, Mapping) and kind in NAMED:
        _define(branch, scope)
        return full_name(branch, scope.namespace)
    return kind if kind in PRIMITIVES | {"array", "map"} else scope.resolve(kind) or kind


def _renamed(old: Any, new: Any, at: str, was: Scope, now: Scope) -> Iterator[_Breach]:
    before, after = full_name(old, was.namespace), full_name(new, now.namespace)
    if before != after:
        yield _Breach(at, f"type {before} is renamed to {after}", True, True)


def _logical_change(old: AvroSchema, new: AvroSchema, at: str) -> Iterator[_Breach]:
    attributes = ("logicalType", "precision", "scale")
    before = tuple(old.get(name) for name in attributes) if isinstance(old, Mapping) else (None, None, None)
    after = tuple(new.get(name) for name in attributes) if isinstance(new, Mapping) else (None, None, None)
    if before[0] == after[0] == "decimal":
        before, after = (*before[:2], before[2] or 0), (*after[:2], after[2] or 0)
    elif before[0] == after[0]:
        return
    if before != after:
        text = f"{describe(old)} becomes {describe(new)}; the same bytes would mean another value"
        yield _Breach(at, text, True, True)


def _symbols(old: Any, new: Any, at: str) -> Iterator[_Breach]:
    gone = [symbol for symbol in old["symbols"] if symbol not in new["symbols"]]
    fresh = [symbol for symbol in new["symbols"] if symbol not in old["symbols"]]
    if gone and "default" not in new:
        yield _Breach(at, f"enum drops {', '.join(gone)}, which may already be written", True, False)
    if fresh and "default" not in old:
        yield _Breach(at, f"enum gains {', '.join(fresh)}, which readers of an older version cannot take", False, True)
