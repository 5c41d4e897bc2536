"""`mesh check`: lint a folder, explain every problem with its fix, and say what it would change in what runs, and for whom.

Nothing is registered or written. With a registry, each contract is compared with every version that runs; with a Directory,
a change is told by who would lose what. `check` refuses what would lose or leak; what it lets pass can be onboarded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from ops.kinds.sources import kind_of, whole_row_fix
from ops.lint.contract.contract import ContractLint
from ops.lint.contract.resource import ResourceLint
from ops.lint.ends import EndsLint
from ops.lint.folder import AGENCY_FILE, SUBSCRIBER_FILE, contract_files, found, read
from ops.lint.grant import GrantLint, KnownFeed
from ops.lint.inspected import Inspected
from ops.lint.located import Unreadable
from ops.lint.report import FeedStanding, Problem, Report, Severity, Standing
from ops.lint.running import Objection, Running
from ops.lint.successor import Registry, Successor
from schemas.agreement.agency import Agency
from schemas.agreement.directory import Directory
from schemas.contract import Contract
from schemas.errors import Misconfigured
from schemas.feed import check_feed


def check(folder: Path, registry: Registry | None = None, directory: Directory | None = None) -> Report:
    """Inspect a folder of an agency, a subscriber, or many. Raises Transient when the registry does not answer.

    `registry`: compare with what runs. `directory`: name the grants that a change would break, and let a subscriber's
    grants name feeds that are not in the folder.
    """
    return _Check(folder, registry, directory or Directory()).run()


class _Check:
    def __init__(self, folder: Path, registry: Registry | None, directory: Directory) -> None:
        self._folder = folder
        self._registry = registry
        self._directory = directory
        self._running = Running(directory)
        self._report = Report(folder=str(folder))
        self._feeds: dict[str, KnownFeed | None] = {
            name: self._known(
                entry.contract, directory.agencies.get(entry.contract.agency), is_keyed_only=entry.is_keyed_only
            )
            for name, entry in directory.feeds.items()
        }
        self._resources = ResourceLint(directory)
        self._owners: dict[str, str] = {}

    def run(self) -> Report:
        agencies, subscribers = found(self._folder, AGENCY_FILE), found(self._folder, SUBSCRIBER_FILE)
        if not agencies and not subscribers:
            text = f"holds neither {AGENCY_FILE} nor {SUBSCRIBER_FILE}"
            self._error(self._folder, 1, "", text, "name a folder that does; `mesh draft` writes one from a database")
        for path in agencies:
            self._agency(path)
        for path in subscribers:
            self._subscriber(path)
        self._report.problems.sort(key=lambda problem: (problem.file, problem.line))
        return self._report

    @staticmethod
    def _known(contract: Contract, agency: Agency | None, *, is_keyed_only: bool) -> KnownFeed:
        fix = whole_row_fix(agency, contract)
        return KnownFeed(contract=contract, is_keyed_only=is_keyed_only, whole_row_fix=fix)

    def _error(self, path: Path, line: int, field: str, message: str, fix: str) -> None:
        problem = Problem(
            severity=Severity.ERROR, file=self._name(path), line=line, field=field, message=message, fix=fix
        )
        self._report.problems.append(problem)

    def _object(self, path: Path, line: int, objections: Iterable[Objection]) -> None:
        for objection in objections:
            self._error(path, line, *objection)

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self._folder)) if path.is_relative_to(self._folder) else str(path)

    def _read(self, path: Path) -> Inspected | None:
        try:
            return Inspected(self._name(path), read(path))
        except Unreadable as error:
            kind = "JSON" if path.suffix == ".avsc" else "YAML"
            text = f"is no {kind}: {error} (line {error.line}, column {error.column})"
            self._error(path, error.line, "", text, "correct the text there; often a comma, quote or bracket before it")
            return None

    def _is_only_one(self, path: Path, name: str) -> bool:
        other = self._owners.setdefault(name, self._name(path))
        if other != self._name(path):
            self._error(path, 1, name, f"is defined in {other} too", "keep one of the two folders")
        return other == self._name(path)

    def _agency(self, path: Path) -> None:
        file = self._read(path)
        if file is None:
            return
        agency = EndsLint(file).agency()
        self._report.problems.extend(file.problems)
        if agency is None or not self._is_only_one(path, f"agency {agency.agency}"):
            return
        line, running = file.located.line, self._running
        self._object(path, line(("agency",)), running.never_again("agency", agency.agency))
        for index, source in enumerate(agency.sources):
            at = line(("sources", index))
            self._object(path, at, running.never_again("source", f"{agency.agency}.{source.name}"))
            self._object(path, at, running.name_alone("source", agency.agency, source.name))
        self._object(path, line(("sources",)), running.sources_left_out(agency))
        connections = {
            entry.get("name", "main"): str(entry.get("connection") or "")
            for entry in file.located.value.get("sources") or ()
        }
        self._contracts(path, agency, connections)

    def _contracts(self, path: Path, agency: Agency, connections: Mapping[str, str]) -> None:
        files = contract_files(path)
        if not files:
            fix = "add one, or let `mesh draft` write them from the live database"
            self._error(path, 1, "", "has no contract (<table>.avsc) beside it", fix)
        tables: dict[tuple[str, str], str] = {}
        for file in files:
            contract = self._contract(file, agency)
            if contract is not None:
                self._sending(contract, agency, connections)
                other = tables.setdefault((contract.source, contract.table), file.name)
                if other != file.name:
                    self._error(file, 1, "", f"table {contract.table} has a contract in {other} already", "keep one")

    def _sending(self, contract: Contract, agency: Agency, connections: Mapping[str, str]) -> None:
        """How rows are sent, where the department does it itself."""
        send, connection = kind_of(agency, contract.source).sending, connections.get(contract.source)
        if send is not None and connection:
            self._report.sending.append(send(connection, contract.feed, "rows.jsonl"))

    def _contract(self, path: Path, agency: Agency) -> Contract | None:
        feed = f"{agency.agency}.{path.stem}"
        try:
            check_feed(feed)
        except Misconfigured as error:
            fix = "name the file in lower-case letters, digits and _; the table's own name goes to gov.table"
            self._error(path, 1, "", str(error.args[0]), fix)
            return None
        self._object(path, 1, self._running.never_again("feed", feed))
        self._feeds[feed] = None
        file = self._read(path)
        if file is None:
            return None
        lint = ContractLint(file, feed)
        lint.run(agency)
        contract = lint.contract
        if contract is not None:
            self._resources.run(file, contract, agency)
            running = self._directory.feeds.get(feed)
            is_keyed_only = running.is_keyed_only if running else contract.gov.get("keyedOnly") is True
            self._feeds[feed] = self._known(contract, agency, is_keyed_only=is_keyed_only)
            self._report.feeds.append(self._standing(file, contract))
        self._report.problems.extend(file.problems)
        return contract

    def _standing(self, file: Inspected, contract: Contract) -> FeedStanding:
        if self._registry is None:
            return FeedStanding(feed=contract.feed, standing=Standing.UNKNOWN)
        return Successor(file, contract, self._registry, self._directory).standing()

    def _subscriber(self, path: Path) -> None:
        file = self._read(path)
        if file is None:
            return
        subscriber = EndsLint(file).subscriber()
        if subscriber is not None and self._is_only_one(path, f"subscriber {subscriber.subscriber}"):
            line, running = file.located.line, self._running
            self._object(path, line(("subscriber",)), running.never_again("subscriber", subscriber.subscriber))
            for index, sink in enumerate(subscriber.sinks):
                at = line(("sinks", index))
                self._object(path, at, running.name_alone("sink", subscriber.subscriber, sink.name))
                told = sink.policy(subscriber.subscriber).explained() if not file.has_errors else ()
                self._report.limits += [f"{subscriber.subscriber}.{sink.name}: {limit}" for limit in told]
            now = datetime.now(UTC)
            over = {name for name, entry in self._directory.grants.items() if entry.grant.holds_nobody(now)}
            grants = list(GrantLint(file, subscriber, self._feeds, over).grants())
            self._report.grants += len(grants)
            told = {grant.grant_id for grant in grants} | over
            self._object(path, line(("sinks",)), running.sinks_left_out(subscriber, told))
        self._report.problems.extend(file.problems)
