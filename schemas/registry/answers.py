"""What the registry answers to questions, as Confluent's does: out of its state, and with a Refusal where there is nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schemas.registry.refusal import ErrorCode, Refusal
from schemas.registry.state import DEFAULT_LEVEL, DEFAULT_MODE, RegistryState, Version


class Answers:
    """Over one state, as it is at the moment of asking."""

    def __init__(self, state: RegistryState) -> None:
        self._state = state

    def subjects(self, prefix: str, *, with_deleted: bool, only_deleted: bool) -> list[str]:
        """The names of the subjects, sorted; `:*:` asks for every context, as no prefix does."""
        prefix = "" if prefix == ":*:" else prefix
        names: list[str] = []
        for name in sorted(self._state.subjects):
            is_live = bool(self._state.versions(name))
            if name.startswith(prefix) and (not is_live if only_deleted else is_live or with_deleted):
                names.append(name)
        return names

    def versions(self, subject: str, *, with_deleted: bool, only_deleted: bool = False) -> list[Version]:
        """The versions of a subject, oldest first. Raises Refusal when there are none."""
        with_deleted = with_deleted or only_deleted
        versions = self._state.versions(subject, with_deleted=with_deleted)
        if only_deleted:
            versions = [version for version in versions if version.is_deleted]
        if not versions:
            raise no_subject(subject)
        return versions

    def version(self, subject: str, wanted: str, *, with_deleted: bool) -> Version:
        """One version: a number, or `latest`. Raises Refusal."""
        number = _version_number(wanted)
        versions = self.versions(subject, with_deleted=with_deleted)
        if number is None:
            return versions[-1]
        for version in versions:
            if version.version == number:
                return version
        raise Refusal(ErrorCode.VERSION_NOT_FOUND, f"Version {number} not found.")

    def latest_with(self, subject: str, properties: Mapping[str, str], *, with_deleted: bool) -> Version:
        """The latest version whose metadata has these properties. Raises Refusal."""
        for version in reversed(self.versions(subject, with_deleted=with_deleted)):
            given = (version.extra.get("metadata") or {}).get("properties") or {}
            if all(given.get(name) == value for name, value in properties.items()):
                return version
        raise Refusal(ErrorCode.VERSION_NOT_FOUND, "No version has this metadata.")

    def by_id(self, wanted: str) -> Version:
        """Any version with this id. Raises Refusal."""
        version = self._state.by_id(int(wanted)) if wanted.isascii() and wanted.isdigit() and len(wanted) < 12 else None
        if version is None:
            raise Refusal(ErrorCode.SCHEMA_NOT_FOUND, f"Schema {wanted} not found")
        return version

    def config(self, subject: str | None, *, is_inherited: bool) -> dict[str, Any]:
        """The configuration as it is kept, with `compatibilityLevel`. Raises Refusal when a subject has none of its own."""
        config = self._state.configs.get(subject)
        if config is None and subject is not None and not is_inherited:
            raise Refusal(
                ErrorCode.NO_SUBJECT_CONFIG, f"Subject '{subject}' does not have subject-level configuration."
            )
        if config is None:
            config = self._state.configs.get(None)
        return {"compatibilityLevel": DEFAULT_LEVEL, **(config or {})}

    def mode(self, subject: str | None, *, is_inherited: bool) -> str:
        """The mode. Raises Refusal when a subject has none of its own."""
        if subject is None:
            return self._state.modes.get(None, DEFAULT_MODE)
        if subject not in self._state.modes and not is_inherited:
            raise Refusal(ErrorCode.NO_SUBJECT_MODE, f"Subject '{subject}' does not have subject-level mode.")
        return self._state.mode(subject)


def no_subject(subject: str) -> Refusal:
    """The answer for a subject that is not there."""
    return Refusal(ErrorCode.SUBJECT_NOT_FOUND, f"Subject '{subject}' not found.")


def _version_number(wanted: str) -> int | None:
    """A version's number; None for the latest."""
    if wanted in {"latest", "-1"}:
        return None
    if wanted.isascii() and wanted.isdigit() and 0 < int(wanted[:12]) < 1 << 31 and len(wanted) < 12:
        return int(wanted)
    text = 'The specified version is not a valid version id. Allowed values are between [1, 2^31-1] and the string "latest"'
    raise Refusal(ErrorCode.INVALID_VERSION, text)
