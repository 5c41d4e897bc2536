"""What is wrong with an agency's or a subscriber's file, its grants above all: every problem with its line and its fix."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ops.kinds.sinks import SINKS
from ops.kinds.sources import SOURCES
from ops.known_names import did_you_mean
from ops.lint.folder import CODE, agency_of, grant_of, subscriber_of, variable_of
from ops.lint.folder_form import AgencyForm, GrantForm, SubscriberForm
from ops.lint.located import Located, Path
from ops.lint.report import Problem, Severity
from producers.kind import SourceKind
from schemas.agreement.agency import Agency
from schemas.agreement.grant import Grant, Mask
from schemas.agreement.subscriber import Subscriber
from schemas.contract import Contract
from schemas.errors import Misconfigured
from schemas.expression.expression import parse as parse_expression
from schemas.expression.predicate import predicate
from schemas.feed import check_feed, out_topic
from schemas.form import examine
from sinks.kind import Secret, SinkKind

_WITHHELD = {False: {Mask.DROP}, True: {Mask.HASH}}
"""The masks under which a NOT_SHARED column does not leave: a key column cannot be dropped, only made unreadable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFeed:
    """A feed that a grant can name, from the checked folder or from the running mesh."""

    contract: Contract
    is_keyed_only: bool
    whole_row_fix: str


class FileLint:
    """One YAML file under inspection."""

    def __init__(self, file: str, located: Located) -> None:
        self._file = file
        self._located = located
        self.problems: list[Problem] = []
        for path, line in located.twice:
            self._add(Severity.ERROR, path, "", f"{path[-1]} is given twice; the first is lost", "keep one", line)

    def _add(self, severity: Severity, path: Path, field: str, message: str, fix: str, line: int | None = None) -> None:
        at = self._located.line(path) if line is None else line
        self.problems.append(
            Problem(severity=severity, file=self._file, line=at, field=field, message=message, fix=fix)
        )

    def _reject(self, path: Path, field: str, error: Misconfigured) -> None:
        self._add(Severity.ERROR, path, field, str(error.args[0]), error.fix)

    def _is_unlike(self, form: type[Any], value: Any, at: Path, what: str, field: str = "") -> bool:
        """Whether a part of the file is not as its form says; each difference is a problem on its line."""
        _, faults = examine(form, value, what)
        for fault in faults:
            self._add(Severity.ERROR, (*at, *fault.path), field, fault.message, fault.fix)
        return bool(faults)

    def agency(self) -> Agency | None:
        """The agency in the file, if it can be read."""
        if self._is_unlike(AgencyForm, self._located.value, (), "field of an agency"):
            return None
        try:
            agency, connections = agency_of(self._located.value)
        except Misconfigured as error:
            self._reject((), "", error)
            return None
        if not agency.sources:
            fix = "add `sources:` with a name, a kind and a connection"
            self._add(Severity.ERROR, ("agency",), "", "has no source, so nothing can be captured", fix)
        if "name" not in self._located.value:
            self._add(Severity.WARNING, ("agency",), "", "has no Chinese name", "add `name: <中文名>`")
        self._ends("sources", agency.agency, connections, SOURCES)
        return agency

    def subscriber(self) -> Subscriber | None:
        """The subscriber in the file, if it can be read."""
        if self._is_unlike(SubscriberForm, self._located.value, (), "field of a subscriber"):
            return None
        try:
            subscriber, connections = subscriber_of(self._located.value)
        except Misconfigured as error:
            self._reject((), "", error)
            return None
        if not subscriber.sinks:
            fix = "add `sinks:` with a name, a kind and a connection"
            self._add(Severity.ERROR, ("subscriber",), "", "has no sink, so nothing can be delivered", fix)
        self._ends("sinks", subscriber.subscriber, connections, SINKS)
        return subscriber

    def _ends(
        self, name: str, owner: str, connections: Mapping[str, str], kinds: Mapping[str, SourceKind | SinkKind]
    ) -> None:
        for index, entry in enumerate(self._located.value.get(name) or ()):
            at, label = (name, index), str(entry.get("name", "main"))
            kind = kinds.get(entry["kind"])
            if kind is None:
                fix = did_you_mean(str(entry["kind"]), kinds)
                self._add(Severity.ERROR, (*at, "kind"), label, f"there is no kind {entry['kind']}", fix)
            else:
                what = f"option of a {name.removesuffix('s')} of kind {entry['kind']}"
                for fault in examine(kind.options, entry.get("options") or {}, what)[1]:
                    self._add(Severity.ERROR, (*at, "options", *fault.path), label, fault.message, fault.fix)
            if isinstance(kind, SinkKind):
                self._address(kind, at, label, connections)
                for secret in kind.secrets:
                    self._secret(secret, entry, at, label, owner, connections)
            if kind is not None and not kind.has_address:
                continue  # there is nothing to connect to
            variable = f"${{MESH_{owner.upper()}_DSN}}"
            if label not in connections:
                self._add(Severity.ERROR, at, label, "has no connection", f"add `connection: {variable}`")
            elif variable_of(connections[label]) is None:
                fix = f"write `connection: {variable}` and keep the address in the environment"
                text = "its address stands in the file, with whatever secret it holds"
                self._add(Severity.WARNING, (*at, "connection"), label, text, fix)

    def _address(self, kind: SinkKind, at: Path, label: str, connections: Mapping[str, str]) -> None:
        """Its address, where it stands in the file."""
        address = connections.get(label, "")
        if address and variable_of(address) is None and kind.check_address:
            try:
                kind.check_address(address)
            except Misconfigured as error:
                self._reject((*at, "connection"), label, error)

    def _secret(
        self,
        secret: Secret,
        entry: Mapping[str, Any],
        at: Path,
        label: str,
        owner: str,
        connections: Mapping[str, str],
    ) -> None:
        """A secret that it needs is named, and none stands in the file."""
        variable = f"${{MESH_{owner.upper()}_{label.upper()}_{secret.variable}}}"
        given = connections.get(f"{label}.{secret.name}")
        if given is None and secret.needed_because and not (entry.get("options") or {}).get(secret.or_option):
            fix = f"add `{secret.name}: {variable}`: {secret.form}"
            self._add(Severity.ERROR, at, label, f"has no {secret.what}, {secret.needed_because}", fix)
        elif given is not None and variable_of(given) is None:
            fix = f"write `{secret.name}: {variable}` and keep the {secret.variable.lower()} in the environment"
            text = f"its {secret.what} stands in the file for all to read"
            self._add(Severity.ERROR, (*at, secret.name), label, text, fix)

    # --- grants -----------------------------------------------------------------------------------------------------

    def grants(
        self, subscriber: Subscriber, feeds: Mapping[str, KnownFeed | None], over: Collection[str] = ()
    ) -> Iterator[Grant]:
        """The grants in the file that can be read, each looked at; a feed whose contract is broken maps to None.

        `over` are ids of grants that have ended in the running mesh: what their feed has no more is no error of theirs.
        """
        entries = self._located.value.get("grants") or []
        if not isinstance(entries, list):
            fix = "write `grants:` and then `- feed: …`"
            self._add(Severity.ERROR, ("grants",), "", "grants is no list", fix)
            return
        if not entries:
            fix = "add `grants:`; without one nothing flows"
            self._add(Severity.WARNING, ("subscriber",), "", "has no grants", fix)
        seen: set[str] = set()
        for index, entry in enumerate(entries):
            at: Path = ("grants", index)
            feed = self._feed(entry, at, feeds)
            name = str(entry.get("feed", "")) if isinstance(entry, Mapping) else ""
            if self._is_unlike(GrantForm, entry, at, "field of a grant", name):
                continue
            try:
                grant = grant_of(entry, subscriber.subscriber)
            except Misconfigured as error:
                self._unreadable(entry, at, feed, error)
                continue
            self._grant(grant, at, subscriber, None if grant.grant_id in over else feed, seen)
            yield grant

    def _feed(self, entry: Any, at: Path, feeds: Mapping[str, KnownFeed | None]) -> KnownFeed | None:
        name = entry.get("feed") if isinstance(entry, Mapping) else None
        if not isinstance(name, str):
            return None
        try:
            check_feed(name)
        except Misconfigured as error:
            self._reject((*at, "feed"), name, error)
            return None
        if name not in feeds:
            listed = "`mesh catalogue` lists them"
            fix = did_you_mean(name, feeds, listed) if feeds else "check it together with the agency's folder"
            self._add(Severity.ERROR, (*at, "feed"), name, "there is no such feed, here or in the running mesh", fix)
        return feeds.get(name)

    def _unreadable(self, entry: Any, at: Path, feed: KnownFeed | None, error: Misconfigured) -> None:
        columns = entry.get("columns") if isinstance(entry, Mapping) else None
        name = str(entry.get("feed", "")) if isinstance(entry, Mapping) else ""
        if columns in ("*", ["*"]) or (isinstance(columns, str | None) and feed is not None):
            names = ", ".join(field.name for field in feed.contract.fields) if feed else "<each column by name>"
            fix = f"list what the purpose needs, out of: columns: [{names}]"
            text = "does not name its columns; nothing is granted that is not named (default deny)"
            self._add(Severity.ERROR, (*at, "columns"), name, text, fix)
        else:
            self._reject(at, name, error)

    def _grant(self, grant: Grant, at: Path, subscriber: Subscriber, feed: KnownFeed | None, seen: set[str]) -> None:
        name = grant.feed
        if grant.grant_id in seen:
            fix = f"give the second its own id, `grant_id: {subscriber.subscriber}.{name}.<purpose>`"
            self._add(Severity.ERROR, at, name, f"grant {grant.grant_id} is there twice", fix)
        seen.add(grant.grant_id)
        if not all(CODE.fullmatch(part) for part in grant.grant_id.split(".")) or len(out_topic(grant.grant_id)) > 240:
            fix = "use lower-case letters, digits and _, joined by dots, up to 200 characters"
            self._add(Severity.ERROR, (*at, "grant_id"), name, f"{grant.grant_id} cannot name a topic", fix)
        if subscriber.sink(grant.sink) is None:
            fix = did_you_mean(grant.sink, [sink.name for sink in subscriber.sinks])
            self._add(Severity.ERROR, (*at, "sink"), name, f"there is no sink {grant.sink}", fix)
        if grant.valid_from and grant.valid_to and grant.valid_from >= grant.valid_to:
            fix = "correct the two dates; the end is exclusive"
            self._add(Severity.ERROR, (*at, "valid_to"), name, "ends before it begins", fix)
        if feed is not None:
            self._columns(grant, at, feed.contract)
            self._filter(grant, at, feed)
            self._target(grant, at, subscriber, feed.contract)

    def _target(self, grant: Grant, at: Path, subscriber: Subscriber, contract: Contract) -> None:
        """What the grant's target could not hold, and delivery would stop at."""
        sink = subscriber.sink(grant.sink)
        kind = SINKS.get(sink.kind) if sink else None
        if sink is not None and kind is not None:
            for text, fix in kind.unfit(sink, grant, contract):
                self._add(Severity.WARNING, at, grant.feed, text, fix)

    def _columns(self, grant: Grant, at: Path, contract: Contract) -> None:
        names = [field.name for field in contract.fields]
        if "*" in grant.columns:
            fix = f"list what the purpose needs, out of: columns: [{', '.join(names)}]"
            text = "does not name its columns; nothing is granted that is not named (default deny)"
            self._add(Severity.ERROR, (*at, "columns"), grant.feed, text, fix)
            return
        for index, column in enumerate(grant.columns):
            field = contract.by_name.get(column)
            place = (*at, "columns", index)
            if field is None:
                fix = did_you_mean(column, names)
                self._add(Severity.ERROR, place, grant.feed, f"the contract has no column {column}", fix)
            elif field.gov.get("class") == "NOT_SHARED" and grant.mask.get(column) not in _WITHHELD[field.is_key]:
                fix = f"remove it, or let the department change the class of {column} in its contract"
                text = f"column {column} is NOT_SHARED 不予共享 ({field.gov.get('basis', 'no basis given')})"
                self._add(Severity.ERROR, place, grant.feed, text, fix)
        self._masks(grant, at, contract)
        granted = [contract.by_name[column] for column in grant.columns if column in contract.by_name]
        conditional = [field.name for field in granted if field.gov.get("class") == "CONDITIONAL"]
        if conditional and not grant.legal_basis:
            fix = "add `legal_basis:`, and `matter_code:` where there is one"
            text = f"gives no legal basis for {', '.join(conditional)} (CONDITIONAL 有条件共享)"
            gravest = [name for name in conditional if "L4" in contract.by_name[name].tags]
            if gravest:
                text = f"{text}; {', '.join(gravest)} is of class L4"
            self._add(Severity.ERROR if gravest else Severity.WARNING, at, grant.feed, text, fix)

    def _masks(self, grant: Grant, at: Path, contract: Contract) -> None:
        for column in contract.key:
            is_shared = contract.by_name[column].gov.get("class") != "NOT_SHARED"
            if not is_shared and column not in grant.columns and grant.mask.get(column) is not Mask.HASH:
                text = f"key column {column} is NOT_SHARED 不予共享, and the key travels with every grant"
                fix = f"write `mask: {{{column}: HASH}}`, or let the department change its class"
                self._add(Severity.ERROR, at, grant.feed, text, fix)
        for column, mask in grant.mask.items():
            if column not in grant.columns and column not in contract.key:
                fix = f"add {column} to its columns, or remove the mask"
                self._add(
                    Severity.ERROR, (*at, "mask", column), grant.feed, f"masks {column}, which it does not grant", fix
                )
            if column in contract.key and mask in {Mask.DROP, Mask.MASK}:
                fix = "use HASH: the key stays distinct and says nothing"
                text = f"key column {column} cannot be {mask}: rows could not be told apart"
                self._add(Severity.ERROR, (*at, "mask", column), grant.feed, text, fix)

    def _filter(self, grant: Grant, at: Path, feed: KnownFeed) -> None:
        if grant.row_filter is None:
            return
        place = (*at, "row_filter")
        try:
            expression = parse_expression(grant.row_filter)
            predicate(expression, feed.contract)
        except Misconfigured as error:
            self._reject(place, grant.feed, error)
            return
        if feed.is_keyed_only and expression.columns - set(feed.contract.key):
            text = "filters rows, but the source does not send the row as it was, so leaving the filter would go unseen"
            self._add(Severity.ERROR, place, grant.feed, text, feed.whole_row_fix)
