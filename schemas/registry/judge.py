"""Judge: reads the schemas that people send, and compares them with those that are there.

For large ones both take long. It is done beside the loop, a few at once, and everybody else is answered meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from schemas.registry.candidate import Candidate, asked_of, read_candidate, referenced_schemas, standing_alone
from schemas.registry.state import RegistryState, Version
from schemas.wire.compatibility import breaches

AT_ONCE_MAX = 2


class Judge:
    """Of one registry. Lives in its event loop."""

    def __init__(self, state: RegistryState) -> None:
        self._state = state
        self._at_once = asyncio.Semaphore(AT_ONCE_MAX)

    async def candidate(self, subject: str, body: Any, *, is_normalised: bool) -> Candidate:
        """The schema that a request sends for a subject. Raises Refusal."""
        is_configured = any(
            (self._state.configs.get(scope) or {}).get("normalize") is True for scope in (subject, None)
        )
        asked = asked_of(body)
        referenced = referenced_schemas(asked.references, self._state)
        async with self._at_once:
            return await asyncio.to_thread(
                read_candidate, asked, referenced, is_normalised=is_normalised or is_configured
            )

    async def breaches(self, subject: str, candidate: Candidate, versions: Sequence[Version]) -> list[str]:
        """What a schema would break of these versions, at the subject's level."""
        level = self._state.level(subject)
        if level == "NONE" or not versions:
            return []
        compared = versions if level.endswith("_TRANSITIVE") else versions[-1:]
        alone = [standing_alone(version, self._state) for version in compared]
        async with self._at_once:
            return await asyncio.to_thread(breaches, alone, candidate.schema, level)
