"""Nested columns of derived feeds: what a flow may write beyond what a table has, looked into down to the last value.

A flow's row may hold records, arrays of them and maps of plain values. Everything about sharing stays with the column:
a grant names it, a mask hides it, `mesh tail` shows it or not, always as a whole. So what is personal inside is said of the
column, and tags inside that the column lacks would protect nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ops.lint.contract.column import INTERVAL, seems_personal, unmapped
from ops.lint.located import Path
from schemas.wire.schema import PRIMITIVES, AvroSchema, kind_of

WIRE_RECORDS = frozenset({"Envelope", "Value"})
"""Names that the envelope gives to its own records (schemas/wire/envelope.py)."""

_ONE_TYPE = "holds one type, or null and one type"
_ONE_TYPE_FIX = 'write "<type>" or ["null", "<type>"]'
_ELEMENTS: Mapping[str, tuple[str, frozenset[str], str, str]] = {
    "array": (
        "items",
        frozenset({"array"}),
        "is an array of arrays, which no table and no file format has",
        "put a record with a field for the inner array between the two",
    ),
    "map": (
        "values",
        frozenset({"array", "map", "record"}),
        "is a map of more than plain values",
        "use an array of records, with the map's key as one of their fields",
    ),
}
"""Where an array and a map have their elements, the kinds that none may be, why, and what to write instead."""


class Trouble(NamedTuple):
    """One thing wrong inside a column: where, what, and what to write instead."""

    path: Path
    message: str
    fix: str


class Inner(NamedTuple):
    """A field of a record inside a column: where it is written, its names joined by dots, and what the schema says of it."""

    path: Path
    name: str
    entry: Mapping[str, Any]

    @property
    def tags(self) -> frozenset[str]:
        """Its own tags."""
        return frozenset(self.entry.get("confluent:tags", ()))

    @property
    def is_personal(self) -> bool:
        """Whether it seems to hold personal data."""
        return seems_personal(str(self.entry.get("doc", "")), str(self.entry.get("name", "")))


def troubles(column: AvroSchema, at: Path) -> Iterator[Trouble]:
    """Why a flow may not write a column of this type; `at` is where the type stands in the contract's file."""
    for branch, place in _branches(column, at):
        yield from _type(branch, place, "")


def inner_fields(column: AvroSchema, at: Path, prefix: str = "") -> Iterator[Inner]:
    """The fields of the records in a column, in document order."""
    for branch, place in _branches(column, at):
        if not isinstance(branch, Mapping):
            continue
        for part in ("items", "values"):
            if part in branch:
                yield from inner_fields(branch[part], (*place, part), prefix)
        if kind_of(branch) == "record":
            for index, entry in enumerate(branch["fields"]):
                inner = Inner((*place, "fields", index), prefix + entry["name"], entry)
                yield inner
                yield from inner_fields(entry["type"], (*inner.path, "type"), f"{inner.name}.")


def _branches(column: AvroSchema, at: Path) -> list[tuple[AvroSchema, Path]]:
    if isinstance(column, list):
        return [(branch, (*at, index)) for index, branch in enumerate(column) if branch != "null"]
    return [(column, at)]


def _type(branch: AvroSchema, at: Path, name: str) -> Iterator[Trouble]:
    """What is wrong with one type; `name` are the fields on the way to it."""
    inside = f"{name}: " if name else ""
    kind = kind_of(branch)
    if kind == "record":
        yield from _record(branch, at, name)
    elif kind in _ELEMENTS:
        part, refused, why, fix = _ELEMENTS[kind]
        for inner, place in _only_branch(branch[part], (*at, part)):
            if inner is None:
                yield Trouble(place, f"{inside}{kind} {_ONE_TYPE}", _ONE_TYPE_FIX)
            elif kind_of(inner) in refused:
                yield Trouble(place, f"{inside}{why}", fix)
            else:
                yield from _type(inner, place, name)
    elif kind not in PRIMITIVES and isinstance(branch, str):
        fix = f"write the record out here, under a name of its own instead of {branch}"
        yield Trouble(at, f"{inside}refers to {branch} by name, so that nobody can read the column by itself", fix)
    elif found := unmapped(branch):
        yield Trouble(at, f"{inside}{found[0]}", found[1])


def _record(record: Mapping[str, Any], at: Path, name: str) -> Iterator[Trouble]:
    inside = f"{name}: " if name else ""
    if [(field["name"], field["type"]) for field in record["fields"]] == INTERVAL:
        return
    if record["name"].rpartition(".")[2] in WIRE_RECORDS:
        fix = "name the record after what it is"
        yield Trouble((*at, "name"), f"{inside}a record named {record['name']} would hide the envelope's own", fix)
    if not record["fields"]:
        yield Trouble(at, f"{inside}is a record without fields", "add a field, or use a boolean")
    for index, entry in enumerate(record["fields"]):
        path = f"{name}.{entry['name']}" if name else entry["name"]
        for branch, place in _only_branch(entry["type"], (*at, "fields", index, "type")):
            if branch is None:
                yield Trouble(place, f"{path}: a field in a record {_ONE_TYPE}", _ONE_TYPE_FIX)
            else:
                yield from _type(branch, place, path)


def _only_branch(inner: AvroSchema, at: Path) -> list[tuple[AvroSchema | None, Path]]:
    """The one type that an element or a field has, with its place; None where there is none or more than one."""
    found = [(branch, place) for branch, place in _branches(inner, at) if branch != "null"]
    return [*found] if len(found) == 1 else [(None, at)]
