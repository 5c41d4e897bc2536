"""Running: what a folder may not take, or leave out, in the mesh that it is to change."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from ops.lint.name import Names
from ops.settings import Side
from schemas.agreement.agency import Agency
from schemas.agreement.directory import Directory
from schemas.agreement.offboarding import Kind
from schemas.agreement.subscriber import Subscriber


class Objection(NamedTuple):
    """What stands against a name; `field` is whose place it is said at."""

    field: str
    message: str
    fix: str


class Running:
    """The ends that a directory knows, and those of the folder as they are asked about."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._names = Names(directory)

    def never_again(self, kind: Kind, name: str) -> Iterator[Objection]:
        """A name that was offboarded is never used again."""
        if left := self._directory.left(kind, name):
            text = f"{kind} {name} was offboarded on {left.at:%Y-%m-%d}, and names are never used again"
            fix = (
                "name the file otherwise; the table's own name goes to gov.table"
                if kind == "feed"
                else "choose another"
            )
            yield Objection(name, text, fix)

    def name_alone(self, side: Side, owner: str, name: str) -> Iterator[Objection]:
        """Two ends whose names become one; this end has the name from now on."""
        if other := self._names.other(side, owner, name):
            text = (
                f"{owner}.{name} and {other} would have one name in the environment, and one slot if they are sources"
            )
            yield Objection(name, text, "give one of the two another code or name")

    def sources_left_out(self, agency: Agency) -> Iterator[Objection]:
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
            yield Objection(source, text, fix)

    def sinks_left_out(self, subscriber: Subscriber, told: Collection[str]) -> Iterator[Objection]:
        """A sink that is left out would end the delivery of its grants without a word; `told` are grants that say so."""
        given = {sink.name for sink in subscriber.sinks}
        for grant_id, entry in self._directory.grants.items():
            grant = entry.grant
            if grant.subscriber == subscriber.subscriber and grant.sink not in given and grant_id not in told:
                text = f"sink {grant.subscriber}.{grant.sink} is left out, and grant {grant_id} is delivered to it"
                fix = f"put it back, give the grant another sink, or end it with `mesh grant {grant_id} REVOKED`"
                yield Objection(f"{grant.subscriber}.{grant.sink}", text, fix)
