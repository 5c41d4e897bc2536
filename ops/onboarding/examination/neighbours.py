"""Neighbours: what two ends of the mesh would share and must not: a database, a table, a directory. And whether each can be used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ops.kinds.sinks import SINKS
from ops.kinds.sources import kind_of
from ops.lint.folder import Folder
from schemas.agreement.directory import Directory
from schemas.agreement.grant import Grant
from schemas.agreement.subscriber import Subscriber
from schemas.errors import MeshError, Misconfigured, Transient
from schemas.wire.schema import SchemaOf
from sinks.kind import Destination
from sinks.sink import SinkSetup

Address = Callable[[str, str], str]
"""The address of one end by owner and name. Raises MeshError where nobody knows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """All ends that an onboarding touches, looked at before any of it is done."""

    content: Folder
    directory: Directory
    source_address: Address
    sink_address: Address
    schema_of: SchemaOf
    mesh: Path

    def examine(self) -> list[str]:
        """Try every sink, and see that no two ends meet; what is worth a notice. Raises Misconfigured for the rest."""
        subscribers = [(folder.subscriber, folder.grants) for folder in self.content.subscribers]
        refuse_shared_places(subscribers, self.directory, self.sink_address, self.mesh)
        captured = self._captured()
        notices: list[str] = []
        for subscriber, _ in subscribers:
            for sink in subscriber.sinks:
                kind = SINKS.get(sink.kind)
                if kind is None or kind.trial is None:
                    continue
                setup = SinkSetup(
                    subscriber=subscriber.subscriber, sink=sink, address_of=self.sink_address, schema_of=self.schema_of
                )
                try:
                    if not kind.is_beside_source(sink):
                        _refuse_captured(setup, kind.databases(setup), captured)
                    kind.trial(setup)
                except Transient as error:
                    notices.append(
                        f"{setup.label} could not be tried: {error.args[0]}; it delivers once that is mended"
                    )
        return notices

    def _captured(self) -> Mapping[str, str]:
        """The databases of the sources to come, by identity and by address; of the running ones by address."""
        captured: dict[str, str] = {}
        for agency in self.directory.agencies.values():
            for source in agency.sources:
                if (database := kind_of(agency, source.name).database) is not None:
                    with suppress(MeshError):
                        address = self.source_address(agency.agency, source.name)
                        captured[database.at(address)] = f"{agency.agency}.{source.name}"
        for folder in self.content.agencies:
            for source in folder.agency.sources:
                if (database := kind_of(folder.agency, source.name).database) is not None:
                    name = f"{folder.agency.agency}.{source.name}"
                    address = self.source_address(folder.agency.agency, source.name)
                    identity, subscribers = database.look(address, name=name)
                    captured[identity] = captured[database.at(address)] = name
                    self._refuse_delivered(name, subscribers)
        captured.pop("", None)
        return captured

    def _refuse_delivered(self, source: str, codes: set[str]) -> None:
        known = {**self.directory.subscribers}
        known.update({folder.subscriber.subscriber: folder.subscriber for folder in self.content.subscribers})
        for code in sorted(codes & known.keys()):
            kinds = [(SINKS.get(sink.kind), sink) for sink in known[code].sinks]
            if not any(kind.is_beside_source(sink) for kind, sink in kinds if kind is not None):
                raise Misconfigured(
                    f"source {source}",
                    f"a sink of subscriber {code} delivers into its database",
                    fix=f"give {code} another database; or, where both are to be in one, a schema of its own and the option "
                    "`beside_source: true`",
                )


def _refuse_captured(setup: SinkSetup, databases: Iterable[str], captured: Mapping[str, str]) -> None:
    for known in databases:
        if source := captured.get(known):
            raise Misconfigured(
                setup.label,
                f"its database is that of source {source}: a department's tables are there",
                fix="correct its connection; or, where both are to be in one, give it a schema of its own and the option "
                "`beside_source: true`",
            )


def refuse_shared_places(
    subscribers: Sequence[tuple[Subscriber, Sequence[Grant]]], directory: Directory, address_of: Address, mesh: Path
) -> None:
    """Raises Misconfigured when a sink would write where another one does, or among the mesh's own files.

    `subscribers` are those to come; those of the Directory are known by it.
    """
    codes = {subscriber.subscriber for subscriber, _ in subscribers}
    running = [
        (subscriber, [entry.grant for entry in directory.grants.values() if entry.grant.subscriber == code])
        for code, subscriber in directory.subscribers.items()
        if code not in codes
    ]
    taken: dict[tuple[str, ...], tuple[str, Destination]] = {}
    for end, place in (*_places(running, address_of), *_places(subscribers, address_of)):
        other, first = taken.setdefault(place.where, (end, place))
        if other != end or first.what != place.what:
            raise Misconfigured(
                end,
                f"{place.what} would go where {first.what} of {other} does",
                fix="give one of the two another database, schema, table (option `tables`) or directory",
            )
    directories = [(end, place.directory) for end, place in taken.values() if place.directory is not None]
    for end, path in directories:
        for other, there in directories:
            if other != end and path.is_relative_to(there):
                raise Misconfigured(
                    end, f"its directory lies within that of {other}", fix="give each a directory of its own"
                )
        if (
            path == mesh
            or mesh.is_relative_to(path)
            or (path.is_relative_to(mesh) and path.relative_to(mesh).parts[0] in _OURS)
        ):
            raise Misconfigured(
                end, "its directory is one of the mesh's own", fix="choose a directory outside, or below `drops/`"
            )


_OURS = frozenset({"connections", "kafka", "log", "postgres", "prometheus", "run", "streams", "flows", "opendata"})


def _places(
    subscribers: Sequence[tuple[Subscriber, Sequence[Grant]]], address_of: Address
) -> Iterator[tuple[str, Destination]]:
    for subscriber, grants in subscribers:
        for sink in subscriber.sinks:
            kind = SINKS.get(sink.kind)
            if kind is None:
                continue
            setup = SinkSetup(subscriber=subscriber.subscriber, sink=sink, address_of=address_of)
            with suppress(MeshError):  # told where it is used
                found = list(kind.places(setup, [grant for grant in grants if grant.sink == sink.name]))
                yield from ((setup.label, place) for place in found)
