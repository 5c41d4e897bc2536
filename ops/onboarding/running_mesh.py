"""The running mesh, as an onboarding has it at hand: what it knew when that began, and how it is told what is new."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ops.audit.audited_log import AuditedLog
from ops.onboarding.onboarded import Say
from ops.settings import Connections, Settings
from ops.trust.audit import audit
from schemas.agreement.agency import Agency
from schemas.agreement.directory import Directory, FeedEntry, GrantEntry
from schemas.agreement.subscriber import Subscriber
from schemas.feed import AGENCIES, CONTRACTS, GRANTS, SUBSCRIBERS
from schemas.log.control.records import publish
from schemas.log.topics import ensure_topics, with_dead_letters
from schemas.registry.client import RegistryClient

Entry = Agency | FeedEntry | Subscriber | GrantEntry
_NOUNS = {AGENCIES: "agency", CONTRACTS: "feed", SUBSCRIBERS: "subscriber", GRANTS: "grant"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningMesh:
    """`directory` is as it was when the onboarding began."""

    settings: Settings
    connections: Connections
    registry: RegistryClient
    directory: Directory
    log: AuditedLog
    say: Say

    def tell(self, topic: str, key: str, entry: Entry, running: Entry | None) -> None:
        """Tell the hops, if it is news, and the audit."""
        if entry != running:
            publish(self.log.append, topic, key, entry.to_json())
            what = f"{_NOUNS[topic]} {'onboarded' if running is None else 'changed'}"
            audit(self.log.append, what, key, **_told(entry))

    def ensure_topics(self, partitions: Mapping[str, int]) -> None:
        """Topics with so many partitions, and their dead-letter twins."""
        if partitions:
            ensure_topics(self.settings.kafka, with_dead_letters(partitions))


def _told(entry: Entry) -> Mapping[str, Any]:
    """What the audit says of an entry: whose it is and what it allows."""
    match entry:
        case Agency():
            return {"sources": [f"{source.name} ({source.kind})" for source in entry.sources]}
        case FeedEntry():
            return {"version": entry.version, "columns": sorted(entry.contract.by_name)}
        case Subscriber():
            return {"sinks": [f"{sink.name} ({sink.kind})" for sink in entry.sinks]}
        case GrantEntry():
            grant = entry.grant
            named = (
                "purpose",
                "matter_code",
                "legal_basis",
                "status",
                "columns",
                "mask",
                "valid_from",
                "valid_to",
                "at_end",
            )
            terms = grant.to_json()
            # A filter's literals may be somebody's: that there is one is all that is said.
            return {**{name: terms[name] for name in named}, "filtered": bool(grant.row_filter), "topic": entry.topic}
