"""Versions of a feed's contract, as the registry has them: what each one has that the one before had not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from schemas.agreement.directory import FeedEntry
from schemas.feed import value_subject
from schemas.registry.client import RegistryClient

_ABOUT = ("doc", "confluent:tags")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One column that another version has otherwise. `what`: added, removed, type or words; both sides as text, empty for none."""

    what: str
    column: str
    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version, and how it differs from the one before; the first differs from none."""

    number: int
    columns: int
    differences: Sequence[Difference]


def versions(registry: RegistryClient, entry: FeedEntry) -> list[Version]:
    """All of the feed's present edition, the newest first. Raises Transient."""
    rows = [(number, _row(schema)) for number, schema in registry.versions(value_subject(entry.subjects))]
    if not rows:
        return []
    number, first = rows[0]
    found = [Version(number=number, columns=len(first), differences=[])]
    for (_, before), (number, after) in pairwise(rows):
        found.append(Version(number=number, columns=len(after), differences=differences(before, after)))
    return found[::-1]


def differences(before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]) -> list[Difference]:
    """Between two rows' fields by name, in the order of the later one; what it has not any more at the end."""
    found: list[Difference] = []
    for name, field in after.items():
        former = before.get(name)
        if former is None:
            found.append(Difference(what="added", column=name, after=type_text(field["type"])))
        elif former["type"] != field["type"]:
            told = type_text(former["type"]), type_text(field["type"])
            found.append(Difference(what="type", column=name, before=told[0], after=told[1]))
        elif _about(former) != _about(field):
            found.append(Difference(what="words", column=name, before=_about(former), after=_about(field)))
    gone = [name for name in before if name not in after]
    return [*found, *(Difference(what="removed", column=name, before=type_text(before[name]["type"])) for name in gone)]


def type_text(kind: Any) -> str:
    """An Avro type as people name it: its logical type, or its own; with a mark where it may be null."""
    if isinstance(kind, list):
        branches = [type_text(branch) for branch in kind if branch != "null"]
        return " | ".join(branches) + ("?" if "null" in kind else "")
    if not isinstance(kind, Mapping):
        return str(kind)
    if kind.get("logicalType") == "decimal":
        return f"decimal({kind.get('precision')}, {kind.get('scale', 0)})"
    if kind.get("type") in {"array", "map"}:
        return f"{kind['type']} of {type_text(kind.get('items') or kind.get('values'))}"
    if kind.get("type") == "record":
        return f"{{{', '.join(field['name'] for field in kind['fields'])}}}"
    return str(kind.get("logicalType") or kind.get("type"))


def _row(envelope: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The fields of the row within an envelope's schema."""
    for field in envelope.get("fields", ()):
        for branch in field["type"] if isinstance(field["type"], list) else ():
            if field["name"] in {"before", "after"} and isinstance(branch, Mapping):
                return {each["name"]: each for each in branch["fields"]}
    return {}


def _about(field: Mapping[str, Any]) -> str:
    doc, tags = (field.get(name) for name in _ABOUT)
    return ", ".join(filter(None, [doc or "", *sorted(tags or ())]))
