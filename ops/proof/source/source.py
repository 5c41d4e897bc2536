"""The source of a feed: whose table it is, which kind of source has it, its fence, and the comparison."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from ops.former_connections import settle
from ops.kinds.sources import kind_of
from ops.known_names import did_you_mean
from ops.proof.source.check import CheckSetting, Told, check
from ops.proof.source.compared import ComparedSource
from ops.settings import Connections, Settings
from ops.trust.subject_key import SubjectKey
from producers.fenced.table import FenceSetting, Fencing
from schemas.agreement.agency import SourceConfig
from schemas.agreement.directory import Directory, FeedEntry
from schemas.errors import Misconfigured
from schemas.feed import CAPTURE
from schemas.log.control.follower import read_directory
from schemas.log.control.store import ControlReader
from schemas.registry.client import RegistryClient


def compare_source(settings: Settings, feed: str, *, within_seconds: float, told: Told) -> ComparedSource:
    """Take a fence and compare. Raises Misconfigured where there is no table to compare with, Transient."""
    directory = read_directory(settings.kafka)
    settle(settings.directory, directory)
    entry, source, fencing = fenced(directory, feed)
    contract = entry.contract
    connections = Connections(settings.directory)
    key = SubjectKey(connections)
    progress = ControlReader(settings.kafka, CAPTURE)

    def record() -> Mapping[str, Any] | None:
        return progress.all().get(contract.source_name)

    deadline = time.monotonic() + within_seconds
    salt = bytes.fromhex(key.hash("fence", feed))
    told.say(f"takes a fence of {contract.table}")
    fence = FenceSetting(
        entry=entry,
        source=source,
        address=connections.sources.address_of(contract.agency, contract.source),
        record=record,
        salt=salt,
        deadline=deadline,
        waiting=told.say,
    )
    with closing(fencing(fence)) as table, closing(RegistryClient(settings.registry)) as registry:
        setting = CheckSetting(
            kafka=settings.kafka,
            entry=entry,
            salt=salt,
            schema_of=registry.schema,
            record=record,
            hashed=lambda digest: key.hash("key", feed, digest.hex())[:16],
            deadline=deadline,
            told=told,
        )
        return check(setting, table)


def fenced(directory: Directory, feed: str) -> tuple[FeedEntry, SourceConfig, Fencing]:
    """The feed, its source, and how that is fenced. Raises Misconfigured where there is none."""
    entry = directory.feeds.get(feed)
    if entry is None:
        raise Misconfigured(feed, "is no feed", fix=did_you_mean(feed, directory.feeds, "`mesh status` lists them"))
    agency = directory.agencies.get(entry.contract.agency)
    kind = kind_of(agency, entry.contract.source)
    source = agency.source(entry.contract.source) if agency else None
    if source is None or kind.fencing is None:
        raise Misconfigured(feed, "has no table here to be compared with", fix=kind.unfenced.replace("FEED", feed))
    return entry, source, kind.fencing
