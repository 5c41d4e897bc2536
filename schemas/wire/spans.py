"""Avro bytes, walked without decoding: where a value ends, and the few values that a hop must read.

Everything here follows the Avro 1.12 specification, "Binary Encoding". A byte string that ends too early raises IndexError,
as indexing does; the caller turns that into a dead letter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from schemas.contract import AvroType
from schemas.errors import Rejected
from schemas.wire.varint import read_long

Skip = Callable[[bytes, int], int]

VARINT = rb"[\x80-\xff]*+[\x00-\x7f]"
_FIXED = {"boolean": rb"[\x00\x01]", "float": b".{4}", "double": b".{8}", "int": VARINT, "long": VARINT, "null": b""}
_end_of_varint = re.compile(VARINT).match


def malformed() -> Rejected:
    """The bytes cannot be what their schema says."""
    return Rejected("not_decodable", "the bytes do not follow the schema they name")


def read_text(b: bytes, p: int) -> tuple[bytes, int]:
    """Bytes, or text as UTF-8, and the place after them."""
    size, p = read_long(b, p)
    if size < 0 or p + size > len(b):
        raise malformed()
    return b[p : p + size], p + size


def far_text(b: bytes, p: int) -> int:
    """The end of a text whose length takes more than one byte."""
    size, p = read_long(b, p)
    if size < 0 or p + size > len(b):
        raise malformed()
    return p + size


def read_array(b: bytes, p: int, read_item: Callable[[bytes, int], tuple[Any, int]]) -> tuple[list[Any], int]:
    """The items of an array and the place after it."""
    items: list[Any] = []
    while True:
        count, p = read_long(b, p)
        if count == 0:
            return items, p
        if count < 0:
            count = -count
            _, p = read_long(b, p)
        if count > len(b):  # no item is shorter than a byte here
            raise malformed()
        for _ in range(count):
            item, p = read_item(b, p)
            items.append(item)


class Types:
    """The types of one schema: resolves named types and says how to walk over a value."""

    def __init__(self, schema: AvroType) -> None:
        self._named: dict[str, Mapping[str, Any]] = {}
        self._collect(schema)

    def resolve(self, avro_type: AvroType) -> AvroType:
        """A type with its wrapper off: a primitive's name, or the mapping of a complex type."""
        while True:
            if isinstance(avro_type, str):
                if avro_type in _FIXED or avro_type in {"string", "bytes"}:
                    return avro_type
                avro_type = self._named[avro_type]
            if isinstance(avro_type, Mapping):
                inner = avro_type["type"]
                if inner in ("record", "error", "enum", "fixed", "array", "map"):
                    return avro_type
                avro_type = inner
                continue
            return avro_type

    def pattern(self, avro_type: AvroType) -> bytes | None:  # noqa: PLR0911  # one return per kind of type
        """A regular expression (DOTALL) for exactly the encodings of the type; None where a length prefix forbids it."""
        kind = self.resolve(avro_type)
        if isinstance(kind, str):
            return _FIXED.get(kind)
        if isinstance(kind, Mapping):
            if kind["type"] == "enum":
                return VARINT
            if kind["type"] == "fixed":
                return b".{%d}" % kind["size"]
            if kind["type"] != "record":
                return None
            parts = [self.pattern(field["type"]) for field in kind["fields"]]
            return None if None in parts else b"".join(part for part in parts if part is not None)
        branches = [self.pattern(branch) for branch in kind]
        if len(branches) > 64 or None in branches:
            return None
        return b"(?:" + b"|".join(re.escape(bytes([2 * i])) + (part or b"") for i, part in enumerate(branches)) + b")"

    def skip(self, avro_type: AvroType) -> Skip:
        """A function from a value's start to its end."""
        kind = self.resolve(avro_type)
        if kind in ("string", "bytes"):
            return far_text
        pattern = self.pattern(avro_type)
        if pattern is not None:
            match = re.compile(pattern, re.DOTALL).match

            def by_pattern(b: bytes, p: int) -> int:
                found = match(b, p)
                if found is None:
                    raise malformed()
                return found.end()

            return by_pattern
        if isinstance(kind, Mapping):
            if kind["type"] == "record":
                skips = [self.skip(field["type"]) for field in kind["fields"]]
                return lambda b, p: _skip_all(skips, b, p)
            is_map = kind["type"] == "map"
            item = self.skip(kind["values"] if is_map else kind["items"])
            steps = [far_text, item] if is_map else [item]
            return lambda b, p: read_array(b, p, lambda b, p: (None, _skip_all(steps, b, p)))[1]
        branches = [self.skip(branch) for branch in kind]
        return lambda b, p: _skip_branch(branches, b, p)

    def essence(self, avro_type: AvroType) -> Any:
        """What decides the encoding: equal essences have equal bytes."""
        kind = self.resolve(avro_type)
        if isinstance(kind, str):
            return {"int": "long", "bytes": "string"}.get(kind, kind)
        if isinstance(kind, Mapping):
            match kind["type"]:
                case "record":
                    return ("record", *(self.essence(field["type"]) for field in kind["fields"]))
                case "array" | "map":
                    return (kind["type"], self.essence(kind.get("items", kind.get("values"))))
                case "fixed":
                    return ("fixed", kind["size"])
                case _:
                    return ("enum", *kind["symbols"])
        return ("union", *(self.essence(branch) for branch in kind))

    def _collect(self, schema: AvroType, namespace: str = "") -> None:
        if isinstance(schema, Mapping):
            if "name" in schema and schema.get("type") in {"record", "error", "enum", "fixed"}:
                namespace = schema.get("namespace", namespace)
                # A record inside a column may be called as one of the envelope's: the only name that is referred to, the
                # row's, was there before it.
                self._named.setdefault(schema["name"], schema)
                self._named.setdefault(f"{namespace}.{schema['name']}", schema)
                for field in schema.get("fields", ()):
                    self._collect(field["type"], namespace)
            else:
                for part in ("type", "items", "values"):
                    if part in schema and not isinstance(schema[part], str):
                        self._collect(schema[part], namespace)
        elif isinstance(schema, Sequence) and not isinstance(schema, str):
            for branch in schema:
                self._collect(branch, namespace)


def _skip_all(skips: Sequence[Skip], b: bytes, p: int) -> int:
    for skip in skips:
        p = skip(b, p)
    return p


def _skip_branch(branches: Sequence[Skip], b: bytes, p: int) -> int:
    index, p = read_long(b, p)
    if not 0 <= index < len(branches):
        raise malformed()
    return branches[index](b, p)


def end_of_varint(b: bytes, p: int) -> int:
    """The end of a varint."""
    found = _end_of_varint(b, p)
    if found is None:
        raise IndexError
    return found.end()
