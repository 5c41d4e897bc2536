"""`mesh follow`: a feed that stands because its table changed goes on under the successor of its contract, and misses nothing.

Whether such a change is meant only people know: what differs is shown, with the grants that it touches, and done once they agree.

A type that readers of the former one could not follow begins another edition, as it does for grants
(ops/onboarding/edition.py): of the feed's subjects, so that no check of the registry is set aside, and of each grant that has
the column, whose rows come all anew through another topic, into a table with the new types. Then the table is copied anew:
what was committed meanwhile is in the copy.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from ops.audit.audited_log import AuditedLog
from ops.audit.refused import refusals_told
from ops.former_connections import settle
from ops.kinds.sources import kind_of
from ops.onboarding.edition import COMPATIBILITY, cut, end_former, register
from ops.onboarding.resync import new_request
from ops.own_topic.readers import Readers
from ops.settings import Connections, Settings
from ops.trust.audit import audit
from ops.watch.incidents import read as read_incidents
from producers.kind import Following, SourceKind
from schemas.agreement.agency import SourceConfig
from schemas.agreement.anchor import Anchor
from schemas.agreement.directory import Directory, FeedEntry, GrantEntry
from schemas.contract import Contract
from schemas.errors import Misconfigured
from schemas.expression.expression import parse
from schemas.feed import CAPTURE, CONTRACTS, GRANTS, RESYNCS, key_subject, value_subject
from schemas.incident import key_of
from schemas.log.control.follower import read_directory
from schemas.log.control.records import publish
from schemas.log.control.store import ControlReader
from schemas.log.topics import ensure_topics, with_dead_letters
from schemas.registry.client import RegistryClient
from schemas.wire.compatibility import breaches
from schemas.wire.envelope import key_schema, out_key_schema, out_value_schema, value_schema

PAUSE_SECONDS = 0.5


@dataclass(slots=True, kw_only=True)
class Followed:
    """What differs, whom it touches and how, the contract that fits, and how far it is: `waits_for` is empty once it is live."""

    feed: str
    contract: Mapping[str, Any]
    differences: Sequence[str]
    grants: Mapping[str, str]
    is_done: bool = False
    waits_for: str = ""
    notices: list[str] = field(default_factory=list[str])

    @property
    def is_ok(self) -> bool:
        """Whether the feed flows, or nothing was to be done."""
        return not self.waits_for

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "feed": self.feed,
            "differences": list(self.differences),
            "grants": dict(self.grants),
            "done": self.is_done,
            "waits_for": self.waits_for,
            "notices": self.notices,
            "contract": dict(self.contract),
        }

    def lines(self) -> list[str]:
        """For people."""
        if not self.differences:
            return [f"{self.feed}: its contract fits its table; nothing is to be followed"]
        found = [f"{self.feed}: {line}" for line in self.differences]
        found += [f"grant {grant_id}: {how}" for grant_id, how in self.grants.items()]
        found += [f"note: {notice}" for notice in self.notices]
        if not self.is_done:
            return [*found, "nothing was changed; with --yes it is followed"]
        if self.waits_for:
            return [*found, f"followed, and waits: {self.waits_for}"]
        return [
            *found,
            f"followed: {self.feed} was copied anew and flows; put the contract that runs into the agency's folder "
            f"(`mesh follow {self.feed} --contract` prints it)",
        ]


@refusals_told("follow")
def follow(settings: Settings, feed: str, table: str | None, *, is_agreed: bool, wait_seconds: float) -> Followed:
    """Show how a feed's table differs from its contract; with `is_agreed` take it over. `table`: its name, if it was renamed."""
    directory = read_directory(settings.kafka)
    settle(settings.directory, directory)
    entry, source, kind, following = _followed(directory, feed)
    contract = entry.contract
    address = Connections(settings.directory).sources.address_of(contract.agency, contract.source)
    found = following.successor(source, address, contract, table)
    after, differences = found.contract, found.differences
    _refuse_unfit(kind, source, address, after, directory.anchors)
    with closing(RegistryClient(settings.registry)) as registry:
        work = _Following(settings, directory, entry, after, registry, is_keyed_only=not found.is_whole_row)
        differences += work.behind()
        outcome = Followed(feed=feed, contract=after.record, differences=differences, grants=work.grants())
        if is_agreed and differences:
            request = work.take_over(differences)
            outcome.is_done = True
            outcome.notices += work.notices
            outcome.waits_for = _until_live(settings, following, contract, request, wait_seconds)
    return outcome


def _followed(directory: Directory, feed: str) -> tuple[FeedEntry, SourceConfig, SourceKind, Following]:
    entry = directory.feeds.get(feed)
    agency = directory.agencies.get(entry.contract.agency) if entry else None
    source = agency.source(entry.contract.source) if entry and agency else None
    kind = kind_of(agency, source.name) if source else None
    if entry is None or source is None or kind is None or kind.following is None:
        text = "is no feed that is captured from a department's tables, which could be followed"
        raise Misconfigured(feed, text, fix="`mesh status` lists the feeds")
    return entry, source, kind, kind.following


def _refuse_unfit(
    kind: SourceKind, source: SourceConfig, address: str, after: Contract, anchors: Mapping[str, Anchor]
) -> None:
    """What capture would refuse of the successor is told before anything is done."""
    found, _ = kind.preflight(source, address, [after], anchors, name="follow")
    faults = [finding for finding in found if finding.severity == "error"]
    if faults:
        fix = "\n       ".join(finding.fix for finding in faults)
        raise Misconfigured(after.feed, "; ".join(finding.message for finding in faults), fix=fix)


class _Following:
    """One feed on its way to its successor."""

    def __init__(
        self,
        settings: Settings,
        directory: Directory,
        entry: FeedEntry,
        after: Contract,
        registry: RegistryClient,
        *,
        is_keyed_only: bool,
    ) -> None:
        self._settings = settings
        self._directory = directory
        self._entry = entry
        self._after = after
        self._registry = registry
        self._is_keyed_only = is_keyed_only
        now = datetime.now(UTC)
        # Those that are over hold nobody: they are cut when they are given again.
        self._held = {
            grant_id: each
            for grant_id, each in sorted(directory.grants.items())
            if each.grant.feed == entry.feed and not each.grant.holds_nobody(now)
        }
        self._refuse_lost()
        self._broken = {grant_id for grant_id, each in self._held.items() if self._is_broken_for(each)}
        self.notices: list[str] = []

    def grants(self) -> dict[str, str]:
        """How each grant is touched."""
        return {
            grant_id: "its rows are removed and come all anew, with the new types, through a topic of their own"
            if grant_id in self._broken
            else "its rows come anew; its columns keep their types"
            for grant_id in self._held
        }

    def behind(self) -> list[str]:
        """Grants that were not told of the contract that runs, because whoever told them was interrupted."""
        return [
            f"grant {grant_id} does not follow the contract that runs"
            for grant_id, each in self._held.items()
            if each.version != self._entry.version
        ]

    def _refuse_lost(self) -> None:
        gone = self._entry.contract.by_name.keys() - self._after.by_name.keys()
        for grant_id, each in self._held.items():
            grant = each.grant
            filtered = parse(grant.row_filter).columns if grant.row_filter else frozenset[str]()
            if named := sorted(gone & {*grant.columns, *filtered}):
                fix = f"name the column back; or agree with {grant.subscriber} on a grant without it, onboard that, and follow then"
                raise Misconfigured(
                    f"grant {grant_id}", f"needs {', '.join(named)}, which the table has no more", fix=fix
                )

    def _is_broken_for(self, each: GrantEntry) -> bool:
        pairs = (
            (each.key_schema_id, out_key_schema(self._after, each.grant)),
            (each.value_schema_id, out_value_schema(self._after, each.grant)),
        )
        return any(self._does_break(schema_id, schema) for schema_id, schema in pairs)

    def _does_break(self, schema_id: int, schema: Mapping[str, Any]) -> bool:
        return bool(breaches([self._registry.schema(schema_id)], schema, COMPATIBILITY))

    def take_over(self, differences: Sequence[str]) -> str:
        """Register, open the topics, tell the hops and ask for the copy, which has what grants miss meanwhile; the request."""
        after = self._successor()
        entries = {
            grant_id: cut(each.grant, after, each.edition + (grant_id in self._broken), self._registry, each)
            for grant_id, each in self._held.items()
        }
        specs = {entries[grant_id].topic: after.partitions for grant_id in self._broken}
        ensure_topics(self._settings.kafka, with_dead_letters(specs))
        for grant_id in self._broken:
            self._move_rights(self._held[grant_id], entries[grant_id])
        with closing(AuditedLog(self._settings.kafka, client_id="mesh-follow")) as log:
            publish(log.append, CONTRACTS, after.feed, after.to_json())
            for grant_id, entry in entries.items():
                end_former(log.append, self._held[grant_id], entry.edition, self._directory)
                publish(log.append, GRANTS, grant_id, entry.to_json())
            audit(
                log.append,
                "feed followed its table",
                after.feed,
                version=after.version,
                edition=after.edition,
                differences=list(differences),
                grants=sorted(self._broken),
            )
            request = new_request()
            publish(log.append, RESYNCS, after.feed, {"request": request})
            log.flush(30)
        return request

    def _successor(self) -> FeedEntry:
        entry, contract = self._entry, self._after
        key, value = key_schema(contract), value_schema(contract)
        is_broken = self._does_break(entry.key_schema_id, key) or self._does_break(entry.value_schema_id, value)
        after = replace(
            entry,
            contract=contract,
            version=entry.version + 1,
            edition=entry.edition + is_broken,
            is_keyed_only=self._is_keyed_only,
        )
        return replace(
            after,
            key_schema_id=register(self._registry, key_subject(after.subjects), key),
            value_schema_id=register(self._registry, value_subject(after.subjects), value),
        )

    def _move_rights(self, former: GrantEntry, entry: GrantEntry) -> None:
        readers = Readers(kafka=self._settings.kafka, directory=self._directory)
        if entry.grant.is_active(datetime.now(UTC)) and entry.grant.grant_id in self._directory.trusted().grants:
            access = readers.open(entry.grant, [entry.topic])
            if access.notice:
                self.notices.append(access.notice)
                return
        readers.close(former.grant, [former.topic])


def _until_live(settings: Settings, following: Following, contract: Contract, request: str, wait_seconds: float) -> str:
    """Wait until the copy that was asked for is whole; what it waits for otherwise."""
    feed, source = contract.feed, contract.source_name
    deadline = time.monotonic() + wait_seconds
    progress = ControlReader(settings.kafka, CAPTURE)
    while True:
        if following.is_copied(progress.all().get(source), feed, request):
            return ""
        if time.monotonic() > deadline:
            incident = read_incidents(settings.kafka).get(key_of("feed", feed))
            if incident is not None and incident.state != "notice":
                return f"{incident.reason}\n  fix: {incident.fix}" if incident.fix else incident.reason
            return f"capture of {source} has not copied it yet; `mesh status` shows how far it is"
        time.sleep(PAUSE_SECONDS)


def contract_text(outcome: Followed) -> str:
    """The contract as a file of the agency's folder."""
    return json.dumps(dict(outcome.contract), ensure_ascii=False, indent=1)
