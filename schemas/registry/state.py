"""State: what the records of the registry's topic add up to. Pure: records in, answers out."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from schemas.registry.record import parse
from schemas.wire.schema import canonical_text

DEFAULT_LEVEL = "BACKWARD"
DEFAULT_MODE = "READWRITE"
_GUIDS = uuid.uuid5(uuid.NAMESPACE_URL, "urn:pearlmesh:schema")


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of a subject. `extra` holds what its sender gave besides: references, metadata, ruleSet."""

    subject: str
    version: int
    id: int
    schema: str
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])
    is_deleted: bool = False

    @property
    def identity(self) -> str:
        """What makes two schemas the same: schema, references, metadata and rules, in whatever order attributes stand."""
        return identity(self.schema, self.extra)

    @property
    def guid(self) -> str:
        """The schema's global name, derived from its text, references, metadata and rules."""
        return str(uuid.uuid5(_GUIDS, json.dumps([self.schema, _parts(self.extra)], sort_keys=True)))

    @property
    def references(self) -> Sequence[Mapping[str, Any]]:
        """The other versions that this schema refers to: `{name, subject, version}` each."""
        return self.extra.get("references") or ()

    def to_value(self) -> dict[str, Any]:
        """The value of its record."""
        value = {"subject": self.subject, "version": self.version, "id": self.id}
        return {**value, **self.extra, "schema": self.schema, "deleted": self.is_deleted}

    @classmethod
    def from_value(cls, value: Mapping[str, Any]) -> Version:
        """Read a record's value. Raises KeyError or ValueError when it is none."""
        known = {"subject", "version", "id", "schema", "deleted"}
        version, schema_id, schema = value["version"], value["id"], value["schema"]
        if not isinstance(version, int) or not isinstance(schema_id, int) or not isinstance(schema, str):
            raise ValueError("version, id or schema has the wrong type")  # noqa: TRY004 - one question: readable or not
        return cls(
            subject=value["subject"],
            version=version,
            id=schema_id,
            schema=schema,
            extra={name: part for name, part in value.items() if name not in known and part not in (None, [])},
            is_deleted=bool(value.get("deleted", False)),
        )


def identity(schema: str, extra: Mapping[str, Any]) -> str:
    """The identity of a schema that is not yet a version."""
    return json.dumps([_sorted(schema), _parts(extra)], sort_keys=True)


@lru_cache(maxsize=10_000)
def _sorted(schema: str) -> str:
    """The schema's text with every object's attributes in one order; what is in a list keeps its own."""
    try:
        return json.dumps(json.loads(canonical_text(json.loads(schema))), sort_keys=True)
    except (ValueError, RecursionError):
        return schema  # a text of another registry that is no JSON is what it is


def _parts(extra: Mapping[str, Any]) -> dict[str, Any]:
    return {name: extra[name] for name in ("references", "metadata", "ruleSet") if extra.get(name)}


class RegistryState:
    """Subjects, ids, configurations and modes. Not shared between threads."""

    def __init__(self) -> None:
        self.subjects: dict[str, dict[int, Version]] = {}
        self.configs: dict[str | None, dict[str, Any]] = {}
        self.modes: dict[str | None, str] = {}
        self.id_max = 0
        self._ids: dict[int, dict[tuple[str, int], Version]] = {}
        self._by_identity: dict[str, int] = {}

    def apply(self, key: bytes | None, value: bytes | None) -> None:
        """Take one record. Raises ValueError when it cannot be one of ours: the caller stops loudly (invariant 9)."""
        try:
            self._apply(parse(key or b"null"), None if value is None else parse(value))
        except KeyError as error:
            raise ValueError(f"lacks {error}") from error

    def _apply(self, key: Mapping[str, Any], value: Mapping[str, Any] | None) -> None:
        subject = key.get("subject")
        match key["keytype"]:
            case "SCHEMA":
                self._apply_schema(key["subject"], key["version"], value)
            case "CONFIG":
                config = None if value is None else {name: part for name, part in value.items() if name != "subject"}
                _set(self.configs, subject, config)
            case "MODE":
                _set(self.modes, subject, None if value is None else value["mode"])
            case "DELETE_SUBJECT" | "CLEAR_SUBJECT" as keytype:
                self._apply_deletion(key["subject"], value, is_erased=keytype == "CLEAR_SUBJECT")
            case "NOOP":
                self.id_max = max(self.id_max, (value or {}).get("maxId", 0))
            case other:
                raise ValueError(f"has the unknown keytype {other!r}")

    def _apply_schema(self, subject: str, version: int, value: Mapping[str, Any] | None) -> None:
        known = self.subjects.get(subject, {}).get(version)
        if value is not None:
            self._put(Version.from_value(value))
        elif known is not None:
            self._drop(known)

    def _apply_deletion(self, subject: str, value: Mapping[str, Any] | None, *, is_erased: bool) -> None:
        if value is None:
            return
        for version in list(self.subjects.get(subject, {}).values()):
            if is_erased:
                self._drop(version)
            elif version.version <= value["version"]:
                self._put(replace(version, is_deleted=True))

    def _put(self, version: Version) -> None:
        same = self.by_id(version.id)
        if same is not None and same.schema != version.schema:
            raise ValueError(f"gives id {version.id} to a second schema")
        if (known := self.subjects.get(version.subject, {}).get(version.version)) is not None:
            self._drop(known)
        self.subjects.setdefault(version.subject, {})[version.version] = version
        self._ids.setdefault(version.id, {})[version.subject, version.version] = version
        self._by_identity.setdefault(version.identity, version.id)
        self.id_max = max(self.id_max, version.id)

    def _drop(self, version: Version) -> None:
        self.subjects[version.subject].pop(version.version)
        if not self.subjects[version.subject]:
            del self.subjects[version.subject]
        uses = self._ids[version.id]
        uses.pop((version.subject, version.version))
        if not uses:
            del self._ids[version.id]
            if self._by_identity.get(version.identity) == version.id:
                del self._by_identity[version.identity]

    def versions(self, subject: str, *, with_deleted: bool = False) -> list[Version]:
        """The versions of a subject, oldest first."""
        versions = self.subjects.get(subject, {})
        return [versions[number] for number in sorted(versions) if with_deleted or not versions[number].is_deleted]

    def next_version(self, subject: str) -> int:
        """The number that the next version of a subject gets; a deleted version's number is not given again."""
        return max(self.subjects.get(subject, {}), default=0) + 1

    def by_id(self, schema_id: int) -> Version | None:
        """Any version that has this id."""
        return next(iter(self._ids.get(schema_id, {}).values()), None)

    def uses(self, schema_id: int) -> list[Version]:
        """Every version that has this id, by subject and number."""
        uses = self._ids.get(schema_id, {})
        return [uses[place] for place in sorted(uses)]

    def id_of(self, wanted: str) -> int | None:
        """The id that a schema of this identity has already."""
        return self._by_identity.get(wanted)

    def by_guid(self, guid: str) -> Version | None:
        """Any version with this GUID."""
        return next((version for uses in self._ids.values() for version in uses.values() if version.guid == guid), None)

    def referenced_by(self, subject: str, version: int, *, with_deleted: bool = False) -> list[int]:
        """The ids of the schemas that refer to a version."""
        return sorted(
            {
                other.id
                for versions in self.subjects.values()
                for other in versions.values()
                if with_deleted or not other.is_deleted
                for reference in other.references
                if reference.get("subject") == subject and reference.get("version") == version
            }
        )

    def level(self, subject: str) -> str:
        """The compatibility level in force for a subject."""
        for scope in (subject, None):
            if level := self.configs.get(scope, {}).get("compatibilityLevel"):
                return level
        return DEFAULT_LEVEL

    def mode(self, subject: str) -> str:
        """The mode in force for a subject."""
        return self.modes.get(subject) or self.modes.get(None) or DEFAULT_MODE


def _set(scopes: dict[str | None, Any], subject: str | None, value: Any) -> None:
    if value is None:
        scopes.pop(subject, None)
    else:
        scopes[subject] = value
