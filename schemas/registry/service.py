"""What may be registered, deleted and configured: the registry's rules, between its state and its REST interface.

A write is judged and appended under one lock, and answered only after its own record came back from the topic (SR-03), so that
an id that was handed out is durable and unique (invariant 5).
"""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from schemas.registry.answers import Answers, no_subject
from schemas.registry.candidate import CANDIDATE_BYTES_MAX, Candidate
from schemas.registry.judge import Judge
from schemas.registry.record import EncodedRecord, config_entry, id_entry, mode_entry, schema_entry
from schemas.registry.refusal import ErrorCode, Refusal
from schemas.registry.state import RegistryState, Version
from schemas.wire.compatibility import LEVELS

MODES = ("READWRITE", "READONLY", "IMPORT")
Append = Callable[[Sequence[EncodedRecord]], Awaitable[None]]
"""Makes records durable; returns once the state has taken them in."""

HeldBy = Callable[[str | None], str]
"""What of the running mesh needs a subject, such as "feed aic.enterprise"; of None: anything at all. Empty for nothing."""


class Service:
    """The registry's rules over one state. Lives in one event loop."""

    def __init__(self, state: RegistryState, append: Append, held_by: HeldBy = lambda _: "") -> None:
        self.state = state
        self._append = append
        self._held_by = held_by
        self.answers = Answers(state)
        self._judge = Judge(state)
        self._writing = asyncio.Lock()

    async def find(self, subject: str, body: Any, *, is_normalised: bool, with_deleted: bool) -> Version:
        """The version of a subject that is this schema. Raises Refusal."""
        versions = self.answers.versions(subject, with_deleted=with_deleted)
        candidate = await self._judge.candidate(subject, body, is_normalised=is_normalised)
        for version in reversed(versions):
            if candidate.is_same_as(version):
                return version
        raise Refusal(ErrorCode.SCHEMA_NOT_FOUND, "Schema not found")

    async def breaches(self, subject: str, wanted: str | None, body: Any, *, is_normalised: bool) -> list[str]:
        """What a schema would break: against one version, or (`wanted` None) against those its level names."""
        one = None if wanted is None else self.answers.version(subject, wanted, with_deleted=False)
        versions = self.state.versions(subject) if one is None else [one]
        candidate = await self._judge.candidate(subject, body, is_normalised=is_normalised)
        return await self._judge.breaches(subject, candidate, versions)

    async def register(self, subject: str, body: Any, *, is_normalised: bool) -> Version:
        """A version with this schema: the one that is there already, or a new one. Raises Refusal."""
        _check_subject(subject)
        async with self._writing:
            candidate = await self._judge.candidate(subject, body, is_normalised=is_normalised)
            versions = self.state.versions(subject)
            for version in reversed(versions):
                if candidate.is_same_as(version) and candidate.id in (None, version.id):
                    return version
            if not self._is_importing(subject, candidate):
                found = await self._judge.breaches(subject, candidate, versions)
                if found:
                    level = self.state.level(subject)
                    text = f"Schema is incompatible with an earlier schema for subject '{subject}' ({level}): "
                    raise Refusal(ErrorCode.INCOMPATIBLE, text + "; ".join(found))
            version = self._new_version(subject, candidate)
            await self._append([schema_entry(subject, version.version, version.to_value())])
            return version

    async def delete_subject(self, subject: str, *, is_permanent: bool) -> list[int]:
        """Delete all versions of a subject; permanently only after they were deleted softly. Raises Refusal."""
        async with self._writing:
            every, live = self.state.versions(subject, with_deleted=True), self.state.versions(subject)
            self._check_writable(subject)
            self._check_free(subject)
            if not every:
                raise no_subject(subject)
            if is_permanent and live:
                text = f"Subject '{subject}' was not deleted first before being permanently deleted"
                raise Refusal(ErrorCode.SUBJECT_NOT_SOFT_DELETED, text)
            if not is_permanent and not live:
                raise Refusal(ErrorCode.SUBJECT_SOFT_DELETED, f"Subject '{subject}' was soft deleted.")
            versions = every if is_permanent else live
            entries = [self._deletion(version, is_permanent=is_permanent) for version in versions]
            if subject in self.state.configs:
                entries.append(config_entry(subject, None))
            if subject in self.state.modes:
                entries.append(mode_entry(subject, None))
            await self._append([*entries, id_entry(self.state.id_max)] if is_permanent else entries)
            return [version.version for version in versions]

    async def delete_version(self, subject: str, wanted: str, *, is_permanent: bool) -> int:
        """Delete one version; permanently only after it was deleted softly. Raises Refusal."""
        async with self._writing:
            self._check_writable(subject)
            self._check_free(subject)
            if wanted in {"latest", "-1"}:
                version = self.answers.version(subject, wanted, with_deleted=False)
            else:
                version = self.answers.version(subject, wanted, with_deleted=True)
            if is_permanent and not version.is_deleted:
                text = f"Subject '{subject}' Version {version.version} was not deleted first before being permanently deleted"
                raise Refusal(ErrorCode.VERSION_NOT_SOFT_DELETED, text)
            if not is_permanent and version.is_deleted:
                text = f"Subject '{subject}' Version {version.version} was soft deleted."
                raise Refusal(ErrorCode.VERSION_SOFT_DELETED, text)
            entries = [self._deletion(version, is_permanent=is_permanent)]
            await self._append([*entries, id_entry(self.state.id_max)] if is_permanent else entries)
            return version.version

    async def set_config(self, subject: str | None, body: Any) -> dict[str, Any]:
        """Set compatibility and what else a configuration holds, which is kept and returned. Raises Refusal."""
        if subject is not None:
            _check_subject(subject)
        if not isinstance(body, Mapping):
            raise Refusal(ErrorCode.INVALID_LEVEL, 'The request has no "compatibility".')
        config = dict(body)
        level = config.pop("compatibility", None) or config.pop("compatibilityLevel", None)
        if level is not None and (not isinstance(level, str) or level.upper() not in LEVELS):
            raise Refusal(ErrorCode.INVALID_LEVEL, f"Invalid compatibility level. Valid values are {', '.join(LEVELS)}")
        if level is None and not config:
            raise Refusal(ErrorCode.INVALID_LEVEL, f"No compatibility level. Valid values are {', '.join(LEVELS)}")
        async with self._writing:
            self._check_writable(subject)
            self._check_free(subject)
            kept = {**self.state.configs.get(subject, {}), **config}
            if level is not None:
                kept["compatibilityLevel"] = level.upper()
            kept = {name: part for name, part in kept.items() if part is not None and name != "subject"}
            entry = config_entry(subject, kept)
            if len(entry.value or b"") > CANDIDATE_BYTES_MAX:
                raise Refusal(ErrorCode.INVALID_LEVEL, f"The configuration has more than {CANDIDATE_BYTES_MAX} bytes")
            if self.state.configs.get(subject) != kept:
                await self._append([entry])
        return {"compatibility": level.upper(), **config} if level is not None else config

    async def delete_config(self, subject: str | None) -> dict[str, Any]:
        """Back to what is inherited; returns what was set. Raises Refusal when nothing was."""
        async with self._writing:
            self._check_writable(subject)
            self._check_free(subject)
            config = self.answers.config(subject, is_inherited=False)
            await self._append([config_entry(subject, None)])
            return config

    async def set_mode(self, subject: str | None, body: Any, *, is_forced: bool) -> str:
        """Set READWRITE, READONLY or IMPORT. Raises Refusal."""
        mode = body.get("mode") if isinstance(body, Mapping) else None
        if not isinstance(mode, str) or mode.upper() not in MODES:
            raise Refusal(ErrorCode.INVALID_MODE, f"Invalid mode. Valid values are {', '.join(MODES)}")
        if subject is not None:
            _check_subject(subject)
        async with self._writing:
            self._check_free(subject)
            subjects = self.state.subjects if subject is None else (subject,)
            has_schemas = any(self.state.versions(name) for name in subjects)
            if mode.upper() == "IMPORT" and has_schemas and not is_forced:
                raise Refusal(ErrorCode.NOT_PERMITTED, "Cannot import since found existing subjects; use force=true")
            await self._append([mode_entry(subject, mode.upper())])
        return mode.upper()

    async def delete_mode(self, subject: str | None) -> str:
        """Back to what is inherited; returns what was set. Raises Refusal when nothing was."""
        async with self._writing:
            mode = self.answers.mode(subject, is_inherited=False)
            self._check_free(subject)
            await self._append([mode_entry(subject, None)])
            return mode

    def _check_free(self, subject: str | None) -> None:
        """Refuse to take from the running mesh what its readers go by."""
        if holder := self._held_by(subject):
            text = f"Subject '{subject or 'all'}' is held by {holder} of the running mesh: its readers go by it"
            raise Refusal(ErrorCode.NOT_PERMITTED, text)

    def _new_version(self, subject: str, candidate: Candidate) -> Version:
        number = self.state.next_version(subject)
        if candidate.version is not None and self.state.mode(subject) == "IMPORT":
            number = candidate.version
            if number in self.state.subjects.get(subject, {}):
                raise Refusal(
                    ErrorCode.NOT_PERMITTED, f"Version {number} of '{subject}' exists already; a version never changes"
                )
        schema_id = candidate.id or self.state.id_of(candidate.identity) or self.state.id_max + 1
        known = self.state.by_id(schema_id)
        # One id has one text: that of whoever came first, in whatever order the attributes stood.
        text, extra = known.schema if known is not None else candidate.text, candidate.extra
        return Version(subject=subject, version=number, id=schema_id, schema=text, extra=extra)

    def _is_importing(self, subject: str, candidate: Candidate) -> bool:
        mode = self.state.mode(subject)
        if mode == "READONLY":
            raise Refusal(ErrorCode.NOT_PERMITTED, f"Subject '{subject}' is in read-only mode")
        if mode != "IMPORT":
            if candidate.id is not None:
                raise Refusal(ErrorCode.NOT_PERMITTED, f"Subject '{subject}' is not in import mode, so it takes no id")
            return False
        known = self.state.by_id(candidate.id) if candidate.id is not None else None
        if known is not None and known.identity != candidate.identity:
            raise Refusal(
                ErrorCode.NOT_PERMITTED, f"Overwriting id {candidate.id} with another schema is not permitted"
            )
        return True

    def _check_writable(self, subject: str | None) -> None:
        if (self.state.mode(subject) if subject else self.answers.mode(None, is_inherited=True)) == "READONLY":
            raise Refusal(ErrorCode.NOT_PERMITTED, f"Subject '{subject or 'all'}' is in read-only mode")

    def _deletion(self, version: Version, *, is_permanent: bool) -> EncodedRecord:
        if self.state.referenced_by(version.subject, version.version, with_deleted=is_permanent):
            text = f"One or more references exist to version {version.version} of subject '{version.subject}'"
            raise Refusal(ErrorCode.REFERENCE_EXISTS, text)
        value = None if is_permanent else replace(version, is_deleted=True).to_value()
        return schema_entry(version.subject, version.version, value)


def _check_subject(subject: str) -> None:
    is_plain = all(unicodedata.category(character) not in {"Cc", "Cs"} for character in subject)
    if not subject.strip() or not is_plain or len(subject) > 500 or subject == "__GLOBAL":
        raise Refusal(
            ErrorCode.INVALID_SUBJECT, "The subject is empty, too long, reserved or holds control characters."
        )
