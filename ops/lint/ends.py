"""Ends: what is wrong with an agency's or a subscriber's file and with its sources or sinks, each with its line and its fix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ops.kinds.sinks import SINKS
from ops.kinds.sources import SOURCES
from ops.known_names import did_you_mean
from ops.lint.folder import agency_of, subscriber_of, variable_of
from ops.lint.folder_form import AgencyForm, SubscriberForm
from ops.lint.inspected import Inspected
from ops.lint.located import Path
from producers.kind import SourceKind
from schemas.agreement.agency import Agency
from schemas.agreement.subscriber import Subscriber
from schemas.errors import Misconfigured
from schemas.resource.code import code_rules
from sinks.kind import Secret, SinkKind


class EndsLint:
    """One YAML file under inspection, but for its grants."""

    def __init__(self, file: Inspected) -> None:
        self._file = file

    def agency(self) -> Agency | None:
        """The agency in the file, if it can be read."""
        if self._file.is_unlike(AgencyForm, self._file.located.value, (), "field of an agency"):
            return None
        try:
            agency, connections = agency_of(self._file.located.value)
        except Misconfigured as error:
            self._file.reject((), "", error)
            return None
        if not agency.sources:
            fix = "add `sources:` with a name, a kind and a connection"
            self._file.error(("agency",), "", "has no source, so nothing can be captured", fix)
        if "name" not in self._file.located.value:
            self._file.warn(("agency",), "", "has no Chinese name", "add `name: <中文名>`")
        if agency.classification and not code_rules().is_classification(agency.classification):
            fix = 'write `classification: "3/01/001"`, or leave it out: it then follows from the code'
            text = f"classification {agency.classification} is no class, item and category (类/项/目)"
            self._file.error(("classification",), "", text, fix)
        self._ends("sources", agency.agency, connections, SOURCES)
        return agency

    def subscriber(self) -> Subscriber | None:
        """The subscriber in the file, if it can be read."""
        if self._file.is_unlike(SubscriberForm, self._file.located.value, (), "field of a subscriber"):
            return None
        try:
            subscriber, connections = subscriber_of(self._file.located.value)
        except Misconfigured as error:
            self._file.reject((), "", error)
            return None
        if not subscriber.sinks:
            fix = "add `sinks:` with a name, a kind and a connection"
            self._file.error(("subscriber",), "", "has no sink, so nothing can be delivered", fix)
        self._ends("sinks", subscriber.subscriber, connections, SINKS)
        return subscriber

    def _ends(
        self, name: str, owner: str, connections: Mapping[str, str], kinds: Mapping[str, SourceKind | SinkKind]
    ) -> None:
        for index, entry in enumerate(self._file.located.value.get(name) or ()):
            at, label = (name, index), str(entry.get("name", "main"))
            kind = kinds.get(entry["kind"])
            if kind is None:
                fix = did_you_mean(str(entry["kind"]), kinds)
                self._file.error((*at, "kind"), label, f"there is no kind {entry['kind']}", fix)
            else:
                what = f"option of a {name.removesuffix('s')} of kind {entry['kind']}"
                self._file.is_unlike(kind.options, entry.get("options") or {}, (*at, "options"), what, label)
            if isinstance(kind, SinkKind):
                self._address(kind, at, label, connections)
                if kind.is_pulled and entry.get("delivery"):
                    text = "limits a delivery, and its subscriber reads its topics itself: nothing is delivered to it"
                    self._file.error((*at, "delivery"), label, text, "leave `delivery:` out")
                for secret in kind.secrets:
                    self._secret(secret, entry, at, label, owner, connections)
            if kind is not None and not kind.has_address:
                continue  # there is nothing to connect to
            variable = f"${{MESH_{owner.upper()}_DSN}}"
            if label not in connections:
                self._file.error(at, label, "has no connection", f"add `connection: {variable}`")
            elif variable_of(connections[label]) is None:
                fix = f"write `connection: {variable}` and keep the address in the environment"
                text = "its address stands in the file, with whatever secret it holds"
                self._file.warn((*at, "connection"), label, text, fix)

    def _address(self, kind: SinkKind, at: Path, label: str, connections: Mapping[str, str]) -> None:
        """Its address, where it stands in the file."""
        address = connections.get(label, "")
        if address and variable_of(address) is None and kind.check_address:
            try:
                kind.check_address(address)
            except Misconfigured as error:
                self._file.reject((*at, "connection"), label, error)

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
            self._file.error(at, label, f"has no {secret.what}, {secret.needed_because}", fix)
        elif given is not None and variable_of(given) is None:
            fix = f"write `{secret.name}: {variable}` and keep the {secret.variable.lower()} in the environment"
            text = f"its {secret.what} stands in the file for all to read"
            self._file.error((*at, secret.name), label, text, fix)
