"""Subscribing: a subscriber's part of an onboarding: its logins and rights, its topics, and its grants.

What becomes of each grant, given by the folder or asked for, is in `ops/grants/taking.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from ops.grants.steps import audit_steps
from ops.grants.taking import Taken, Taking, taken
from ops.kinds.sinks import SINKS
from ops.lint.folder import SubscriberFolder
from ops.onboarding.edition import cut, edition_for, end_former
from ops.onboarding.given_address import GivenAddresses, save_secrets
from ops.onboarding.running_mesh import RunningMesh
from ops.own_topic.admission import Admission
from schemas.agreement.directory import FeedEntry
from schemas.agreement.grant import Grant, Status
from schemas.feed import GRANTS, SUBSCRIBERS, out_topic


class Subscribing:
    """`feeds` are those of this onboarding. Collects the ids of the grants that it gave, and notices."""

    def __init__(
        self,
        mesh: RunningMesh,
        feeds: Mapping[str, FeedEntry],
        sink_address: GivenAddresses,
        key_ids: Mapping[str, str],
        taking: Taking,
    ) -> None:
        self._mesh = mesh
        self._directory = mesh.directory
        self._feeds = feeds
        self._sink = sink_address
        self._key_ids = key_ids
        self._taking = taking
        self._taken: dict[str, Taken] = {}
        self._editions: dict[str, int] = {}
        self.grants: list[str] = []
        self.notices: list[str] = []

    def take(self, folder: SubscriberFolder) -> None:
        """Let the subscriber in, and give it what the folder grants."""
        code = folder.subscriber.subscriber
        subscriber = replace(folder.subscriber, hash_key_id=self._key_ids[code])
        grants = [self._take_grant(grant) for grant in folder.grants]
        for sink in subscriber.sinks:
            if SINKS[sink.kind].has_address:
                self._mesh.connections.sinks.save(code, sink.name, self._sink(code, sink.name))
            save_secrets(self._mesh.connections.sinks, sink, folder, self._sink)
        now = datetime.now(UTC)
        topics = {grant.grant_id: self._topic_of(grant, now) for grant in grants}
        self._mesh.ensure_topics({topics[grant.grant_id]: self._feed_of(grant).partitions for grant in grants})
        admission = Admission(self._mesh, subscriber)
        admission.admit({topics[grant.grant_id]: grant for grant in grants}, now)
        self.notices += admission.notices
        self._mesh.tell(SUBSCRIBERS, code, subscriber, self._directory.subscribers.get(code))
        for grant in grants:
            self._grant(grant)
        self._notice_left_out(code)
        self._mesh.say(f"{code} {subscriber.name}: {len(grants)} grants")

    def _take_grant(self, grant: Grant) -> Grant:
        """The grant as it is from now on: only `mesh grant` gives back what was suspended or revoked."""
        running = self._directory.grants.get(grant.grant_id)
        became = taken(grant, running, self._feed_of(grant).contract, self._taking)
        self._taken[grant.grant_id] = became
        if became.notice:
            self.notices.append(became.notice)
        return became.grant

    def _notice_left_out(self, code: str) -> None:
        for grant_id, entry in self._directory.grants.items():
            is_active = entry.grant.status is Status.ACTIVE
            if entry.grant.subscriber == code and is_active and grant_id not in self.grants:
                self.notices.append(
                    f"grant {grant_id} is not in the folder and goes on; `mesh grant {grant_id} REVOKED` ends it"
                )

    def _feed_of(self, grant: Grant) -> FeedEntry:
        return self._feeds.get(grant.feed) or self._directory.feeds[grant.feed]

    def _topic_of(self, grant: Grant, now: datetime) -> str:
        running, contract = self._directory.grants.get(grant.grant_id), self._feed_of(grant).contract
        edition = edition_for(grant, contract, running, self._directory, self._mesh.registry, now)
        self._editions[grant.grant_id] = edition
        return out_topic(grant.grant_id, edition)

    def _grant(self, grant: Grant) -> None:
        running = self._directory.grants.get(grant.grant_id)
        edition = self._editions.get(grant.grant_id, running.edition if running else 1)
        end_former(self._mesh.log.append, running, edition, self._directory)
        entry = cut(grant, self._feed_of(grant), edition, self._mesh.registry, running)
        if became := self._taken.get(grant.grant_id):
            entry = replace(entry, life=became.life, successor=became.successor)
            audit_steps(self._mesh.log.append, grant.grant_id, became.steps)
        self._mesh.tell(GRANTS, grant.grant_id, entry, running)
        self.grants.append(grant.grant_id)

    def recut(self) -> None:
        """Give grants on feeds whose contract got a successor: their schemas follow, their columns do not grow.

        Those that are over, or were refused, hold nobody: they are cut when they are given again.
        """
        now = datetime.now(UTC)
        for grant_id, entry in self._directory.grants.items():
            feed = self._feeds.get(entry.grant.feed)
            is_behind = feed is not None and feed.version != entry.version and not entry.grant.holds_nobody(now)
            if is_behind and grant_id not in self.grants:
                self._grant(entry.grant)
