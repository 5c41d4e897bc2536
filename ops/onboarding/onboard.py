"""Onboarding (入网): a checked folder becomes part of the running mesh, without a restart.

The order is the safety: first everything is looked at that could stand in the way, then schemas are registered, then topics exist
with their rights, and only then do the control topics tell the hops. Whatever stops it half way can be run again; what is
already as the folder says stays as it is, and a grant that was suspended or revoked stays so (invariant 6).
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from ops.former_connections import settle
from ops.kinds.sinks import SINKS
from ops.kinds.sources import kind_of
from ops.lint.check import Report, check
from ops.lint.folder import AgencyFolder, Folder, SubscriberFolder, load
from ops.onboarding.edition import cut, edition_for, end_former, register
from ops.onboarding.given_address import GivenAddresses, save_secrets
from ops.onboarding.neighbours import Ends
from ops.onboarding.onboarded import Onboarded, Say, first_records
from ops.settings import Connections, Settings, endpoints
from ops.settings import load as load_settings
from ops.trust.anchors import require_anchor
from ops.trust.hash_key import agree, needs_key
from producers.finding import Finding, Provided
from producers.kind import SourceKind
from schemas.agreement.agency import Agency
from schemas.agreement.directory import Directory, FeedEntry, GrantEntry
from schemas.agreement.grant import Grant, Status
from schemas.agreement.subscriber import Subscriber
from schemas.contract import Contract
from schemas.errors import Misconfigured
from schemas.feed import (
    AGENCIES,
    CONTRACTS,
    GRANTS,
    IDENTITY,
    SUBSCRIBERS,
    key_subject,
    later_edition,
    out_topic,
    value_subject,
)
from schemas.log.control.follower import read_directory
from schemas.log.control.records import publish
from schemas.log.rights.access import allow_read, create_scram_user, withdraw_read
from schemas.log.topics import ensure_control_topics, ensure_topics, with_dead_letters
from schemas.log.writer import Log
from schemas.registry.client import RegistryClient
from schemas.wire.envelope import key_schema, value_schema

PARTITIONS = 4
"""Of a new feed, for life (KF-07): as many stream workers, and delivery processes, can share its work."""

_Entry = Agency | FeedEntry | Subscriber | GrantEntry


def inspect(folder: Path, directory: Path) -> Report:
    """Check a folder by itself and, where a mesh runs in `directory`, against what runs there."""
    if not (endpoints(directory) or os.environ.get("MESH_REGISTRY")):
        return check(folder)
    settings = load_settings(directory)
    ensure_control_topics(settings.kafka)
    with closing(RegistryClient(settings.registry)) as registry:
        return check(folder, registry, read_directory(settings.kafka))


def onboard(
    folder: Path, settings: Settings, *, wait_seconds: float, say: Say, partitions: int = PARTITIONS
) -> Onboarded:
    """Take a folder into the running mesh. Raises MeshError when a server or a database refuses; see `Onboarded`."""
    started = time.monotonic()
    ensure_control_topics(settings.kafka)
    directory = read_directory(settings.kafka)
    settle(settings.directory, directory)
    with closing(RegistryClient(settings.registry)) as registry:
        report = check(folder, registry, directory)
        if report.errors:
            return Onboarded(feeds=[], first_record_seconds={}, grants=[], notices=[], report=report)
        with closing(Log(settings.kafka, client_id="mesh-onboard")) as log:
            work = _Onboarding(settings, registry, directory, log, say, partitions)
            work.take(load(folder))
    first = first_records(settings, work.awaited, started, wait_seconds, say) if wait_seconds else {}
    return Onboarded(
        feeds=list(work.feeds), first_record_seconds=first, grants=work.grants, notices=work.notices, report=report
    )


class _Onboarding:
    """One run: collects what it did."""

    def __init__(
        self, settings: Settings, registry: RegistryClient, directory: Directory, log: Log, say: Say, partitions: int
    ) -> None:
        self._settings = settings
        self._connections = Connections(settings.directory)
        self._registry = registry
        self._directory = directory
        self._log = log
        self._say = say
        self._partitions = partitions
        self._tables: dict[str, Provided] = {}
        self._derived: set[str] = set()
        self._kinds: dict[str, SourceKind] = {}
        self._key_ids: dict[str, str] = {}
        self._editions: dict[str, int] = {}
        self.feeds: dict[str, FeedEntry] = {}
        self.grants: list[str] = []
        self.awaited: list[str] = []
        self.notices: list[str] = []

    def take(self, content: Folder) -> None:
        """Register agencies, then subscribers; tell the hops of a new feed last, when its grants are known.

        So a grant that comes together with its feed sees it from the first record, and needs no backfill. A feed that runs
        already is told first: its grants may name columns that only the successor has.
        """
        self._source = GivenAddresses(self._connections.sources, content)
        self._sink = GivenAddresses(self._connections.sinks, content)
        self._examine(content)
        for agency in content.agencies:
            self._agency(agency)
        self._topics({feed: entry.partitions for feed, entry in self.feeds.items()})
        new = self.feeds.keys() - self._directory.feeds.keys()
        self._tell_feeds(self.feeds.keys() - new)
        for subscriber in content.subscribers:
            self._subscriber(subscriber)
        self._recut()
        for agency in content.agencies:
            code = agency.agency.agency
            self._tell(AGENCIES, code, agency.agency, self._directory.agencies.get(code))
        self._log.flush(30)
        self._tell_feeds(new)

    def _tell_feeds(self, feeds: Iterable[str]) -> None:
        """Publish these feeds' entries; returns once they are durable."""
        for feed in sorted(feeds):
            self._tell(CONTRACTS, feed, self.feeds[feed], self._directory.feeds.get(feed))
        self._log.flush(30)

    def _examine(self, content: Folder) -> None:
        """Find out whether all of it can be done, before any of it is."""
        for folder in content.agencies:
            for source in folder.agency.sources:
                contracts = [contract for contract in folder.contracts if contract.source == source.name]
                if source.is_flow:
                    self._derived.update(contract.feed for contract in contracts)
                    continue
                name = f"{folder.agency.agency}.{source.name}"
                address = self._source(folder.agency.agency, source.name)
                kind = kind_of(folder.agency, source.name)
                self._kinds.update({contract.feed: kind for contract in contracts})
                found, provided = kind.preflight(source, address, contracts, self._directory.anchors, name=name)
                self._heed(name, found)
                self._tables.update(provided)
        self._examine_ends(content)
        for subscriber in content.subscribers:
            for sink in subscriber.subscriber.sinks:
                if sink.is_mesh:
                    require_anchor(sink, subscriber.subscriber.subscriber, self._directory.anchors)
                if SINKS[sink.kind].has_address:
                    self._sink(subscriber.subscriber.subscriber, sink.name)
            for grant in subscriber.grants:
                self._examine_grant(grant)
            self._agree_on_key(subscriber)

    def _examine_grant(self, grant: Grant) -> None:
        table, running = self._tables.get(grant.feed), self._directory.feeds.get(grant.feed)
        if grant.feed in self._derived:
            return  # a flow says every row as it was
        if table is not None:
            name, is_keyed_only, kind = table.name, not table.is_whole_row, self._kinds[grant.feed]
        elif running is not None:
            contract = running.contract
            name, is_keyed_only = contract.table, running.is_keyed_only
            kind = kind_of(self._directory.agencies.get(contract.agency), contract.source)
        else:
            fix = f"onboard the folder of {grant.feed.split('.', maxsplit=1)[0]} first"
            raise Misconfigured(f"grant {grant.grant_id}", f"no feed {grant.feed} is onboarded", fix=fix)
        if grant.row_filter and is_keyed_only:
            raise Misconfigured(
                f"grant {grant.grant_id}",
                f"has a row filter, but {grant.feed}'s table does not send rows as they were: a row that leaves the filter "
                "could not be told from one that was never in it",
                fix=f"{kind.whole_row_fix(name)} then onboard the agency again",
            )

    def _agree_on_key(self, folder: SubscriberFolder) -> None:
        """The key of the subscriber's HASH masks: one, for every process and host (ops/trust/hash_key.py)."""
        code = folder.subscriber.subscriber
        running = self._directory.subscribers.get(code)
        key_id = running.hash_key_id if running else ""
        self._key_ids[code] = agree(self._connections, code, key_id) if needs_key(folder.grants) else key_id

    def _agency(self, folder: AgencyFolder) -> None:
        agency = folder.agency
        for contract in folder.contracts:
            table = self._tables.get(contract.feed)  # none for a flow's
            is_keyed_only = table is not None and not table.is_whole_row
            self.feeds[contract.feed] = self._register(contract, is_keyed_only=is_keyed_only)
            if table is not None and table.blocks and contract.feed not in self._directory.feeds:
                self.awaited.append(contract.feed)
        for source in agency.sources:
            if source.is_flow:
                continue
            address = self._source(folder.agency.agency, source.name)
            self._connections.sources.save(agency.agency, source.name, address)
        self._say(f"{agency.agency} {agency.name}: {len(folder.contracts)} tables registered")

    def _tell(self, topic: str, key: str, entry: _Entry, running: _Entry | None) -> None:
        """Tell the hops, if it is news."""
        if entry != running:
            publish(self._log.append, topic, key, entry.to_json())

    def _heed(self, source: str, findings: Sequence[Finding]) -> None:
        """Stop at what capture would refuse; remember the rest for the end."""
        errors = [finding for finding in findings if finding.severity == "error"]
        if errors:
            problem = "; ".join(f"{finding.subject}: {finding.message}" for finding in errors)
            raise Misconfigured(source, problem, fix="\n       ".join(finding.fix for finding in errors))
        self.notices += [f"{source}, {finding.subject}: {finding.message}; {finding.fix}" for finding in findings]

    def _examine_ends(self, content: Folder) -> None:
        """Try every sink, and see that no two ends of the mesh meet."""
        ends = Ends(
            content=content,
            directory=self._directory,
            source_address=self._source,
            sink_address=self._sink,
            schema_of=self._registry.schema,
            mesh=self._settings.directory.absolute(),
        )
        self.notices += ends.examine()

    def _register(self, contract: Contract, *, is_keyed_only: bool) -> FeedEntry:
        running = self._directory.feeds.get(contract.feed)
        version = 1 if running is None else running.version
        if running is not None and running.contract.record != contract.record:
            version += 1  # invariant 5: a changed contract is a successor
        edition = running.edition if running else 1
        subjects = later_edition(contract.feed, edition)
        return FeedEntry(
            contract=contract,
            version=version,
            key_schema_id=register(self._registry, key_subject(subjects), key_schema(contract)),
            value_schema_id=register(self._registry, value_subject(subjects), value_schema(contract)),
            partitions=running.partitions if running else self._partitions,
            is_keyed_only=is_keyed_only,
            edition=edition,
        )

    def _topics(self, partitions: Mapping[str, int]) -> None:
        """Topics with so many partitions, and their dead-letter twins."""
        if partitions:
            ensure_topics(self._settings.kafka, with_dead_letters(partitions))

    def _subscriber(self, folder: SubscriberFolder) -> None:
        code = folder.subscriber.subscriber
        subscriber = replace(folder.subscriber, hash_key_id=self._key_ids[code])
        grants = [self._standing(grant) for grant in folder.grants]
        for sink in subscriber.sinks:
            if SINKS[sink.kind].has_address:
                self._connections.sinks.save(code, sink.name, self._sink(code, sink.name))
            save_secrets(self._connections.sinks, sink, folder, self._sink)
        now = datetime.now(UTC)
        topics = {grant.grant_id: self._topic_of(grant, now) for grant in grants}
        self._topics({topics[grant.grant_id]: self._feed_of(grant).partitions for grant in grants})
        self._credentials(code)
        open_topics = [topics[grant.grant_id] for grant in grants if grant.is_active(now)]
        if any(sink.is_mesh for sink in subscriber.sinks):
            open_topics.append(IDENTITY)
        own_groups = [f"sub.{code}.{sink.name}" for sink in subscriber.sinks if not sink.is_mesh]
        access = allow_read(self._settings.kafka, code, open_topics, f"sub.{code}.", own_groups)
        if access.notice:
            self.notices.append(access.notice)
        else:
            known = [entry for entry in self._directory.grants.values() if entry.grant.subscriber == code]
            former = [entry.topic for entry in known if entry.topic != topics.get(entry.grant.grant_id, entry.topic)]
            ended = [topics[grant.grant_id] for grant in grants if not grant.is_active(now)]
            if ended or former:
                withdraw_read(self._settings.kafka, code, [*ended, *former])
        self._tell(SUBSCRIBERS, code, subscriber, self._directory.subscribers.get(code))
        for grant in grants:
            self._grant(grant)
        self._notice_left_out(code)
        self._say(f"{code} {subscriber.name}: {len(grants)} grants")

    def _standing(self, grant: Grant) -> Grant:
        """The grant with the status that it has: only `mesh grant` gives back what was suspended or revoked."""
        running = self._directory.grants.get(grant.grant_id)
        if running is None or running.grant.status is Status.ACTIVE or grant.status is not Status.ACTIVE:
            return grant
        status = running.grant.status
        self.notices.append(
            f"grant {grant.grant_id} stays {status}; `mesh grant {grant.grant_id} ACTIVE` gives it back"
        )
        return replace(grant, status=status)

    def _notice_left_out(self, code: str) -> None:
        for grant_id, entry in self._directory.grants.items():
            is_active = entry.grant.status is Status.ACTIVE
            if entry.grant.subscriber == code and is_active and grant_id not in self.grants:
                self.notices.append(
                    f"grant {grant_id} is not in the folder and goes on; `mesh grant {grant_id} REVOKED` ends it"
                )

    def _credentials(self, code: str) -> None:
        """The subscriber's own login for reading its topics itself; made once, kept with the connections."""
        try:
            self._connections.address_of(code, "kafka")
        except Misconfigured:
            password = secrets.token_urlsafe(24)
            create_scram_user(self._settings.kafka, code, password)
            self._connections.save(code, "kafka", password)

    def _feed_of(self, grant: Grant) -> FeedEntry:
        return self.feeds.get(grant.feed) or self._directory.feeds[grant.feed]

    def _topic_of(self, grant: Grant, now: datetime) -> str:
        running, contract = self._directory.grants.get(grant.grant_id), self._feed_of(grant).contract
        edition = edition_for(grant, contract, running, self._directory, self._registry, now)
        self._editions[grant.grant_id] = edition
        return out_topic(grant.grant_id, edition)

    def _grant(self, grant: Grant) -> None:
        running = self._directory.grants.get(grant.grant_id)
        edition = self._editions.get(grant.grant_id, running.edition if running else 1)
        end_former(self._log.append, running, edition, self._directory)
        self._tell(GRANTS, grant.grant_id, cut(grant, self._feed_of(grant), edition, self._registry), running)
        self.grants.append(grant.grant_id)

    def _recut(self) -> None:
        """Grants on feeds whose contract got a successor: their schemas follow, their columns do not grow.

        Those that are over hold nobody: they are cut when they are given again.
        """
        now = datetime.now(UTC)
        for grant_id, entry in self._directory.grants.items():
            feed = self.feeds.get(entry.grant.feed)
            is_behind = feed is not None and feed.version != entry.version and not entry.grant.is_over(now)
            if is_behind and grant_id not in self.grants:
                self._grant(entry.grant)
