"""`mesh replay`: deliver a grant again to its subscriber, from a time, a position or the beginning of its `out` topic.

A request stands on `mesh.replays` until delivery has set the target, or its consumer group, back; the lane itself then delivers, in
order, what the topic has from there. A target that keeps rows takes none that is older than what it has; a webhook is called again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from ops.audit.audited_log import AuditedLog
from ops.audit.refused import refusals_told
from ops.kinds.sinks import SINKS
from ops.redelivery.one_key import replay_key
from ops.settings import Settings
from ops.trust.audit import audit
from schemas.agreement.directory import Directory, GrantEntry
from schemas.errors import MeshError, Misconfigured, Rejected
from schemas.feed import REPLAYS, out_topic
from schemas.log.control.follower import read_directory
from schemas.log.control.records import publish
from schemas.log.control.store import ControlStore
from schemas.log.kafka import Kafka
from schemas.log.offsets import bounds, offsets_since, partitions_of
from schemas.log.range import read_range
from schemas.registry.client import RegistryClient
from schemas.wire.envelope_walk import moment_reader
from sinks.kind import is_delivered
from sinks.lane.rewind import Replay

_logger = logging.getLogger(__name__)
LOOK_EVERY_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was asked for: per grant where each partition begins again, and how many records that is at most.

    `cut` are grants whose topics no longer hold everything that was written to them.
    """

    starts: Mapping[str, Mapping[int, int]]
    counts: Mapping[str, int]
    cut: Collection[str]
    is_dry: bool

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "dry_run": self.is_dry,
            "grants": {
                name: {
                    "from": {str(number): offset for number, offset in starts.items()},
                    "records": self.counts[name],
                    "whole": name not in self.cut,
                }
                for name, starts in self.starts.items()
            },
        }

    def lines(self) -> list[str]:
        """For people."""
        verb = "would be" if self.is_dry else "will be"
        told = [f"{name}: up to {count} records {verb} delivered again" for name, count in self.counts.items()]
        return told + [f"{name}: earlier records are no longer in its topic; {_from_feed(name)}" for name in self.cut]


@refusals_told("replay")
def replay(
    settings: Settings,
    names: Collection[str],
    *,
    since: datetime | None,
    position: str | None,
    key: str | None = None,
    dry_run: bool,
) -> Asked:
    """Ask for it; of one key its newest change alone.

    Raises Misconfigured for what is no active grant with a sink of its own, and when nobody was named.
    Also where records from the time or position on may be gone: what is left of them would pass for the whole.
    """
    directory = read_directory(settings.kafka)
    names = grants_of(directory, names)
    starts: dict[str, dict[int, int]] = {}
    counts: dict[str, int] = {}
    topics: dict[str, str] = {}
    cut: list[str] = []
    if key is not None:
        found = {
            name: replay_key(settings, directory, grant_of(directory, name), key, dry_run=dry_run) for name in names
        }
        starts = {name: {at.partition: at.record.offset} for name, at in found.items()}
        return Asked(starts=starts, counts=dict.fromkeys(found, 1), cut=(), is_dry=dry_run)
    for name in names:
        topic = topics[name] = grant_of(directory, name).topic
        numbers = range(partitions_of(settings.kafka, topic))
        ends = {number: bounds(settings.kafka, topic, number) for number in numbers}
        starts[name] = {number: low for number, (low, _) in ends.items()}
        if since is not None:
            later = offsets_since(settings.kafka, topic, numbers, since)
            starts[name] = {number: max(low, min(later[number], high)) for number, (low, high) in ends.items()}
        elif position is not None:
            with closing(RegistryClient(settings.registry)) as registry:
                starts[name] = {
                    n: _position(settings.kafka, topic, n, ends[n], position, registry.schema) for n in numbers
                }
        if any(low > 0 for low, _ in ends.values()):
            cut.append(name)
            if any(starts[name][number] == low > 0 for number, (low, _) in ends.items()) and (since or position):
                problem = "its topic no longer holds every record from there on"
                fix = f"`mesh replay {name}` delivers what is left; {_from_feed(name)}"
                raise Misconfigured(f"grant {name}", problem, fix=fix)
        counts[name] = sum(ends[number][1] - start for number, start in starts[name].items())
    if not dry_run:
        _ask(settings, topics, starts)
    return Asked(starts=starts, counts=counts, cut=cut, is_dry=dry_run)


def _from_feed(name: str) -> str:
    return f"everything comes anew out of the feed by `mesh grant {name} REVOKED`, then `mesh grant {name} ACTIVE`"


def grants_of(directory: Directory, names: Collection[str]) -> list[str]:
    """The grants that are named, or delivered through a sink `<subscriber>.<sink>` that is; unknown names stay as they are."""
    found: dict[str, None] = {}
    for name in names:
        entries = (entry.grant for entry in directory.grants.values())
        through = [grant.grant_id for grant in entries if name == f"{grant.subscriber}.{grant.sink}"]
        now = datetime.now(UTC)
        found |= dict.fromkeys(each for each in through if directory.grants[each].grant.is_active(now))
        found |= {name: None} if not through or name in directory.grants else {}
    return list(found)


def grant_of(directory: Directory, name: str) -> GrantEntry:
    """The active grant of this name whose subscriber has a sink that the mesh delivers to. Raises Misconfigured."""
    entry = directory.grants.get(name)
    if entry is None:
        raise Misconfigured(f"grant {name}", "does not exist", fix="`mesh status` lists the grants")
    if not entry.grant.is_active(datetime.now(UTC)) or name not in directory.trusted().grants:
        raise Misconfigured(
            f"grant {name}", "is over or suspended: nothing may be delivered by it", fix=f"`mesh grant {name} ACTIVE`"
        )
    subscriber = directory.subscribers.get(entry.grant.subscriber)
    sink = subscriber.sink(entry.grant.sink) if subscriber else None
    if not is_delivered(sink, SINKS):
        raise Misconfigured(f"grant {name}", "is read by its subscriber itself", fix="let the subscriber read it again")
    return entry


def _position(kafka: Kafka, topic: str, partition: int, ends: tuple[int, int], position: str, schema_of: Any) -> int:
    """The first offset whose change is at or after the position in its source."""
    wanted, readers = position.encode(), {}
    for batch in read_range(kafka, topic, partition, *ends):
        for record in batch.records:
            value = record.value
            if value is None:
                continue
            schema_id = int.from_bytes(value[1:5], "big")
            try:
                read = readers.get(schema_id) or readers.setdefault(schema_id, moment_reader(schema_of(schema_id)))
                if read(value).token >= wanted:
                    return record.offset
            except Rejected:
                continue
    return ends[1]


def _ask(settings: Settings, topics: Mapping[str, str], starts: Mapping[str, Mapping[int, int]]) -> None:
    with closing(AuditedLog(settings.kafka, client_id="mesh-replay")) as log:
        for name, offsets in starts.items():
            told = {str(number): offset for number, offset in offsets.items()}
            record = {"request_id": str(uuid4()), "grant_id": name, "topic": topics[name], "starts": told}
            publish(log.append, REPLAYS, name, record)
            audit(log.append, "replay", name, starts=told)
        log.flush(30)


class ReplayRequests:
    """The requests on `mesh.replays`, for delivery: looked for every two seconds, by a thread of its own.

    `told` is given the grant of each that has begun.
    """

    def __init__(self, store: ControlStore, told: Callable[[str], None] = lambda _: None) -> None:
        self._store = store
        self._told = told
        self._pending: tuple[Replay, ...] = ()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="replays", daemon=True)
        self._thread.start()

    def pending(self) -> Collection[Replay]:
        """See sinks.lane.rewind.Replays."""
        return self._pending

    def begun(self, replay: Replay) -> None:
        """See sinks.lane.rewind.Replays."""
        record = self._store.load(replay.grant_id)
        if record is not None and record["request_id"] == replay.request_id:
            self._store.save(replay.grant_id, None)
            self._told(replay.grant_id)

    def close(self) -> None:
        """Look no more."""
        self._stop.set()
        self._thread.join(5)

    def _follow(self) -> None:
        while not self._stop.is_set():
            try:
                self._pending = tuple(map(_replay, self._store.all().values()))
            except MeshError as error:
                _logger.warning("replays: looked for later: %s", error)
            self._stop.wait(LOOK_EVERY_SECONDS)


def _replay(record: Mapping[str, Any]) -> Replay:
    return Replay(
        request_id=record["request_id"],
        grant_id=record["grant_id"],
        topic=record.get("topic", out_topic(record["grant_id"])),
        starts={int(number): offset for number, offset in record["starts"].items()},
    )


def moment(text: str) -> datetime:
    """A time that a person gave; without a zone it is that of Shanghai. Raises Misconfigured."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise Misconfigured(f"--since {text}", "is no time", fix="write it as 2026-11-28T08:00") from None
    return when if when.tzinfo else datetime.fromisoformat(f"{when.isoformat()}+08:00")
