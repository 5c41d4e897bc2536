"""The running mesh, as an onboarding has it at hand: what it knew when that began, and how it is told what is new."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ops.onboarding.onboarded import Say
from ops.settings import Connections, Settings
from schemas.agreement.agency import Agency
from schemas.agreement.directory import Directory, FeedEntry, GrantEntry
from schemas.agreement.subscriber import Subscriber
from schemas.log.control.records import publish
from schemas.log.topics import ensure_topics, with_dead_letters
from schemas.log.writer import Log
from schemas.registry.client import RegistryClient

Entry = Agency | FeedEntry | Subscriber | GrantEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningMesh:
    """`directory` is as it was when the onboarding began."""

    settings: Settings
    connections: Connections
    registry: RegistryClient
    directory: Directory
    log: Log
    say: Say

    def tell(self, topic: str, key: str, entry: Entry, running: Entry | None) -> None:
        """Tell the hops, if it is news."""
        if entry != running:
            publish(self.log.append, topic, key, entry.to_json())

    def ensure_topics(self, partitions: Mapping[str, int]) -> None:
        """Topics with so many partitions, and their dead-letter twins."""
        if partitions:
            ensure_topics(self.settings.kafka, with_dead_letters(partitions))
