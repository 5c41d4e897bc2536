"""Items: what stands on the queues of the flows, and what was decided of it, read from the broker as of now.

An item's id may hold a person's number, and so may the key of its subject: an item is named by a keyed hash of both instead
(ops/trust/subject_key.py), and neither is told but to who asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from ops.known_names import did_you_mean
from ops.settings import Connections, Settings
from ops.trust.subject_key import SubjectKey
from schemas.agreement.directory import Directory
from schemas.decision import UNDO, Decision
from schemas.errors import Misconfigured
from schemas.feed import DECISIONS
from schemas.log.control.follower import read_directory
from schemas.log.control.store import ControlReader
from schemas.log.offsets import bounds_of
from schemas.log.range import read_ranges
from schemas.log.topics import ensure_control_topics
from schemas.registry.client import RegistryClient
from schemas.wire.codec import Codec
from streams.engine.derived import BASIS, SUBJECT
from streams.flows import FLOWS
from streams.operators.decided import LAPSED, OPEN, may_be_decided
from streams.operators.flow import Flow, Row

NAME_DIGITS = 12
"""Of an item's name, as they are shown; the first so many may be written instead, down to LEAST_DIGITS."""
LEAST_DIGITS = 6
WAITS, HELD, REOPENED, UNDER_WAY, SETTLED = "open", "held", "open again", "under way", "settled"
STATES = (WAITS, HELD, REOPENED, UNDER_WAY, SETTLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One item of a flow's queue. `basis` and `subject` are empty where an earlier version of the flows wrote it."""

    name: str
    flow: Flow
    subject: str = field(repr=False)
    basis: str
    row: Row = field(repr=False)
    decision: Decision | None = None

    @property
    def cause(self) -> str:
        """Why it is there: its kind, a code."""
        return self.row["kind"]

    @property
    def state(self) -> str:
        """One of STATES. What was decided and the flow has not taken yet is under way."""
        said = self.row["decision"]
        if self.decision is not None and self.decision.outcome != UNDO:
            is_taken = said is not None and said.endswith(self.decision.says) and not said.startswith(LAPSED)
            if self.decision.basis == self.basis and not is_taken:
                return UNDER_WAY
        elif said is not None:
            return UNDER_WAY
        if self.row["state"] != OPEN:
            return SETTLED
        if said is None:
            return WAITS
        return HELD if self.decision is not None and said == self.decision.says else REOPENED

    @property
    def outcomes(self) -> tuple[str, ...]:
        """What may be decided of it."""
        return may_be_decided(self.flow, self.subject, self.row) if self.subject else ()

    @property
    def feeds(self) -> list[str]:
        """The feeds of the rows that it cites, in their order."""
        return list(dict.fromkeys(claim["feed"] for claim in self.row["claims"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Queues:
    """All items of the mesh by name; and by the same names what was decided of items that are there no more."""

    items: Mapping[str, Item]
    gone: Mapping[str, Decision]
    directory: Directory

    def chosen(self, flow: str = "", cause: str = "", subject: str = "") -> list[Item]:
        """The items of a flow, a cause and a subject, where these are given. Raises Misconfigured where a name is none."""
        check_flow(flow)
        found = [item for item in self.items.values() if flow in {"", item.flow.name}]
        causes = {item.cause for item in found}
        if cause and cause not in causes:
            fix = did_you_mean(cause, causes, "`mesh queue list` shows the causes")
            raise Misconfigured(f"cause {cause}", "has no item now", fix=fix)
        return [
            item
            for item in found
            if cause in {"", item.cause} and (not subject or subject in {item.subject, *item.row["subject_keys"]})
        ]

    def name_of(self, given: str) -> str:
        """The whole name that begins so. Raises Misconfigured for none, and for several."""
        if given in self.items or given in self.gone:
            return given
        names = {*self.items, *self.gone}
        found = [name for name in names if name.startswith(given)] if len(given) >= LEAST_DIGITS else []
        if len(found) == 1:
            return found[0]
        problem = "is the beginning of several items' names" if found else "is no item"
        fix = "write more of it" if found else "`mesh queue list --cause <cause>` lists the names of items"
        raise Misconfigured(f"item {given}", problem, fix=fix)

    def item(self, given: str) -> Item:
        """The item whose name begins so. Raises Misconfigured, also for one that went meanwhile."""
        name = self.name_of(given)
        if name not in self.items:
            fix = f"nothing is to be decided; what was decided of it has no effect, and `mesh queue undo {given}` takes it back"
            raise Misconfigured(f"item {given}", "is there no more: what it was about has settled itself", fix=fix)
        return self.items[name]


def check_flow(flow: str) -> None:
    """Raises Misconfigured for the name of a flow that is none."""
    names = [each.name for each in FLOWS]
    if flow and flow not in names:
        raise Misconfigured(f"flow {flow}", "does not exist", fix=did_you_mean(flow, names))


def queues(settings: Settings, flow: str = "") -> Queues:
    """Everything as of now, or what is of one flow. Raises Transient, and Misconfigured for a flow that is none."""
    check_flow(flow)
    ensure_control_topics(settings.kafka)
    directory = read_directory(settings.kafka)
    key = SubjectKey(Connections(settings.directory))
    records = ControlReader(settings.kafka, DECISIONS).all()
    made = {
        key.hash(each.flow, each.item): each
        for each in map(Decision.from_json, records.values())
        if flow in {"", each.flow}
    }
    items: dict[str, Item] = {}
    for of, subject, basis, row in _standing(settings, directory, flow):
        name = key.hash(of.name, row["conflict_id"])
        items[name] = Item(name=name, flow=of, subject=subject, basis=basis, row=row, decision=made.get(name))
    gone = {name: each for name, each in made.items() if name not in items and each.outcome != UNDO}
    return Queues(items=items, gone=gone, directory=directory)


def _standing(settings: Settings, directory: Directory, only: str) -> Iterator[tuple[Flow, str, str, Row]]:
    """The rows that stand on each queue: of every key the last record, with what its headers say."""
    with closing(RegistryClient(settings.registry)) as registry:
        codec = Codec(registry.schema)
        flows = {flow.queue: flow for flow in FLOWS if flow.queue in directory.feeds and only in {"", flow.name}}
        places = [(feed, number) for feed in flows for number in range(directory.feeds[feed].partitions)]
        newest: dict[tuple[str, bytes], tuple[bytes | None, Any]] = {}
        for batch in read_ranges(settings.kafka, bounds_of(settings.kafka, places)):
            newest |= {(batch.topic, record.key or b""): (record.value, record.headers) for record in batch.records}
        for (feed, _), (value, headers) in newest.items():
            row = codec.decode(value)["after"] if value is not None else None
            if row is not None:
                yield flows[feed], *told_of(headers), row


def told_of(headers: Any) -> tuple[str, str]:
    """What the headers of an item's record say: its subject, and what it stands on; empty where they say nothing."""
    said = {name: text.decode() for name, text in headers or ()}
    return said.get(SUBJECT, ""), said.get(BASIS, "")
