"""Readers: by which users on Kafka the topics of a sink are read by its subscriber itself, and what those may (invariant 6).

A sink that its subscriber reads by logins of its own has those. Another mesh has one, called as the subscriber is. Nobody else reads.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ops.kinds.sinks import SINKS
from ops.watch.lag import delivery_group
from schemas.agreement.directory import Directory
from schemas.agreement.grant import Grant
from schemas.agreement.subscriber import SinkConfig
from schemas.feed import ends_topic
from schemas.log.kafka import Kafka
from schemas.log.rights.access import Access, allow_own, allow_read, withdraw_read
from sinks.kind import is_read_itself


def sink_of(directory: Directory, subscriber: str, name: str) -> SinkConfig | None:
    """The sink, if it is there."""
    known = directory.subscribers.get(subscriber)
    return known.sink(name) if known else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Readers:
    """By what the directory says. Raises what the broker does: Transient, Misconfigured."""

    kafka: Kafka
    directory: Directory

    def users(self, subscriber: str, sink: str) -> list[str]:
        """Who reads the sink's topics, oldest first."""
        config = sink_of(self.directory, subscriber, sink)
        if config is not None and config.is_mesh:
            return [subscriber]
        if not is_read_itself(config, SINKS):
            return []
        return [login.user for login in self.directory.logins_of(subscriber, sink)]

    def open(self, grant: Grant, topics: Iterable[str]) -> Access:
        """Let its readers read these topics."""
        listed, outcome = list(topics), Access(is_enforced=True)
        for user in self.users(grant.subscriber, grant.sink):
            outcome = self.allow(user, listed)
        return outcome

    def close(self, grant: Grant, topics: Iterable[str]) -> None:
        """Let nobody read them any more; nor the login that every subscriber once had."""
        listed = list(topics)
        for user in {grant.subscriber, *self.users(grant.subscriber, grant.sink)}:
            withdraw_read(self.kafka, user, listed)

    def allow(self, user: str, topics: Iterable[str]) -> Access:
        """Let one reader read these topics. Safe to repeat."""
        login = self.directory.logins.get(user)
        if login is None:
            return allow_read(self.kafka, user, topics, f"sub.{user}.")
        topics = [*topics, ends_topic(login.subscriber, login.sink)]
        return allow_own(self.kafka, user, delivery_group(login.subscriber, login.sink), topics)
