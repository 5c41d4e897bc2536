"""Avro schemas as JSON: their names and scopes, their canonical text, and their references put inline.

Works on parsed JSON and keeps every attribute it does not know, since contracts carry ours (`gov`, `confluent:tags`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

AvroSchema = Any  # a name, a mapping, or a list of branches, as JSON gives it
SchemaOf = Callable[[int], Mapping[str, AvroSchema]]
"""Looks a schema up by its registry id; raises Rejected for an id nobody knows, Transient when it cannot ask."""
Path = tuple[str | int, ...]

PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
NAMED = frozenset({"record", "error", "enum", "fixed"})
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

LOGICAL_BASES: Mapping[str, frozenset[str]] = {
    "decimal": frozenset({"bytes", "fixed"}),
    "uuid": frozenset({"string", "fixed"}),
    "date": frozenset({"int"}),
    "time-millis": frozenset({"int"}),
    "time-micros": frozenset({"long"}),
    "timestamp-millis": frozenset({"long"}),
    "timestamp-micros": frozenset({"long"}),
    "timestamp-nanos": frozenset({"long"}),
    "local-timestamp-millis": frozenset({"long"}),
    "local-timestamp-micros": frozenset({"long"}),
    "local-timestamp-nanos": frozenset({"long"}),
    "duration": frozenset({"fixed"}),
}


class Scope(NamedTuple):
    """What a nested schema can refer to: the enclosing namespace, and the named types defined so far."""

    namespace: str
    named: dict[str, AvroSchema]

    def resolve(self, name: str) -> str | None:
        """The full name that a reference means, if it is defined."""
        candidates = (name,) if "." in name or not self.namespace else (f"{self.namespace}.{name}", name)
        return next((candidate for candidate in candidates if candidate in self.named), None)


def full_name(schema: Mapping[str, Any], namespace: str) -> str:
    """The full name of a named type inside a namespace."""
    name = str(schema.get("name", ""))
    if "." in name:
        return name
    own = schema.get("namespace", namespace)
    return f"{own}.{name}" if own else name


def namespace_of(name: str) -> str:
    """The namespace part of a full name."""
    return name.rpartition(".")[0]


def kind_of(schema: AvroSchema) -> str:
    """`union`, `record`, `array`, … or a primitive; a reference gives the name it refers to."""
    if isinstance(schema, list):
        return "union"
    if isinstance(schema, Mapping):
        kind = schema.get("type")
        return kind if isinstance(kind, str) else "?"
    return schema if isinstance(schema, str) else "?"


# --- canonical text -------------------------------------------------------------------------------------------------

_ATTRIBUTE_ORDER = (
    "name",
    "type",
    "namespace",
    "doc",
    "aliases",
    "items",
    "values",
    "symbols",
    "size",
    "fields",
    "default",
)


def canonical_text(schema: AvroSchema, *, is_normalised: bool = False) -> str:
    """The schema's text without white space and needless wrapping, by which the registry recognises a schema.

    Attribute order is kept, unless normalised: then it is a fixed order, the unknown ones sorted at the end.
    """
    return json.dumps(_tidy(schema, is_normalised), ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _tidy(schema: AvroSchema, is_normalised: bool) -> AvroSchema:
    if isinstance(schema, list):
        return [_tidy(branch, is_normalised) for branch in schema]
    if not isinstance(schema, Mapping):
        return schema
    if set(schema) == {"type"} and kind_of(schema) in PRIMITIVES:
        return schema["type"]
    tidy: dict[str, Any] = {}
    for name, value in schema.items():
        if name in {"items", "values"} or (name == "type" and not isinstance(value, str)):
            tidy[name] = _tidy(value, is_normalised)
        elif name == "fields" and isinstance(value, list):
            tidy[name] = [_tidy(field, is_normalised) for field in value]
        else:
            tidy[name] = value
    if not is_normalised:
        return tidy
    known = {name: tidy[name] for name in _ATTRIBUTE_ORDER if name in tidy}
    return {**known, **{name: tidy[name] for name in sorted(set(tidy) - set(known))}}


# --- references -----------------------------------------------------------------------------------------------------


def with_references(schema: AvroSchema, referenced: Sequence[AvroSchema]) -> AvroSchema:
    """The schema with each referenced named type put in place of its first mention, so that it stands alone."""
    named: dict[str, AvroSchema] = {}
    for other in referenced:
        _collect(other, "", named)
    return _inlined(schema, "", named, set()) if named else schema


def _collect(schema: AvroSchema, namespace: str, named: dict[str, AvroSchema]) -> None:
    if isinstance(schema, list):
        for branch in schema:
            _collect(branch, namespace, named)
    elif isinstance(schema, Mapping):
        if kind_of(schema) in NAMED:
            name = full_name(schema, namespace)
            named[name] = {**schema, "name": name}
            namespace = namespace_of(name)
        for part in ("items", "values"):
            _collect(schema.get(part), namespace, named)
        fields = schema.get("fields")
        for field in fields if isinstance(fields, list) else ():
            if isinstance(field, Mapping):
                _collect(field.get("type"), namespace, named)


def _inlined(schema: AvroSchema, namespace: str, named: Mapping[str, AvroSchema], done: set[str]) -> AvroSchema:
    if isinstance(schema, str) and schema not in PRIMITIVES:
        candidates = (schema,) if "." in schema or not namespace else (f"{namespace}.{schema}", schema)
        name = next((name for name in candidates if name in named), None)
        if name is None or name in done:
            return name or schema
        return _inlined(named[name], "", named, done)
    if isinstance(schema, list):
        return [_inlined(branch, namespace, named, done) for branch in schema]
    if not isinstance(schema, Mapping):
        return schema
    if kind_of(schema) in NAMED:
        name = full_name(schema, namespace)
        if name in done:
            return name
        done.add(name)
        namespace = namespace_of(name)
    inlined = dict(schema)
    for part in ("items", "values"):
        if part in inlined:
            inlined[part] = _inlined(inlined[part], namespace, named, done)
    if isinstance(inlined.get("fields"), list):
        inlined["fields"] = [
            {**field, "type": _inlined(field.get("type"), namespace, named, done)}
            if isinstance(field, Mapping)
            else field
            for field in inlined["fields"]
        ]
    return inlined
