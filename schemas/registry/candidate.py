"""Candidate: a schema that somebody sends, read and checked, in the text by which the registry knows it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.registry.refusal import ErrorCode, Refusal
from schemas.registry.state import RegistryState, Version, identity
from schemas.wire.compatibility import parse_avro
from schemas.wire.fault import faults
from schemas.wire.schema import AvroSchema, canonical_text, with_references

CANDIDATE_BYTES_MAX = 900_000  # below the broker's default limit for one record
_EXTRAS: Mapping[str, type] = {"references": list, "metadata": dict, "ruleSet": dict}


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """`schema` stands alone (references inline), for judging; `text` is what is stored and returned."""

    schema: AvroSchema
    text: str
    extra: Mapping[str, Any]
    id: int | None
    version: int | None

    @property
    def identity(self) -> str:
        """See `Version.identity`."""
        return identity(self.text, self.extra)

    def is_same_as(self, version: Version) -> bool:
        """Whether a version is this schema. A sender that gives no metadata and no rules does not ask about them."""
        if "metadata" in self.extra or "ruleSet" in self.extra:
            return self.identity == version.identity
        references = {name: part for name, part in version.extra.items() if name == "references"}
        return self.identity == identity(version.schema, references)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The body of a request, of which only the outline was looked at."""

    schema: str
    extra: Mapping[str, Any]
    id: int | None
    version: int | None

    @property
    def references(self) -> Sequence[Mapping[str, Any]]:
        """The versions that the schema refers to."""
        return self.extra.get("references", ())


def asked_of(body: Any) -> Asked:
    """The outline of a request's body. Raises Refusal INVALID_SCHEMA when it names no schema."""
    if not isinstance(body, Mapping) or not isinstance(body.get("schema"), str) or not body["schema"].strip():
        raise invalid('the request has no "schema", a text with the schema in JSON')
    if body.get("schemaType") not in (None, "AVRO"):
        raise invalid("only AVRO schemas are kept here")
    return Asked(schema=body["schema"], extra=_extra(body), id=_number(body, "id"), version=_number(body, "version"))


def read_candidate(asked: Asked, referenced: Sequence[AvroSchema], *, is_normalised: bool) -> Candidate:
    """Read and check the schema. Raises Refusal INVALID_SCHEMA when it is none that may be kept. Needs no state: any thread may."""
    try:
        schema = json.loads(asked.schema, parse_constant=_no_constant)
        alone = with_references(schema, referenced)
        if found := faults(alone):
            where = "/".join(map(str, found[0].path)) or "the schema"
            raise invalid(f"{where}: {found[0].message}; {found[0].fix}")
        text = canonical_text(schema, is_normalised=is_normalised)
        size = len(text.encode()) + len(json.dumps(asked.extra).encode())
    except (ValueError, RecursionError) as error:
        raise invalid(f"the schema is not readable JSON: {_brief(error)}") from error
    if size > CANDIDATE_BYTES_MAX:
        raise invalid(f"the schema has more than {CANDIDATE_BYTES_MAX} bytes")
    try:
        parse_avro(alone)
    except ValueError as error:
        raise invalid(_brief(error)) from error
    return Candidate(schema=alone, text=text, extra=asked.extra, id=asked.id, version=asked.version)


def standing_alone(version: Version, state: RegistryState) -> AvroSchema:
    """A kept schema with its references inline, for judging."""
    return with_references(json.loads(version.schema), referenced_schemas(version.references, state))


def referenced_schemas(
    references: Sequence[Mapping[str, Any]], state: RegistryState, seen: frozenset[tuple[str, int]] = frozenset()
) -> list[AvroSchema]:
    """The schemas that references name, those they refer to before them. Raises Refusal when one does not exist."""
    schemas: list[AvroSchema] = []
    for reference in references:
        place = (reference["subject"], reference["version"])
        version = state.subjects.get(place[0], {}).get(place[1])
        if version is None:
            raise invalid(f"reference {reference['name']}: there is no version {place[1]} of subject {place[0]}")
        if place not in seen:
            schemas.extend(referenced_schemas(version.references, state, seen | {place}))
            schemas.append(json.loads(version.schema))
    return schemas


def _extra(body: Mapping[str, Any]) -> dict[str, Any]:
    extra: dict[str, Any] = {}
    for name, kind in _EXTRAS.items():
        part = body.get(name)
        if part is not None and not isinstance(part, kind):
            raise invalid(f'"{name}" is no {"list" if kind is list else "object"}')
        if part:
            extra[name] = part
    for reference in extra.get("references", ()):
        if not isinstance(reference, Mapping) or not (
            isinstance(reference.get("name"), str)
            and isinstance(reference.get("subject"), str)
            and isinstance(reference.get("version"), int)
        ):
            raise invalid("a reference has a name, a subject and a version")
    return extra


def _number(body: Mapping[str, Any], name: str) -> int | None:
    number = body.get(name)
    if number is None or number in (0, -1):
        return None
    if not isinstance(number, int) or isinstance(number, bool) or not 0 < number < 1 << 31:
        raise invalid(f'"{name}" is no positive number')
    return number


def invalid(message: str) -> Refusal:
    """A refusal of the schema itself."""
    return Refusal(ErrorCode.INVALID_SCHEMA, f"Invalid schema: {message}")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _brief(error: BaseException) -> str:
    if isinstance(error, UnicodeError):
        return "it holds half of a character (an unpaired surrogate)"
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)[:300]
