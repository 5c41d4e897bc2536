"""Examination of a folder: its sources with their tables, its sinks, its grants, and the keys of its masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ops.kinds.sinks import SINKS
from ops.kinds.sources import kind_of
from ops.lint.folder import AgencyFolder, Folder, SubscriberFolder
from ops.lint.successor import contract_that_runs
from ops.onboarding.examination.neighbours import Address, Ends
from ops.settings import Connections
from ops.trust.anchors import require_anchor
from ops.trust.hash_key import agree, needs_key
from producers.finding import Finding, Provided
from producers.kind import SourceKind
from schemas.agreement.directory import Directory
from schemas.agreement.grant import Grant
from schemas.errors import Misconfigured
from schemas.wire.schema import SchemaOf


class Examination:
    """Of one folder, once. `examine` raises MeshError at what stands in the way; afterwards it is known what else was found.

    `tables`: what sources provide, by feed; `key_ids`: the keys of subscribers' HASH masks; `notices`: what is worth a word.
    """

    def __init__(
        self,
        directory: Directory,
        connections: Connections,
        source_address: Address,
        sink_address: Address,
    ) -> None:
        self._directory = directory
        self._connections = connections
        self._source = source_address
        self._sink = sink_address
        self._derived: set[str] = set()
        self._kinds: dict[str, SourceKind] = {}
        self.tables: dict[str, Provided] = {}
        self.key_ids: dict[str, str] = {}
        self.notices: list[str] = []

    def examine(self, content: Folder, schema_of: SchemaOf, mesh: Path) -> None:
        """Ask every source and every sink, and look at every grant; `mesh` is the directory of the mesh itself."""
        for agency in content.agencies:
            self._examine_sources(agency)
        ends = Ends(
            content=content,
            directory=self._directory,
            source_address=self._source,
            sink_address=self._sink,
            schema_of=schema_of,
            mesh=mesh.absolute(),
        )
        self.notices += ends.examine()
        for subscriber in content.subscribers:
            self._examine_subscriber(subscriber)

    def _examine_sources(self, folder: AgencyFolder) -> None:
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
            given = {contract.feed: contract.table for contract in contracts}
            self._heed(name, [self._of_running(finding, given) for finding in found])
            self.tables.update(provided)

    def _of_running(self, finding: Finding, tables: Mapping[str, str]) -> Finding:
        """Where the feed runs on another table than the folder says, its contract here may be what helps."""
        running = self._directory.feeds.get(finding.subject)
        if finding.severity != "error" or running is None or running.contract.table == tables.get(finding.subject):
            return finding
        message = f"{finding.message}; the feed runs on {running.contract.table}"
        return replace(finding, message=message, fix=f"{finding.fix}; {contract_that_runs(finding.subject)}")

    def _examine_subscriber(self, folder: SubscriberFolder) -> None:
        code = folder.subscriber.subscriber
        for sink in folder.subscriber.sinks:
            if sink.is_mesh:
                require_anchor(sink, code, self._directory.anchors)
            if SINKS[sink.kind].has_address:
                self._sink(code, sink.name)
        for grant in folder.grants:
            self._examine_grant(grant)
        self._agree_on_key(folder)

    def _examine_grant(self, grant: Grant) -> None:
        table, running = self.tables.get(grant.feed), self._directory.feeds.get(grant.feed)
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
        self.key_ids[code] = agree(self._connections, code, key_id) if needs_key(folder.grants) else key_id

    def _heed(self, source: str, findings: Sequence[Finding]) -> None:
        """Stop at what capture would refuse; remember the rest for the end."""
        errors = [finding for finding in findings if finding.severity == "error"]
        if errors:
            problem = "; ".join(f"{finding.subject}: {finding.message}" for finding in errors)
            raise Misconfigured(source, problem, fix="\n       ".join(finding.fix for finding in errors))
        self.notices += [f"{source}, {finding.subject}: {finding.message}; {finding.fix}" for finding in findings]
