"""`mesh check`: lint a folder, explain every problem with its fix, and say what it would change in what runs, and for whom.

Nothing is registered or written. With a registry, each contract is compared with every version that runs; with a Directory,
a change is told by who would lose what. `check` refuses what would lose or leak; what it lets pass can be onboarded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from ops.kinds.sources import whole_row_fix
from ops.lint.contract import ContractLint
from ops.lint.folder import AGENCY_FILE, SUBSCRIBER_FILE, contract_files, found, read
from ops.lint.located import Located, Unreadable
from ops.lint.located import Path as Place
from ops.lint.name import Names
from ops.lint.report import FeedStanding, Problem, Report, Severity, Standing
from ops.lint.subscriber import FileLint, KnownFeed
from ops.settings import Side
from schemas.agreement.agency import Agency
from schemas.agreement.directory import Directory
from schemas.agreement.offboarding import Kind
from schemas.agreement.subscriber import Subscriber
from schemas.contract import Contract
from schemas.errors import Misconfigured
from schemas.expression.expression import parse as parse_expression
from schemas.feed import check_feed, key_subject, value_subject
from schemas.wire.envelope import key_schema, value_schema
from schemas.wire.schema import AvroSchema, canonical_text


class Registry(Protocol):
    """What is asked of a schema registry (schemas/registry/client.py)."""

    def latest(self, subject: str) -> tuple[int, int, Mapping[str, AvroSchema]] | None:
        """Id, version and schema of the latest version."""
        ...

    def breaches(self, subject: str, schema: Mapping[str, AvroSchema]) -> list[str]:
        """What a schema would break, in words."""
        ...


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
        self._report = Report(folder=str(folder))
        self._feeds: dict[str, KnownFeed | None] = {
            name: self._known(
                entry.contract, directory.agencies.get(entry.contract.agency), is_keyed_only=entry.is_keyed_only
            )
            for name, entry in directory.feeds.items()
        }
        self._owners: dict[str, str] = {}
        self._names = Names(self._directory)

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

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self._folder)) if path.is_relative_to(self._folder) else str(path)

    def _read(self, path: Path) -> Located | None:
        try:
            return read(path)
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

    def _name_alone(self, path: Path, located: Located, at: Place, side: Side, owner: str, name: str) -> None:
        if other := self._names.other(side, owner, name):
            text = (
                f"{owner}.{name} and {other} would have one name in the environment, and one slot if they are sources"
            )
            self._error(path, located.line(at), name, text, "give one of the two another code or name")

    def _never_again(self, path: Path, line: int, kind: Kind, name: str) -> None:
        if left := self._directory.left(kind, name):
            text = f"{kind} {name} was offboarded on {left.at:%Y-%m-%d}, and names are never used again"
            fix = (
                "name the file otherwise; the table's own name goes to gov.table"
                if kind == "feed"
                else "choose another"
            )
            self._error(path, line, name, text, fix)

    def _sources_kept(self, path: Path, line: int, agency: Agency) -> None:
        """A source that is left out of its file would end the capture of its feeds without a word."""
        given = {source.name for source in agency.sources}
        users: dict[str, list[str]] = {}
        for feed, entry in self._directory.feeds.items():
            contract = entry.contract
            if contract.agency == agency.agency and contract.source not in given:
                users.setdefault(contract.source, []).append(feed)
        for name, feeds in users.items():
            source = f"{agency.agency}.{name}"
            text = f"source {source} is left out, and {len(feeds)} feeds are captured from it, such as {min(feeds)}"
            fix = f"put it back, or let it leave for good with `mesh offboard source {source} --yes`"
            self._error(path, line, source, text, fix)

    def _sinks_kept(self, path: Path, line: int, subscriber: Subscriber, told: set[str]) -> None:
        """A sink that is left out of its file would end the delivery of its grants without a word."""
        given = {sink.name for sink in subscriber.sinks}
        for grant_id, entry in self._directory.grants.items():
            grant = entry.grant
            if grant.subscriber == subscriber.subscriber and grant.sink not in given and grant_id not in told:
                text = f"sink {grant.subscriber}.{grant.sink} is left out, and grant {grant_id} is delivered to it"
                fix = f"put it back, give the grant another sink, or end it with `mesh grant {grant_id} REVOKED`"
                self._error(path, line, f"{grant.subscriber}.{grant.sink}", text, fix)

    def _agency(self, path: Path) -> None:
        located = self._read(path)
        if located is None:
            return
        lint = FileLint(self._name(path), located)
        agency = lint.agency()
        self._report.problems.extend(lint.problems)
        if agency is None or not self._is_only_one(path, f"agency {agency.agency}"):
            return
        self._never_again(path, located.line(("agency",)), "agency", agency.agency)
        for index, source in enumerate(agency.sources):
            self._never_again(path, located.line(("sources", index)), "source", f"{agency.agency}.{source.name}")
            self._name_alone(path, located, ("sources", index), "source", agency.agency, source.name)
        self._sources_kept(path, located.line(("sources",)), agency)
        files = contract_files(path)
        if not files:
            fix = "add one, or let `mesh draft` write them from the live database"
            self._error(path, 1, "", "has no contract (<table>.avsc) beside it", fix)
        tables: dict[tuple[str, str], str] = {}
        for file in files:
            contract = self._contract(file, agency)
            if contract is not None:
                other = tables.setdefault((contract.source, contract.table), file.name)
                if other != file.name:
                    self._error(file, 1, "", f"table {contract.table} has a contract in {other} already", "keep one")

    def _contract(self, path: Path, agency: Agency) -> Contract | None:
        feed = f"{agency.agency}.{path.stem}"
        try:
            check_feed(feed)
        except Misconfigured as error:
            fix = "name the file in lower-case letters, digits and _; the table's own name goes to gov.table"
            self._error(path, 1, "", str(error.args[0]), fix)
            return None
        self._never_again(path, 1, "feed", feed)
        self._feeds[feed] = None
        located = self._read(path)
        if located is None:
            return None
        lint = ContractLint(self._name(path), feed, located)
        lint.run(agency)
        self._report.problems.extend(lint.problems)
        contract = lint.contract
        if contract is not None:
            running = self._directory.feeds.get(feed)
            is_keyed_only = running.is_keyed_only if running else contract.gov.get("keyedOnly") is True
            self._feeds[feed] = self._known(contract, agency, is_keyed_only=is_keyed_only)
            self._report.feeds.append(self._standing(path, lint, contract))
        return contract

    def _subscriber(self, path: Path) -> None:
        located = self._read(path)
        if located is None:
            return
        lint = FileLint(self._name(path), located)
        subscriber = lint.subscriber()
        if subscriber is not None and self._is_only_one(path, f"subscriber {subscriber.subscriber}"):
            self._never_again(path, located.line(("subscriber",)), "subscriber", subscriber.subscriber)
            for index, sink in enumerate(subscriber.sinks):
                self._name_alone(path, located, ("sinks", index), "sink", subscriber.subscriber, sink.name)
            now = datetime.now(UTC)
            over = {name for name, entry in self._directory.grants.items() if entry.grant.is_over(now)}
            grants = list(lint.grants(subscriber, self._feeds, over))
            self._report.grants += len(grants)
            self._sinks_kept(path, located.line(("sinks",)), subscriber, {grant.grant_id for grant in grants} | over)
        self._report.problems.extend(lint.problems)

    # --- against what runs ------------------------------------------------------------------------------------------

    def _standing(self, path: Path, lint: ContractLint, contract: Contract) -> FeedStanding:
        feed = contract.feed
        if self._registry is None:
            return FeedStanding(feed=feed, standing=Standing.UNKNOWN)
        latest = self._registry.latest(value_subject(self._subjects(feed)))
        if latest is None:
            return FeedStanding(feed=feed, standing=Standing.NEW)
        errors_before = len(self._report.errors)
        value = value_schema(contract)
        old, new = _columns(latest[2]), [field.name for field in contract.fields]
        added, dropped = [name for name in new if name not in old], [name for name in old if name not in new]
        self._key(path, contract)
        changed = self._breaches(path, lint, contract, value)
        broken = self._broken_grants(path, lint, contract, dropped, changed)
        if len(self._report.errors) > errors_before:
            standing = Standing.BREAKING
        else:
            is_same = canonical_text(latest[2]) == canonical_text(value)
            standing = Standing.UNCHANGED if is_same else Standing.SUCCESSOR
        return FeedStanding(feed=feed, standing=standing, added=added, dropped=dropped, broken_grants=broken)

    def _subjects(self, feed: str) -> str:
        running = self._directory.feeds.get(feed)
        return running.subjects if running else feed

    def _key(self, path: Path, contract: Contract) -> None:
        latest = self._registry.latest(key_subject(self._subjects(contract.feed))) if self._registry else None
        if latest is None or canonical_text(latest[2]) == canonical_text(key_schema(contract)):
            return
        was = ", ".join(f"{field['name']} {field['type']}" for field in latest[2]["fields"])
        now = ", ".join(f"{field['name']} {field['type']}" for field in key_schema(contract)["fields"])
        text = f"the key was ({was}) and would be ({now}); a feed's key is for life, since rows are found by it"
        fix = "keep the key, or publish the table under a new file name, which is a new feed"
        self._error(path, 1, "gov.key", text, fix)

    def _breaches(self, path: Path, lint: ContractLint, contract: Contract, value: AvroSchema) -> set[str]:
        """Report what the registry says breaks; returns the columns it is about."""
        changed: set[str] = set()
        subject = value_subject(self._subjects(contract.feed))
        for breach in self._registry.breaches(subject, value) if self._registry else ():
            text = breach.removeprefix("before.")
            column = text.split(":", 1)[0].split("[", 1)[0].split(".", 1)[0]
            known = column in contract.by_name
            if known:
                changed.add(column)
                text = text.split(":", 1)[1].strip()
            fix = "keep the column as it is and add a new one beside it, or publish the table as a new feed"
            self._error(path, lint.line_of(column), column if known else "", text, fix)
        return changed

    def _broken_grants(
        self, path: Path, lint: ContractLint, contract: Contract, dropped: Sequence[str], changed: set[str]
    ) -> list[str]:
        broken: list[str] = []
        now = datetime.now(UTC)
        for grant_id, entry in sorted(self._directory.grants.items()):
            grant = entry.grant
            if grant.feed != contract.feed or grant.is_over(now):
                continue  # a grant that is over holds nobody
            filtered = parse_expression(grant.row_filter).columns if grant.row_filter else frozenset[str]()
            used = [*grant.columns, *sorted(filtered - set(grant.columns))]
            lost = [column for column in used if column in dropped]
            for column in lost:
                how = "receives it" if column in grant.columns else "filters rows by it"
                text = f"is dropped, but {grant.subscriber} {how} (grant {grant_id}, {grant.purpose})"
                fix = f"keep the column, or end or change the grant with {grant.subscriber} first"
                self._error(path, 1, column, text, fix)
            for column in used:
                if column in changed:
                    text = f"changes for {grant.subscriber} (grant {grant_id}, {grant.purpose})"
                    fix = f"agree with {grant.subscriber} on a new column"
                    self._error(path, lint.line_of(column), column, text, fix)
            if lost or changed & set(used):
                broken.append(grant_id)
        return broken


def _columns(envelope: Mapping[str, AvroSchema]) -> list[str]:
    """The columns of the row inside an envelope's schema."""
    before = next(field for field in envelope["fields"] if field["name"] == "before")
    return [field["name"] for field in before["type"][1]["fields"]]
