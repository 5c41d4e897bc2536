"""Directory: what the mesh currently agrees on, folded from its control topics.

Every process follows the control topics (schemas/log/control/records.py) and hands its hop a callable that returns the
present Directory. It is immutable: a hop that sees another object than last time takes up what is new, without a restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from schemas.agreement.agency import Agency
from schemas.agreement.anchor import ANCHOR, Anchor
from schemas.agreement.ending import Ending
from schemas.agreement.grant import Grant, Status
from schemas.agreement.grant_life import WAITING, Life
from schemas.agreement.objection import Objection
from schemas.agreement.offboarding import Kind, Offboarding, key_of
from schemas.agreement.pause import Pause, pause_key
from schemas.agreement.subscriber import Login, Subscriber
from schemas.contract import Contract
from schemas.feed import later_edition, out_topic


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedEntry:
    """One onboarded feed: its contract, the registry ids of its wire schemas, and what the source sends of old rows.

    `is_keyed_only`: updates and deletes carry only the key of the row as it was (no REPLICA IDENTITY FULL).
    `edition` counts how often its table got types that readers of the former ones could not follow (ops/onboarding/follow.py).
    `published_on` is the day it was onboarded first, in Asia/Shanghai; empty where that was before it was kept.
    """

    contract: Contract
    version: int
    key_schema_id: int
    value_schema_id: int
    partitions: int
    is_keyed_only: bool = False
    edition: int = 1
    published_on: str = ""

    @property
    def feed(self) -> str:
        """The feed's name, which is its topic's."""
        return self.contract.feed

    @property
    def subjects(self) -> str:
        """What its subjects in the registry are called after: the feed, from the second edition on with its number."""
        return later_edition(self.feed, self.edition)

    def to_json(self) -> dict[str, Any]:
        """The record on `mesh.contracts`."""
        published = {"published_on": self.published_on} if self.published_on else {}
        return {
            **published,
            "feed": self.feed,
            "contract": dict(self.contract.record),
            "version": self.version,
            "key_schema_id": self.key_schema_id,
            "value_schema_id": self.value_schema_id,
            "partitions": self.partitions,
            "is_keyed_only": self.is_keyed_only,
            "edition": self.edition,
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> FeedEntry:
        """Read a record of `mesh.contracts`."""
        values = {**record, "contract": Contract(record["feed"], record["contract"])}
        del values["feed"]
        return cls(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantEntry:
    """One grant with the registry ids of what its `out` topic carries, and the contract version they were cut from.

    `edition` counts how often it had to be delivered anew from nothing, each time through another topic: given again after it
    was over, or with schemas that readers of the topic could not follow. `life` is what became of it so far. `successor` is the
    changed grant that was asked for while this one goes on: it takes its place once it is approved.
    """

    grant: Grant
    key_schema_id: int
    value_schema_id: int
    version: int
    edition: int = 1
    life: Life = field(default_factory=Life)
    successor: Grant | None = None

    @property
    def topic(self) -> str:
        """The topic that carries what the grant allows."""
        return out_topic(self.grant.grant_id, self.edition)

    @property
    def asked(self) -> Grant:
        """What a decision on a request is about: the changed grant, or the grant itself."""
        return self.successor or self.grant

    @property
    def is_waiting(self) -> bool:
        """Whether somebody has asked for it and is not answered yet."""
        return self.asked.status in WAITING

    def is_overdue(self, now: datetime) -> bool:
        """Whether the answer to the request is late."""
        return self.is_waiting and self.life.due_at is not None and self.life.due_at <= now

    def state(self, now: datetime) -> Status:
        """The state at a moment: nobody runs a command when a validity ends."""
        is_past = self.grant.valid_to is not None and self.grant.valid_to <= now
        return (
            Status.EXPIRED if is_past and self.grant.status in {Status.ACTIVE, Status.SUSPENDED} else self.grant.status
        )

    def ending(self, reason: str) -> Ending:
        """The end of what this topic delivered."""
        grant = self.grant
        return Ending(
            topic=self.topic,
            grant_id=grant.grant_id,
            purpose=grant.purpose,
            subscriber=grant.subscriber,
            sink=grant.sink,
            at_end=grant.at_end,
            reason=reason,
            value_schema_id=self.value_schema_id,
        )

    def to_json(self) -> dict[str, Any]:
        """The record on `mesh.grants`."""
        wire = {"key_schema_id": self.key_schema_id, "value_schema_id": self.value_schema_id, "version": self.version}
        record = {**self.grant.to_json(), "wire": {**wire, "edition": self.edition}}
        if self.life != Life():
            record["life"] = self.life.to_json()
        if self.successor is not None:
            record["successor"] = self.successor.to_json()
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> GrantEntry:
        """Read a record of `mesh.grants`."""
        values = dict(record)
        wire, life, successor = values.pop("wire"), values.pop("life", None), values.pop("successor", None)
        return cls(
            grant=Grant.from_json(values),
            life=Life.from_json(life) if life else Life(),
            successor=Grant.from_json(successor) if successor else None,
            **wire,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """Agencies by code, feeds by name, subscribers by code, grants by id, anchors by fingerprint, endings by topic.

    `offboarded` has what left for good, by kind and name (schemas/agreement/offboarding.py).
    `pauses` has what a person holds (schemas/agreement/pause.py).
    `logins` has the users of subscribers that read their topics themselves. `objections` has what they dispute, by id.
    `resyncs` has the last request to copy a feed, or a source `<agency>.<source>`, anew: some text that differs every time.
    """

    agencies: Mapping[str, Agency] = field(default_factory=dict[str, Agency])
    feeds: Mapping[str, FeedEntry] = field(default_factory=dict[str, FeedEntry])
    subscribers: Mapping[str, Subscriber] = field(default_factory=dict[str, Subscriber])
    grants: Mapping[str, GrantEntry] = field(default_factory=dict[str, GrantEntry])
    anchors: Mapping[str, Anchor] = field(default_factory=dict[str, Anchor])
    resyncs: Mapping[str, str] = field(default_factory=dict[str, str])
    endings: Mapping[str, Ending] = field(default_factory=dict[str, Ending])
    offboarded: Mapping[str, Offboarding] = field(default_factory=dict[str, Offboarding])
    pauses: Mapping[str, Pause] = field(default_factory=dict[str, Pause])
    logins: Mapping[str, Login] = field(default_factory=dict[str, Login])
    objections: Mapping[str, Objection] = field(default_factory=dict[str, Objection])

    def logins_of(self, subscriber: str, sink: str) -> list[Login]:
        """By which a sink's topics are read, oldest first."""
        found = [each for each in self.logins.values() if (each.subscriber, each.sink) == (subscriber, sink)]
        return sorted(found, key=lambda each: each.since)

    def pause_of(self, grant: Grant) -> Pause | None:
        """Who holds what the grant delivers, its sink or itself; None if nobody does."""
        sink = self.pauses.get(pause_key("sink", f"{grant.subscriber}.{grant.sink}"))
        return sink or self.pauses.get(pause_key("grant", grant.grant_id))

    def left(self, kind: Kind, name: str) -> Offboarding | None:
        """Since when this has left for good; None if it has not."""
        return self.offboarded.get(key_of(kind, name))

    def slots_due(self) -> list[Offboarding]:
        """What sources without feeds still hold in their databases."""
        due = [each for each in self.offboarded.values() if each.kind == "slot" and each.done_at is None]
        if not due:
            return []
        fed = {entry.contract.source_name for entry in self.feeds.values()}
        return [each for each in due if each.name not in fed]

    def is_derived(self, feed: str) -> bool:
        """Whether a flow writes the feed, instead of a department's database."""
        return self._has_flow(feed) is True

    def is_captured(self, feed: str) -> bool:
        """Whether the feed comes from a department's database, or from another mesh."""
        return self._has_flow(feed) is False

    def _has_flow(self, feed: str) -> bool | None:
        """Whether the feed's source is a flow; None where feed or agency is not known."""
        entry = self.feeds.get(feed)
        agency = self.agencies.get(entry.contract.agency) if entry else None
        return None if entry is None or agency is None else agency.has_flow(entry.contract.source)

    def endings_due(self, now: datetime) -> list[Ending]:
        """The ends that no sink has confirmed yet: those that were asked for, and those of grants that are over."""
        due = [ending for ending in self.endings.values() if ending.acknowledged_at is None]
        for entry in self.grants.values():
            if entry.topic not in self.endings and entry.grant.is_over(now):
                is_revoked = entry.grant.status is Status.REVOKED
                due.append(entry.ending("REVOKED" if is_revoked else "EXPIRED"))
        return due

    def trusted(self) -> Directory:
        """Without the grants of meshes whose anchor is not here: what the hops go by (invariant 6, HANDBOOK A10)."""
        served = {grant_id: entry for grant_id, entry in self.grants.items() if self._is_trusted(entry.grant)}
        return self if len(served) == len(self.grants) else replace(self, grants=served)

    def _is_trusted(self, grant: Grant) -> bool:
        subscriber = self.subscribers.get(grant.subscriber)
        sink = subscriber.sink(grant.sink) if subscriber else None
        return sink is None or not sink.is_mesh or sink.options.get(ANCHOR) in self.anchors
