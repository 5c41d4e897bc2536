"""Wanted: which lanes there should be by the directory of grants, what each delivers, and what it has to take back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from schemas.agreement.delivery_policy import DeliveryPolicy
from schemas.agreement.directory import Directory
from schemas.agreement.ending import Ending
from schemas.agreement.grant import AtEnd
from schemas.agreement.subscriber import SinkConfig
from sinks.kind import SinkKind, is_delivered

PERSON, HOURS = "person", "quiet hours"
LaneKey = tuple[str, str]
"""Subscriber and the name of its sink."""


def wanted_endings(
    directory: Directory, now: datetime, kinds: Mapping[str, SinkKind]
) -> dict[LaneKey, tuple[SinkConfig, list[Ending]]]:
    """Per lane its sink and the ends that it has to apply (invariant 11)."""
    lanes: dict[LaneKey, tuple[SinkConfig, list[Ending]]] = {}
    for ending in directory.endings_due(now):
        subscriber = directory.subscribers.get(ending.subscriber)
        sink = subscriber.sink(ending.sink) if subscriber else None
        if sink is not None and is_delivered(sink, kinds):
            lanes.setdefault((ending.subscriber, ending.sink), (sink, []))[1].append(ending)
    return lanes


def past_endings(directory: Directory, now: datetime) -> dict[LaneKey, list[Ending]]:
    """Per lane the confirmed ends whose rows must not come back, but for those that a later edition delivers there anew."""
    active = {(each.grant.grant_id, each.grant.sink) for each in directory.grants.values() if each.grant.is_active(now)}
    lanes: dict[LaneKey, list[Ending]] = {}
    for ending in directory.endings.values():
        is_removed = ending.acknowledged_at is not None and ending.at_end is AtEnd.REMOVE
        if is_removed and (ending.grant_id, ending.sink) not in active:
            lanes.setdefault((ending.subscriber, ending.sink), []).append(ending)
    return lanes


def wanted_lanes(
    directory: Directory, now: datetime, kinds: Mapping[str, SinkKind]
) -> dict[LaneKey, tuple[SinkConfig, dict[str, str]]]:
    """Per lane its sink and its topics with their grant ids: only active grants of known subscribers (invariant 6)."""
    lanes: dict[LaneKey, tuple[SinkConfig, dict[str, str]]] = {}
    for entry in directory.grants.values():
        grant = entry.grant
        subscriber = directory.subscribers.get(grant.subscriber)
        sink = subscriber.sink(grant.sink) if subscriber else None
        if sink is not None and is_delivered(sink, kinds) and grant.is_active(now):
            _, topics = lanes.setdefault((grant.subscriber, grant.sink), (sink, {}))
            topics[entry.topic] = grant.grant_id
    return lanes


def held_topics(
    directory: Directory, grants: Mapping[str, str], policy: DeliveryPolicy, now: datetime
) -> dict[str, str]:
    """Which of a lane's topics, given with their grant ids, wait at this moment, and for what: PERSON or HOURS."""
    if policy.quiet is not None and policy.quiet.covers(now):
        held = dict.fromkeys(grants, HOURS)
    else:
        held: dict[str, str] = {}
    for topic, grant_id in grants.items():
        entry = directory.grants.get(grant_id)
        if entry is not None and directory.pause_of(entry.grant) is not None:
            held[topic] = PERSON
    return held
