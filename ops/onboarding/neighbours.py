"""Neighbours: what two ends of the mesh would share and must not: a database, a table, a directory. And whether each can be used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ops.lint.folder import Folder
from producers.postgresql import neighbour as postgres_neighbour
from schemas.agreement.directory import Directory
from schemas.agreement.grant import Grant
from schemas.agreement.subscriber import Subscriber
from schemas.errors import MeshError, Misconfigured, Transient
from schemas.wire.codec import SchemaOf
from sinks.postgresql.address import database_at
from sinks.postgresql.neighbour import identity_of
from sinks.postgresql.options import PostgresOptions
from sinks.sink import SinkKind, SinkSetup

Address = Callable[[str, str], str]
"""The address of one end by owner and name. Raises MeshError where nobody knows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """All ends that an onboarding touches, looked at before any of it is done. `kinds` try a sink."""

    content: Folder
    directory: Directory
    source_address: Address
    sink_address: Address
    schema_of: SchemaOf
    mesh: Path
    kinds: Mapping[str, SinkKind]

    def examine(self) -> list[str]:
        """Try every sink, and see that no two ends meet; what is worth a notice. Raises Misconfigured for the rest."""
        subscribers = [(folder.subscriber, folder.grants) for folder in self.content.subscribers]
        refuse_shared_places(subscribers, self.directory, self.sink_address, self.mesh)
        captured = self._captured()
        notices: list[str] = []
        for subscriber, _ in subscribers:
            for sink in subscriber.sinks:
                kind = self.kinds.get(sink.kind)
                if kind is None or kind.trial is None:
                    continue
                setup = SinkSetup(
                    subscriber=subscriber.subscriber, sink=sink, address_of=self.sink_address, schema_of=self.schema_of
                )
                try:
                    if sink.kind == "postgres" and not setup.options(PostgresOptions).beside_source:
                        self._refuse_captured(setup, captured)
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
                if source.kind == "postgres":
                    with suppress(MeshError):
                        address = self.source_address(agency.agency, source.name)
                        captured[str(database_at(address))] = f"{agency.agency}.{source.name}"
        for folder in self.content.agencies:
            for source in folder.agency.sources:
                if source.kind == "postgres":
                    name = f"{folder.agency.agency}.{source.name}"
                    address = self.source_address(folder.agency.agency, source.name)
                    identity, subscribers = postgres_neighbour.look(address, name=name)
                    captured[identity] = captured[str(database_at(address))] = name
                    self._refuse_delivered(name, subscribers)
        captured.pop("", None)
        return captured

    def _refuse_delivered(self, source: str, codes: set[str]) -> None:
        known = {**self.directory.subscribers}
        known.update({folder.subscriber.subscriber: folder.subscriber for folder in self.content.subscribers})
        for code in sorted(codes & known.keys()):
            sinks = [sink for sink in known[code].sinks if sink.kind == "postgres"]
            if not any(sink.options.get("beside_source") is True for sink in sinks):
                raise Misconfigured(
                    f"source {source}",
                    f"a sink of subscriber {code} delivers into its database",
                    fix=f"give {code} another database; or, where both are to be in one, a schema of its own and the option "
                    "`beside_source: true`",
                )

    def _refuse_captured(self, setup: SinkSetup, captured: Mapping[str, str]) -> None:
        address = setup.secret(setup.options(PostgresOptions).address, setup.sink.name)
        for known in (str(database_at(address)), identity_of(address, setup.subscriber)):
            if source := captured.get(known):
                raise Misconfigured(
                    setup.label,
                    f"its database is that of source {source}: a department's tables are there",
                    fix="correct its connection; or, where both are to be in one, give it a schema of its own and the option "
                    "`beside_source: true`",
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where one grant's rows, or one sink's files, would go."""

    end: str
    what: str
    where: tuple[str, ...]


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
    taken: dict[tuple[str, ...], _Place] = {}
    for place in (*_places(running, address_of), *_places(subscribers, address_of)):
        other = taken.setdefault(place.where, place)
        if other.end != place.end or other.what != place.what:
            raise Misconfigured(
                place.end,
                f"{place.what} would go where {other.what} of {other.end} does",
                fix="give one of the two another database, schema, table (option `tables`) or directory",
            )
    directories = [place for place in taken.values() if place.where[0] == "files"]
    for place in directories:
        path = Path(place.where[1])
        for other in directories:
            if other.end != place.end and path.is_relative_to(other.where[1]):
                raise Misconfigured(
                    place.end, f"its directory lies within that of {other.end}", fix="give each a directory of its own"
                )
        if (
            path == mesh
            or mesh.is_relative_to(path)
            or (path.is_relative_to(mesh) and path.relative_to(mesh).parts[0] in _OURS)
        ):
            raise Misconfigured(
                place.end, "its directory is one of the mesh's own", fix="choose a directory outside, or below `drops/`"
            )


_OURS = frozenset({"connections", "kafka", "log", "postgres", "prometheus", "run", "streams", "flows", "opendata"})


def _places(subscribers: Sequence[tuple[Subscriber, Sequence[Grant]]], address_of: Address) -> Iterator[_Place]:
    for subscriber, grants in subscribers:
        for sink in subscriber.sinks:
            if sink.kind not in {"postgres", "files"}:
                continue
            end = f"sink {subscriber.subscriber}.{sink.name}"
            try:
                address = address_of(
                    subscriber.subscriber,
                    str(sink.options.get("address" if sink.kind == "postgres" else "path") or sink.name),
                )
                database = database_at(address) if sink.kind == "postgres" else ()
            except MeshError:
                continue  # told where it is used
            if sink.kind == "files":
                yield _Place(end=end, what="its directory", where=("files", str(Path(address).resolve())))
                continue
            tables: Mapping[str, str] = sink.options.get("tables") or {}
            schema = str(sink.options.get("schema", "public"))
            for grant in grants:
                if grant.sink == sink.name:
                    name = grant.delivered_as
                    table = tables.get(name, name.replace(".", "_"))
                    yield _Place(end=end, what=f"table {table}", where=("postgres", *database, schema, table))
