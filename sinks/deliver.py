"""Delivery: hop 3. Keeps one lane per subscriber and sink, as the directory of grants says, while it runs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from schemas.agreement.directory import Directory
from schemas.agreement.ending import Ending
from schemas.agreement.subscriber import SinkConfig
from schemas.dead_letter import DeadLetter
from schemas.errors import Misconfigured
from schemas.gathering import Gathering
from schemas.guard.guard import Guard
from schemas.incident import Incidents, MemoryIncidents
from schemas.log.kafka import Kafka
from schemas.log.reader import NoReaderLedger, ReaderLedger
from schemas.wire.schema import SchemaOf
from sinks.addresses import Addresses
from sinks.ending import Acknowledge, Endings
from sinks.kind import SinkKind
from sinks.lane.lane import DeliveryLane
from sinks.lane.report import DeliveryObserver, LaneReport
from sinks.lane.rewind import Replays, Rewinds
from sinks.lane.setup import LaneConfig, LaneSetup
from sinks.lane.standstill import MemoryStandstills, Standstill, Standstills, name_of
from sinks.network import Network
from sinks.sink import AddressOf, Refused, SinkSetup, tell_nobody
from sinks.wanted import LaneKey, held_topics, past_endings, wanted_endings, wanted_lanes

logger = logging.getLogger(__name__)

LOOK_EVERY_SECONDS = 0.2
EXPIRY_EVERY_SECONDS = 1.0
STOP_WITHIN_SECONDS = 8.0
GATHERING = Gathering(least_seconds=0.002)
"""Many lanes of a process together write about 250 times a second: a transaction of one row costs the subscriber as
much as one of a hundred."""


def _keep_no_record(_ending: Ending, _removed: int | None) -> None:
    """For a delivery that runs by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkSources:
    """What the sinks of all subscribers are built from: kinds by their word, secrets, schemas, and what webhooks may call.

    `address_of` and `schema_of` are called from every lane's thread.
    """

    kinds: Mapping[str, SinkKind]
    address_of: AddressOf
    schema_of: SchemaOf
    networks: Sequence[Network] = ()
    refused: Refused = tell_nobody
    guard: Guard | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryPorts:
    """What delivery tells the rest of the mesh, and asks of it; called from every lane's thread.

    `dead_letter`, and `acknowledge`, which keeps that an end was applied, return once that is durable and raise Transient
    otherwise.
    """

    dead_letter: Callable[[DeadLetter], None]
    observer: DeliveryObserver
    acknowledge: Acknowledge = _keep_no_record
    incidents: Incidents = field(default_factory=MemoryIncidents)
    standstills: Standstills = field(default_factory=MemoryStandstills)
    replays: Replays | None = None
    ledger: ReaderLedger = field(default_factory=NoReaderLedger)


class Delivery:
    """Delivers every active grant through its subscriber's sink, and takes back what those delivered that are over.

    `directory` returns the present Directory; another object is news, taken up within a fraction of a second. `present` asks the
    broker for the Directory as it is at this moment, and raises Transient. `now` gives Unix seconds.
    """

    def __init__(
        self,
        *,
        directory: Callable[[], Directory],
        kafka: Kafka,
        sinks: SinkSources,
        ports: DeliveryPorts,
        present: Callable[[], Directory] | None = None,
        config: LaneConfig | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._directory = directory
        self._present = present or directory
        self._kafka = kafka
        self._sinks = sinks
        self._ports = ports
        self._config = config or LaneConfig()
        self._now = now
        self._addresses: dict[LaneKey, Addresses] = {}
        self._asked: set[str] = set()
        self._rewinds: dict[LaneKey, Rewinds] = {}
        self._lanes: dict[LaneKey, DeliveryLane] = {}
        self._ending: dict[LaneKey, DeliveryLane] = {}
        self._unknown: set[tuple[LaneKey, str]] = set()

    def run(self, stop: threading.Event) -> None:
        """Deliver until `stop` is set; return once every lane has confirmed what is durable."""
        seen: Directory | None = None
        looked_at = 0.0
        try:
            while not stop.is_set():
                directory = self._directory()
                # Also without news: a grant may begin or end by the clock alone.
                if directory is not seen or time.monotonic() - looked_at >= EXPIRY_EVERY_SECONDS:
                    seen, looked_at = directory, time.monotonic()
                    self._settle(directory)
                stop.wait(LOOK_EVERY_SECONDS)
        finally:
            self._stop_lanes(list(self._lanes))
            until = time.monotonic() + STOP_WITHIN_SECONDS
            for lane in self._ending.values():
                if not lane.join(max(0.0, until - time.monotonic())):
                    logger.warning("%s: still busy with its target; nothing unfinished is confirmed", lane.group)

    def pause_seconds(self) -> float:
        """How long a lane lets records gather, by how many share this process."""
        return GATHERING.seconds(len(self._lanes))

    def _take_replays(self, directory: Directory) -> None:
        """A lane that has to go back begins anew: what it had under way is confirmed or comes again anyway."""
        for replay in self._ports.replays.pending() if self._ports.replays else ():
            entry = directory.grants.get(replay.grant_id)
            if entry is None or replay.topic != entry.topic or replay.request_id in self._asked:
                continue
            key = (entry.grant.subscriber, entry.grant.sink)
            self._asked.add(replay.request_id)
            self._rewinds_of(key).add(entry.topic, replay)
            logger.info("sub.%s.%s: %s is delivered again, as asked", *key, replay.grant_id)
            if key in self._lanes:
                self._stop_lanes([key])

    def _rewinds_of(self, key: LaneKey) -> Rewinds:
        replays = self._ports.replays
        return self._rewinds.setdefault(key, Rewinds(replays.begun if replays else lambda _replay: None))

    def _settle(self, directory: Directory) -> None:
        self._take_replays(directory)
        now = datetime.fromtimestamp(self._now(), UTC)
        wanted, endings = (
            wanted_lanes(directory, now, self._sinks.kinds),
            wanted_endings(directory, now, self._sinks.kinds),
        )
        past = past_endings(directory, now)
        schemas = {entry.topic: entry.value_schema_id for entry in directory.grants.values()}
        for key, (sink, _) in endings.items():
            wanted.setdefault(key, (sink, {}))
        changed = [
            key
            for key, lane in self._lanes.items()
            if key not in wanted
            or lane.setup.sink.sink != wanted[key][0]
            or self._addresses[key].are_given_anew()
            # It was there for ends alone, and what it said of itself is gone with its grants: it begins, and says it, anew.
            or (wanted[key][1] and not lane.grants)
        ]
        for key in changed:
            if key not in wanted:  # every grant was taken from it: whoever gives one again resumes it
                self._ports.standstills.forget(name_of(*key))
        self._stop_lanes(changed)
        self._ending = {key: lane for key, lane in self._ending.items() if not lane.join(0)}
        for key, (sink, topics) in wanted.items():
            if key in self._ending:
                continue  # its successor waits for it, and nobody else waits (invariant 8)
            due = endings[key][1] if key in endings else ()
            lane = self._lanes.get(key) or self._begin(key, sink)
            if lane is not None:
                held = held_topics(directory, topics, lane.setup.policy, now)
                lane.follow(topics, due, schemas, past.get(key, ()), held)
                for topic, grant_id in topics.items():
                    self._ports.observer.paused(grant_id=grant_id, by=held.get(topic, ""))
                if not lane.is_started:
                    lane.start()
                    logger.info("%s: delivers %d grants by %s", lane.group, len(topics), sink.kind)

    def _begin(self, key: LaneKey, sink: SinkConfig) -> DeliveryLane | None:
        kind = self._sinks.kinds.get(sink.kind)
        if kind is None:
            self._refuse(key, f"unknown sink kind {sink.kind}", f"use one of: {', '.join(sorted(self._sinks.kinds))}")
            return None
        try:
            policy = sink.policy(key[0])
        except Misconfigured as error:
            self._refuse(key, error.problem, error.fix)
            return None
        addresses = self._addresses[key] = Addresses(self._sinks.address_of)
        setup = SinkSetup(
            subscriber=key[0],
            sink=sink,
            address_of=addresses,
            schema_of=self._sinks.schema_of,
            networks=self._sinks.networks,
            present_schema=self._present_schema,
            kafka=self._kafka,
            granted=partial(self._granted, key),
            refused=self._sinks.refused,
            guard=self._sinks.guard,
        )
        lane_setup = LaneSetup(
            sink=setup,
            kind=kind,
            kafka=self._kafka,
            dead_letter=self._ports.dead_letter,
            config=self._config,
            now=self._now,
            pause_seconds=self.pause_seconds,
            ledger=self._ports.ledger,
            policy=policy,
        )
        lane = self._lanes[key] = DeliveryLane(
            lane_setup,
            report=LaneReport(setup, self._ports.observer, self._ports.incidents, self._now),
            rewinds=self._rewinds_of(key),
            endings=Endings(self._sinks.schema_of, self._ports.acknowledge, self._ports.incidents),
            standstill=Standstill(self._ports.standstills, key[0], sink, addresses.given),
        )
        return lane

    def _refuse(self, key: LaneKey, reason: str, fix: str) -> None:
        """Say once that nothing can be delivered through a sink as it is written."""
        if (key, reason) not in self._unknown:
            self._unknown.add((key, reason))
            logger.error("sub.%s.%s: parked: %s; %s", *key, reason, fix)
            self._ports.observer.parked(subscriber=key[0], sink=key[1], is_parked=True)
            self._ports.incidents.begin("sink", ".".join(key), state="stopped", reason=reason, fix=fix)

    def _granted(self, key: LaneKey) -> Mapping[str, str]:
        lane = self._lanes.get(key)
        return lane.open_grants if lane else {}

    def _present_schema(self, topic: str) -> int | None:
        grants = self._present().grants.values()
        return next((entry.value_schema_id for entry in grants if entry.topic == topic), None)

    def _stop_lanes(self, keys: Sequence[LaneKey]) -> None:
        for key in keys:
            lane = self._ending[key] = self._lanes.pop(key)
            lane.stop()
            lane.follow({})  # nothing more is read, even if the lane takes a while to end
