"""Disclosed: who received what of somebody, when, by which grant and for what purpose, and how far back that is known.

What stands on the `out` topics is the source: a record there was delivered once its subscriber's group is past it, unless it is a
dead letter. Topics are compacted: every record of the last week stands there, of what is older the newest of each key.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from ops.audit.refused import note, without_numbers
from ops.command.terminal import SHANGHAI
from ops.disclosure.asked import Asked
from ops.disclosure.search import Search, Sent
from ops.redelivery.letter import letters
from ops.settings import Connections, Settings
from ops.trust.hash_key import HashKeys
from ops.trust.subject_key import SubjectKey
from ops.watch.lag import delivery_group
from ops.watch.offsets.confirmed import Confirmed
from ops.watch.offsets.group_offsets import GroupOffsets
from schemas.agreement.directory import Directory
from schemas.change import Partition
from schemas.errors import Misconfigured
from schemas.feed import first_edition
from schemas.log.control.follower import read_directory
from schemas.log.offsets import extents
from schemas.log.topics import TopicSpec
from schemas.registry.client import RegistryClient

WITHIN_SECONDS = 30.0
PURPOSE_MAX = 200
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """One record: `state` is acknowledged, on its way, dead letter, or unknown where its subscriber has no place of its own."""

    sent: Sent
    state: str

    def to_json(self) -> dict[str, Any]:
        """For scripts; no value of the row."""
        sent = self.sent
        return {
            "at": _utc(sent.at_ms),
            "op": sent.op,
            "reason": sent.headers.get("reason"),
            "columns": list(sent.columns),
            "position": sent.position,
            "state": self.state,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """What one grant brought to its subscriber, oldest first. `standing`: the grant's state now, and the end of what it delivered."""

    grant_id: str
    subscriber: str
    purpose: str
    feed: str
    standing: str
    receipts: Sequence[Receipt]

    @property
    def columns(self) -> list[str]:
        """Every column that came with a value, in order of appearance."""
        return list(dict.fromkeys(column for each in self.receipts for column in each.sent.columns))

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "grant": self.grant_id,
            "subscriber": self.subscriber,
            "purpose": self.purpose,
            "feed": self.feed,
            "standing": self.standing,
            "columns": self.columns,
            "records": [each.to_json() for each in self.receipts],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Disclosed:
    """The answer. `subject` is the keyed hash under which the audit has the question."""

    subject: str
    feeds: Sequence[str]
    recipients: Sequence[Recipient]
    whole_since: datetime

    def to_json(self) -> Mapping[str, Any]:
        """For scripts."""
        return {
            "subject": self.subject,
            "feeds": list(self.feeds),
            "whole_since": self.whole_since.isoformat(),
            "recipients": [each.to_json() for each in self.recipients],
        }

    def render(self) -> None:
        """For people."""
        for each in self.recipients:
            click.echo(f"{each.subscriber} by {each.grant_id} ({each.standing}), for: {each.purpose}")
            click.echo(f"  columns: {', '.join(each.columns)}")
            for receipt in each.receipts:
                sent = receipt.sent
                at = (
                    datetime.fromtimestamp(sent.at_ms / 1000, SHANGHAI).isoformat(" ", "seconds").removesuffix("+08:00")
                )
                reason = f" {sent.headers['reason']}" if "reason" in sent.headers else ""
                click.echo(f"  {at}  {_OPS.get(sent.op, sent.op)}{reason}: {receipt.state}")
        feeds = f"found in {', '.join(self.feeds)}" if self.feeds else "found in no feed"
        click.echo(f"{len(self.recipients)} recipients; {feeds}")
        since = self.whole_since.astimezone(SHANGHAI).isoformat(" ", "minutes").removesuffix("+08:00")
        click.echo(
            f"whole since {since}; of what is older, the newest record of each key. Asked as {self.subject[:16]}…"
        )


_OPS = {"c": "row", "u": "row changed", "d": "row removed", "r": "row copied"}


def disclosed(settings: Settings, asked: Asked, purpose: str, say: Say) -> Disclosed:
    """Look for it. Raises Misconfigured also where a hash key is not here, without which what a subscriber got is not found.

    That it was asked, and for what, is in the audit before anything is read, and what was told behind it.
    """
    if not purpose.strip():
        raise Misconfigured("--purpose", "is empty", fix="say for what you ask: it is in the audit")
    subject = SubjectKey(Connections(settings.directory)).hash("subject", *asked.parts())
    why = without_numbers(purpose.strip()[:PURPOSE_MAX])
    note(
        settings, "access asked", subject, purpose=why, by="key" if asked.key else "identifier", feed=asked.feed or None
    )
    directory = read_directory(settings.kafka)
    with closing(RegistryClient(settings.registry)) as registry:
        bounds_of = _bounds(settings, directory)
        search = Search(settings.kafka, directory, bounds_of, registry.schema, hash_keys(settings, directory))
        say(f"reading {len({topic for topic, _ in bounds_of})} feeds and topics of subscribers")
        keys = search.keys(asked)
        found = list(search.sent(asked, keys))
    recipients = _recipients(settings, directory, found)
    told = sorted({each.grant_id for each in recipients})
    note(settings, "access told", subject, grants=told, records=len(found))
    whole_since = datetime.now(UTC) - timedelta(milliseconds=TopicSpec().tombstone_ms)
    return Disclosed(subject=subject, feeds=sorted(keys), recipients=recipients, whole_since=whole_since)


def _bounds(settings: Settings, directory: Directory) -> dict[Partition, tuple[int, int]]:
    every = GroupOffsets(settings.kafka, WITHIN_SECONDS).topics()
    topics = [topic for topic in every if topic.startswith("out.") or topic in directory.feeds]
    found = extents(settings.kafka, topics, datetime.now(UTC))
    return {place: (extent.first, extent.end) for place, extent in found.items()}


def hash_keys(settings: Settings, directory: Directory) -> Callable[[str], bytes | None]:
    """What a subscriber that leaves got is found as long as its key is here, which is destroyed once it has left."""
    keys = HashKeys(Connections(settings.directory), lambda: directory)

    def key_of(subscriber: str) -> bytes | None:
        entry = directory.subscribers.get(subscriber)
        if not entry or not entry.hash_key_id:
            return None
        try:
            return keys(subscriber)
        except Misconfigured:
            # Read anew: it may leave while this is asked.
            if read_directory(settings.kafka).left("subscriber", subscriber) is None:
                raise
            return None

    return key_of


def _recipients(settings: Settings, directory: Directory, found: Iterable[Sent]) -> list[Recipient]:
    by_topic: dict[str, list[Sent]] = defaultdict(list)
    for sent in found:
        by_topic[sent.place[0]].append(sent)
    grants = {topic: first_edition(topic).removeprefix("out.") for topic in by_topic}
    groups = {topic: _group(directory, grants[topic]) for topic in by_topic}
    asked = sorted({group for group in groups.values() if group})
    committed = Confirmed(settings.kafka).of(asked)
    recipients: list[Recipient] = []
    for topic, records in sorted(by_topic.items()):
        grant_id = grants[topic]
        places = committed.get(groups[topic] or "", {})
        dead = _dead(settings, directory, grant_id, topic)
        receipts = [
            Receipt(sent=sent, state=_state(sent, places, dead)) for sent in sorted(records, key=lambda one: one.at_ms)
        ]
        last = receipts[-1].sent
        recipients.append(
            Recipient(
                grant_id=grant_id,
                subscriber=grant_id.split(".")[0],
                purpose=last.headers.get("purpose", ""),
                feed=last.feed,
                standing=_standing(directory, grant_id, topic),
                receipts=receipts,
            )
        )
    return recipients


def _group(directory: Directory, grant_id: str) -> str | None:
    entry = directory.grants.get(grant_id)
    return delivery_group(entry.grant.subscriber, entry.grant.sink) if entry else None


def _dead(settings: Settings, directory: Directory, grant_id: str, topic: str) -> set[tuple[int, int]]:
    """Partition and offset of the records of a topic that are dead letters."""
    entry = directory.grants.get(grant_id)
    if entry is None or entry.topic != topic:
        return set()
    return {letter.place for letter in letters(settings, [grant_id])}


def _state(sent: Sent, places: Mapping[Partition, int], dead: set[tuple[int, int]]) -> str:
    if (sent.place[1], sent.offset) in dead:
        return "dead letter"
    if sent.place not in places:
        return "unknown"
    return "acknowledged" if places[sent.place] > sent.offset else "on its way"


def _standing(directory: Directory, grant_id: str, topic: str) -> str:
    entry, ending = directory.grants.get(grant_id), directory.endings.get(topic)
    if ending is not None:
        done = f"removed there: {ending.removed} rows" if ending.removed is not None else "ended there"
        return f"{ending.reason}, {done if ending.acknowledged_at else 'its end not acknowledged yet'}"
    if entry is None:
        return "ended"
    return (
        entry.grant.status if entry.grant.is_active(datetime.now(UTC)) or entry.grant.status != "ACTIVE" else "EXPIRED"
    )


def _utc(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
