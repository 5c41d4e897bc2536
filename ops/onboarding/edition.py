"""Editions: when a grant goes on through its topic, and when it has to be delivered anew through another one (schemas/feed.py).

It is delivered anew when it is given again after it was over, since what it had delivered was removed; when its schemas became
such that a reader of the topic could not follow, as when a number is hashed now; and when another sink receives it. The former
topic then ends (schemas/agreement/ending.py): its rows go, and nobody may read it any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ops.kinds.sinks import SINKS
from schemas.agreement.directory import Directory, FeedEntry, GrantEntry
from schemas.agreement.grant import Grant
from schemas.agreement.grant_life import Life
from schemas.contract import Contract
from schemas.feed import ENDINGS, key_subject, out_topic, value_subject
from schemas.log.control.records import Append, publish
from schemas.registry.client import RegistryClient
from schemas.wire.envelope import out_key_schema, out_value_schema
from sinks.kind import is_confirmed

COMPATIBILITY = "FULL_TRANSITIVE"
SUCCEEDED = "SUCCEEDED"


def edition_for(
    grant: Grant,
    contract: Contract,
    running: GrantEntry | None,
    directory: Directory,
    registry: RegistryClient,
    now: datetime,
) -> int:
    """The edition in which the grant goes on, or begins."""
    if running is None:
        return 1
    subscriber = directory.subscribers.get(grant.subscriber)
    sink = subscriber.sink(running.grant.sink) if subscriber else None
    is_given_again = (
        running.grant.is_over(now) and not grant.is_over(now) and (sink is None or is_confirmed(sink, SINKS))
    )
    if is_given_again or running.grant.sink != grant.sink or _is_broken(grant, contract, running, registry):
        return running.edition + 1
    return running.edition


def _is_broken(grant: Grant, contract: Contract, running: GrantEntry, registry: RegistryClient) -> bool:
    topic = running.topic
    pairs = [
        (key_subject(topic), out_key_schema(contract, grant)),
        (value_subject(topic), out_value_schema(contract, grant)),
    ]
    return any(registry.latest(subject) is not None and registry.breaches(subject, schema) for subject, schema in pairs)


def cut(
    grant: Grant, feed: FeedEntry, edition: int, registry: RegistryClient, running: GrantEntry | None = None
) -> GrantEntry:
    """The grant with the schemas of its topic, registered, and what became of it so far. Raises ContractBroken, Transient."""
    topic = out_topic(grant.grant_id, edition)
    return GrantEntry(
        grant=grant,
        key_schema_id=register(registry, key_subject(topic), out_key_schema(feed.contract, grant)),
        value_schema_id=register(registry, value_subject(topic), out_value_schema(feed.contract, grant)),
        version=feed.version,
        edition=edition,
        life=running.life if running else Life(),
        successor=running.successor if running else None,
    )


def register(registry: RegistryClient, subject: str, schema: Mapping[str, Any]) -> int:
    """The schema's id under a subject; a new subject gets our level of compatibility first."""
    if registry.latest(subject) is None:
        registry.set_compatibility(subject, COMPATIBILITY)
    return registry.register(subject, schema)


def end_former(append: Append, running: GrantEntry | None, edition: int, directory: Directory) -> None:
    """Ask for the end of what an earlier edition delivered, unless it has ended already."""
    if running is None or running.edition == edition or running.topic in directory.endings:
        return
    publish(append, ENDINGS, running.topic, running.ending(SUCCEEDED).to_json())
