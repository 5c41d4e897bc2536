"""Onboarding (入网): a checked folder becomes part of the running mesh, without a restart.

The order is the safety: first everything is looked at that could stand in the way, then schemas are registered, then topics exist
with their rights, and only then do the control topics tell the hops. Whatever stops it half way can be run again; what is
already as the folder says stays as it is, and a grant that was suspended or revoked stays so (invariant 6).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from ops.audit.audited_log import AuditedLog
from ops.audit.refused import reason_of, tell
from ops.former_connections import settle
from ops.grants.taking import Taking
from ops.lint.check import Report, check
from ops.lint.folder import AgencyFolder, Folder, load
from ops.onboarding.edition import register
from ops.onboarding.examination.examination import Examination
from ops.onboarding.given_address import GivenAddresses
from ops.onboarding.onboarded import Onboarded, Say, first_records
from ops.onboarding.running_mesh import RunningMesh
from ops.onboarding.subscribing import Subscribing
from ops.settings import Connections, Settings, endpoints
from ops.settings import load as load_settings
from ops.trust.audit import audit
from ops.trust.login import login_name
from producers.finding import Provided
from schemas.agreement.directory import FeedEntry
from schemas.contract import Contract
from schemas.dated.configuration import SHANGHAI
from schemas.errors import ContractBroken, Misconfigured
from schemas.feed import AGENCIES, CONTRACTS, key_subject, later_edition, value_subject
from schemas.log.control.follower import read_directory
from schemas.log.topics import ensure_control_topics
from schemas.registry.client import RegistryClient
from schemas.wire.envelope import key_schema, value_schema

PARTITIONS = 4
"""Of a new feed, for life (KF-07): as many stream workers, and delivery processes, can share its work."""


def inspect(folder: Path, directory: Path) -> Report:
    """Check a folder by itself and, where a mesh runs in `directory`, against what runs there."""
    if not (endpoints(directory) or os.environ.get("MESH_REGISTRY")):
        return check(folder)
    settings = load_settings(directory)
    ensure_control_topics(settings.kafka)
    with closing(RegistryClient(settings.registry)) as registry:
        return check(folder, registry, read_directory(settings.kafka))


def onboard(
    folder: Path,
    settings: Settings,
    *,
    wait_seconds: float,
    say: Say,
    partitions: int = PARTITIONS,
    taking: Taking | None = None,
) -> Onboarded:
    """Take a folder into the running mesh. Raises MeshError when a server or a database refuses; see `Onboarded`.

    `taking`: by whom, and whether its grants are asked for; by default they are given, by whoever runs this process.
    """
    taking = taking or Taking(by=login_name(), at=datetime.now(UTC))
    ensure_control_topics(settings.kafka)
    try:
        outcome = _onboard(folder, settings, wait_seconds=wait_seconds, say=say, partitions=partitions, taking=taking)
    except (Misconfigured, ContractBroken) as error:
        tell(settings, "onboarding", folder.resolve().name, reason_of(error))
        raise
    if not outcome.is_ok:
        places = [f"{problem.file}:{problem.line} {problem.field}".strip() for problem in outcome.report.errors]
        tell(
            settings, "onboarding", folder.resolve().name, "its check finds errors", errors=len(places), at=places[:20]
        )
    return outcome


def _onboard(
    folder: Path, settings: Settings, *, wait_seconds: float, say: Say, partitions: int, taking: Taking
) -> Onboarded:
    started = time.monotonic()
    directory = read_directory(settings.kafka)
    settle(settings.directory, directory)
    with closing(RegistryClient(settings.registry)) as registry:
        report = check(folder, registry, directory)
        if report.errors:
            return Onboarded(feeds=[], first_record_seconds={}, grants=[], notices=[], report=report)
        with closing(AuditedLog(settings.kafka, client_id="mesh-onboard")) as log:
            mesh = RunningMesh(
                settings=settings,
                connections=Connections(settings.directory),
                registry=registry,
                directory=directory,
                log=log,
                say=say,
            )
            work = _Onboarding(mesh, partitions, taking)
            content = load(folder)
            # Schemas, topics and rights are in no transaction: what is begun is on record before them.
            audit(log.append, "onboarding begun", folder.resolve().name, **_named(content))
            log.flush(30)
            work.take(content)
            audit(log.append, "onboarding done", folder.resolve().name, feeds=len(work.feeds), grants=len(work.grants))
            log.flush(30)
    first = first_records(settings, work.awaited, started, wait_seconds, say) if wait_seconds else {}
    return Onboarded(
        feeds=list(work.feeds), first_record_seconds=first, grants=work.grants, notices=work.notices, report=report
    )


def _named(content: Folder) -> dict[str, list[str]]:
    return {
        "agencies": [folder.agency.agency for folder in content.agencies],
        "subscribers": [folder.subscriber.subscriber for folder in content.subscribers],
    }


class _Onboarding:
    """One run: collects what it did."""

    def __init__(self, mesh: RunningMesh, partitions: int, taking: Taking) -> None:
        self._mesh = mesh
        self._taking = taking
        self._directory = mesh.directory
        self._partitions = partitions
        self.feeds: dict[str, FeedEntry] = {}
        self.grants: list[str] = []
        self.awaited: list[str] = []
        self.notices: list[str] = []

    def take(self, content: Folder) -> None:
        """Register agencies, then subscribers; tell the hops of a new feed last, when its grants are known.

        So a grant that comes together with its feed sees it from the first record, and needs no backfill. A feed that runs
        already is told first: its grants may name columns that only the successor has.
        """
        mesh = self._mesh
        source = GivenAddresses(mesh.connections.sources, content)
        sink = GivenAddresses(mesh.connections.sinks, content)
        examination = Examination(self._directory, mesh.connections, source, sink)
        examination.examine(content, mesh.registry.schema, mesh.settings.directory)
        for agency in content.agencies:
            self._agency(agency, examination.tables, source)
        mesh.ensure_topics({feed: entry.partitions for feed, entry in self.feeds.items()})
        new = self.feeds.keys() - self._directory.feeds.keys()
        self._tell_feeds(self.feeds.keys() - new)
        subscribing = Subscribing(mesh, self.feeds, sink, examination.key_ids, self._taking)
        for subscriber in content.subscribers:
            subscribing.take(subscriber)
        subscribing.recut()
        for agency in content.agencies:
            code = agency.agency.agency
            mesh.tell(AGENCIES, code, agency.agency, self._directory.agencies.get(code))
        mesh.log.flush(30)
        self._tell_feeds(new)
        self.grants = subscribing.grants
        self.notices = [*examination.notices, *subscribing.notices]

    def _tell_feeds(self, feeds: Iterable[str]) -> None:
        """Publish these feeds' entries; returns once they are durable."""
        for feed in sorted(feeds):
            self._mesh.tell(CONTRACTS, feed, self.feeds[feed], self._directory.feeds.get(feed))
        self._mesh.log.flush(30)

    def _agency(self, folder: AgencyFolder, tables: Mapping[str, Provided], source_address: GivenAddresses) -> None:
        agency = folder.agency
        for contract in folder.contracts:
            table = tables.get(contract.feed)  # none for a flow's
            is_keyed_only = table is not None and not table.is_whole_row
            self.feeds[contract.feed] = self._register(contract, is_keyed_only=is_keyed_only)
            if table is not None and table.blocks and contract.feed not in self._directory.feeds:
                self.awaited.append(contract.feed)
        for source in agency.sources:
            if source.is_flow:
                continue
            address = source_address(folder.agency.agency, source.name)
            self._mesh.connections.sources.save(agency.agency, source.name, address)
        self._mesh.say(f"{agency.agency} {agency.name}: {len(folder.contracts)} tables registered")

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
            key_schema_id=register(self._mesh.registry, key_subject(subjects), key_schema(contract)),
            value_schema_id=register(self._mesh.registry, value_subject(subjects), value_schema(contract)),
            partitions=running.partitions if running else self._partitions,
            is_keyed_only=is_keyed_only,
            edition=edition,
            published_on=(running.published_on if running else "") or datetime.now(SHANGHAI).date().isoformat(),
        )
