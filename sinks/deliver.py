"""Delivery: hop 3. Keeps one lane per subscriber and sink, as the directory of grants says, while it runs."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

from schemas.agreement.directory import Directory
from schemas.agreement.ending import Ending
from schemas.agreement.grant import AtEnd
from schemas.agreement.subscriber import SinkConfig
from schemas.dead_letter import DeadLetter
from schemas.incident import Incidents, MemoryIncidents
from schemas.log.kafka import Kafka
from schemas.wire.schema import SchemaOf
from sinks.addresses import Addresses
from sinks.ending import Acknowledge, Endings
from sinks.kind import SinkKind, is_delivered
from sinks.lane.lane import DeliveryLane
from sinks.lane.report import DeliveryObserver, LaneReport
from sinks.lane.retry import RetryPolicy
from sinks.lane.rewind import Replays, Rewinds
from sinks.lane.standstill import MemoryStandstills, Standstill, Standstills, name_of
from sinks.network import Network
from sinks.sink import AddressOf, SinkSetup

logger = logging.getLogger(__name__)

LOOK_EVERY_SECONDS = 0.2
EXPIRY_EVERY_SECONDS = 1.0
STOP_WITHIN_SECONDS = 8.0
PAUSE_PER_LANE_SECONDS = 0.002
PAUSE_MOST_SECONDS = 0.03
"""All lanes of a process together write about five hundred times a second: a transaction of one row costs the subscriber as
much as one of a hundred."""

LaneKey = tuple[str, str]
"""Subscriber and the name of its sink."""


def _keep_no_record(_ending: Ending, _removed: int | None) -> None:
    """For a delivery that runs by itself."""


def wanted_endings(
    directory: Directory, now: datetime, kinds: Mapping[str, SinkKind]
) -> dict[LaneKey, tuple[SinkConfig, list[Ending]]]:
    """Per lane its sink and the ends that it has to apply (invariant 11)."""
    lanes: dict[LaneKey, tuple[SinkConfig, list[Ending]]] = {}
    for ending in directory.endings_due(now):
        subscriber = directory.subscribers.get(ending.subscriber)
        sink = subscriber.sink(ending.sink) if subscriber else None
        if sink is not None and is_delivered(sink, kinds):
            lanes.setdefault((ending.subscriber, ending.sink), (sink, []))[1].append(ending)
    return lanes


def past_endings(directory: Directory, now: datetime) -> dict[LaneKey, list[Ending]]:
    """Per lane the confirmed ends whose rows must not come back, but for those that a later edition delivers there anew."""
    active = {(each.grant.grant_id, each.grant.sink) for each in directory.grants.values() if each.grant.is_active(now)}
    lanes: dict[LaneKey, list[Ending]] = {}
    for ending in directory.endings.values():
        is_removed = ending.acknowledged_at is not None and ending.at_end is AtEnd.REMOVE
        if is_removed and (ending.grant_id, ending.sink) not in active:
            lanes.setdefault((ending.subscriber, ending.sink), []).append(ending)
    return lanes


def wanted_lanes(
    directory: Directory, now: datetime, kinds: Mapping[str, SinkKind]
) -> dict[LaneKey, tuple[SinkConfig, dict[str, str]]]:
    """Per lane its sink and its topics with their grant ids: only active grants of known subscribers (invariant 6)."""
    lanes: dict[LaneKey, tuple[SinkConfig, dict[str, str]]] = {}
    for entry in directory.grants.values():
        grant = entry.grant
        subscriber = directory.subscribers.get(grant.subscriber)
        sink = subscriber.sink(grant.sink) if subscriber else None
        if sink is not None and is_delivered(sink, kinds) and grant.is_active(now):
            _, topics = lanes.setdefault((grant.subscriber, grant.sink), (sink, {}))
            topics[entry.topic] = grant.grant_id
    return lanes


class Delivery:
    """Delivers every active grant through its subscriber's sink, and takes back what those delivered that are over.

    `directory` returns the present Directory; another object is news, taken up within a fraction of a second. `schema_of`,
    `address_of`, `dead_letter`, `acknowledge` and the observer are called from every lane's thread. `dead_letter`, and
    `acknowledge`, which keeps that an end was applied, return once that is durable and raise Transient otherwise. `now` gives
    Unix seconds, `jitter` spreads a wait of so many seconds. `present` asks the broker for the Directory as it is at this moment,
    and raises Transient.
    """

    def __init__(
        self,
        *,
        directory: Callable[[], Directory],
        address_of: AddressOf,
        schema_of: SchemaOf,
        dead_letter: Callable[[DeadLetter], None],
        observer: DeliveryObserver,
        kafka: Kafka,
        kinds: Mapping[str, SinkKind],
        now: Callable[[], float] = time.time,
        jitter: Callable[[float], float] = lambda seconds: seconds * random.uniform(0.75, 1.25),  # noqa: S311
        retry_policy: RetryPolicy | None = None,
        reader_settings: Mapping[str, str] | None = None,
        incidents: Incidents | None = None,
        networks: Sequence[Network] = (),
        replays: Replays | None = None,
        acknowledge: Acknowledge = _keep_no_record,
        standstills: Standstills | None = None,
        present: Callable[[], Directory] | None = None,
    ) -> None:
        self._directory = directory
        self._present = present or directory
        self._address_of = address_of
        self._schema_of = schema_of
        self._dead_letter = dead_letter
        self._observer = observer
        self._kafka = kafka
        self._kinds = kinds
        self._now = now
        self._jitter = jitter
        self._retry_policy = retry_policy or RetryPolicy()
        self._reader_settings = dict(reader_settings or {})
        self._incidents: Incidents = incidents or MemoryIncidents()
        self._networks = networks
        self._addresses: dict[LaneKey, Addresses] = {}
        self._replays = replays
        self._asked: set[str] = set()
        self._rewinds: dict[LaneKey, Rewinds] = {}
        self._acknowledge = acknowledge
        self._standstills: Standstills = standstills or MemoryStandstills()
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
        return min(PAUSE_PER_LANE_SECONDS * len(self._lanes), PAUSE_MOST_SECONDS)

    def _take_replays(self, directory: Directory) -> None:
        """A lane that has to go back begins anew: what it had under way is confirmed or comes again anyway."""
        for replay in self._replays.pending() if self._replays else ():
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
        return self._rewinds.setdefault(key, Rewinds(self._replays.begun if self._replays else lambda _replay: None))

    def _settle(self, directory: Directory) -> None:
        self._take_replays(directory)
        now = datetime.fromtimestamp(self._now(), UTC)
        wanted, endings = wanted_lanes(directory, now, self._kinds), wanted_endings(directory, now, self._kinds)
        past = past_endings(directory, now)
        schemas = {entry.topic: entry.value_schema_id for entry in directory.grants.values()}
        for key, (sink, _) in endings.items():
            wanted.setdefault(key, (sink, {}))
        changed = [
            key
            for key, lane in self._lanes.items()
            if key not in wanted
            or lane.setup.sink != wanted[key][0]
            or self._addresses[key].are_given_anew()
            # It was there for ends alone, and what it said of itself is gone with its grants: it begins, and says it, anew.
            or (wanted[key][1] and not lane.grants)
        ]
        for key in changed:
            if key not in wanted:  # every grant was taken from it: whoever gives one again resumes it
                self._standstills.forget(name_of(*key))
        self._stop_lanes(changed)
        self._ending = {key: lane for key, lane in self._ending.items() if not lane.join(0)}
        for key, (sink, topics) in wanted.items():
            if key in self._ending:
                continue  # its successor waits for it, and nobody else waits (invariant 8)
            due = endings[key][1] if key in endings else ()
            lane = self._lanes.get(key) or self._begin(key, sink)
            if lane is not None:
                lane.follow(topics, due, schemas, past.get(key, ()))
                if not lane.is_started:
                    lane.start()
                    logger.info("%s: delivers %d grants by %s", lane.group, len(topics), sink.kind)

    def _begin(self, key: LaneKey, sink: SinkConfig) -> DeliveryLane | None:
        kind = self._kinds.get(sink.kind)
        if kind is None:
            if (key, sink.kind) not in self._unknown:
                self._unknown.add((key, sink.kind))
                known = ", ".join(sorted(self._kinds))
                logger.error("sub.%s.%s: parked: unknown sink kind %s; use one of: %s", *key, sink.kind, known)
                self._observer.parked(subscriber=key[0], sink=key[1], is_parked=True)
                reason = f"unknown sink kind {sink.kind}"
                self._incidents.begin("sink", ".".join(key), state="stopped", reason=reason, fix=f"use one of: {known}")
            return None
        addresses = self._addresses[key] = Addresses(self._address_of)
        setup = SinkSetup(
            subscriber=key[0],
            sink=sink,
            address_of=addresses,
            schema_of=self._schema_of,
            networks=self._networks,
            present_schema=self._present_schema,
            kafka=self._kafka,
            granted=partial(self._granted, key),
        )
        lane = self._lanes[key] = DeliveryLane(
            setup=setup,
            kind=kind,
            kafka=self._kafka,
            dead_letter=self._dead_letter,
            report=LaneReport(setup, self._observer, self._incidents, self._now),
            now=self._now,
            jitter=self._jitter,
            retry_policy=self._retry_policy,
            pause_seconds=self.pause_seconds,
            reader_settings=self._reader_settings,
            rewinds=self._rewinds_of(key),
            endings=Endings(self._schema_of, self._acknowledge, self._incidents),
            standstill=Standstill(self._standstills, key[0], sink, addresses.given),
        )
        return lane

    def _granted(self, key: LaneKey) -> Mapping[str, str]:
        lane = self._lanes.get(key)
        return lane.grants if lane else {}

    def _present_schema(self, topic: str) -> int | None:
        grants = self._present().grants.values()
        return next((entry.value_schema_id for entry in grants if entry.topic == topic), None)

    def _stop_lanes(self, keys: Sequence[LaneKey]) -> None:
        for key in keys:
            lane = self._ending[key] = self._lanes.pop(key)
            lane.follow({})  # nothing more is read, even if the lane takes a while to end
            lane.stop()
