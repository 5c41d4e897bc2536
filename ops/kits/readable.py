"""Readable: what a subscriber may read by itself now: the sinks to which it comes, and the active grants of each (invariant 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ops.kinds.sinks import SINKS
from ops.known_names import did_you_mean, few
from schemas.agreement.directory import Directory, GrantEntry
from schemas.agreement.subscriber import SinkConfig, Subscriber
from schemas.contract import Contract
from schemas.errors import Misconfigured
from schemas.feed import ends_topic
from sinks.kind import is_read_itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Readable:
    """One sink. `entries` are the active grants through it, by id; `contracts` those of their feeds, by feed."""

    subscriber: Subscriber
    sink: SinkConfig
    entries: Sequence[GrantEntry]
    contracts: Mapping[str, Contract]

    @property
    def name(self) -> str:
        """As people name it: `<subscriber>.<sink>`."""
        return f"{self.subscriber.subscriber}.{self.sink.name}"

    @property
    def ends(self) -> str:
        """The topic that tells ends of grants, where topics are read; empty where the mesh serves a live feed."""
        return ends_topic(self.subscriber.subscriber, self.sink.name) if is_read_itself(self.sink, SINKS) else ""

    @property
    def address(self) -> str:
        """Where the mesh serves it; empty where topics are read. Raises Misconfigured."""
        served_at = SINKS[self.sink.kind].served_at
        return served_at(self.sink) if served_at else ""

    def contract(self, entry: GrantEntry) -> Contract:
        """Of the feed that is granted."""
        return self.contracts[entry.grant.feed]


def is_readable(sink: SinkConfig) -> bool:
    """Whether its subscriber comes and reads: its own topics, or what the mesh serves."""
    kind = SINKS.get(sink.kind)
    return is_read_itself(sink, SINKS) or (kind is not None and kind.served_at is not None)


def readable(
    directory: Directory, subscriber: str, now: datetime, *, sinks: Sequence[str] = (), feeds: Sequence[str] = ()
) -> list[Readable]:
    """What the subscriber may read at this moment: all of it, or of these sinks and feeds. Raises Misconfigured for nothing."""
    known = directory.subscribers.get(subscriber)
    if known is None:
        fix = did_you_mean(subscriber, list(directory.subscribers), "`mesh subscription list` shows the subscribers")
        raise Misconfigured(subscriber, "is no subscriber here", fix=fix)
    for name in sinks:
        if known.sink(name) is None:
            fix = did_you_mean(name, [sink.name for sink in known.sinks])
            raise Misconfigured(f"{subscriber}.{name}", "is no sink of this subscriber", fix=fix)
    active = [
        entry
        for _, entry in sorted(directory.trusted().grants.items())
        if entry.grant.subscriber == subscriber and entry.grant.is_active(now) and entry.grant.feed in directory.feeds
    ]
    granted = sorted({entry.grant.feed for entry in active})
    for feed in feeds:
        if feed not in granted:
            fix = did_you_mean(feed, granted, "`mesh grant list` shows its grants")
            raise Misconfigured(feed, f"is nothing that {subscriber} may read now", fix=fix)
    found = [
        Readable(
            subscriber=known,
            sink=sink,
            entries=tuple(
                each for each in active if each.grant.sink == sink.name and _is_among(each.grant.feed, feeds)
            ),
            contracts={feed: directory.feeds[feed].contract for feed in granted},
        )
        for sink in known.sinks
        if is_readable(sink) and _is_among(sink.name, sinks)
    ]
    found = [each for each in found if each.entries]
    if not found:
        raise _nothing(known, active)
    return found


def _is_among(name: str, wanted: Sequence[str]) -> bool:
    return not wanted or name in wanted


def _nothing(subscriber: Subscriber, active: Sequence[GrantEntry]) -> Misconfigured:
    """Why there is nothing to read, and what to do."""
    if not active:
        problem, fix = "has no active grant, so there is nothing to read", "`mesh grant list` shows what it asked for"
    else:
        names = {sink.name for sink in subscriber.sinks if not is_readable(sink)}
        delivered = few(sorted({each.grant.grant_id for each in active if each.grant.sink in names}))
        problem = f"reads nothing itself there: {delivered or 'its grants'} are delivered to it by the mesh"
        fix = (
            "to read by itself, give its file a sink of kind `kafka` or `live`, name it in the grants' `sink:`, and "
            "`mesh onboard <folder>`"
        )
    return Misconfigured(subscriber.subscriber, problem, fix=fix)
