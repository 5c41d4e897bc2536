"""`mesh status`: feeds, subscriptions and processes at one moment, from what the processes export and the brokers know.

Health is progress (OP-03): what lags and does not move is unwell, however alive its process is, and says why.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from ops.host.process_states import process_states
from ops.kinds.sinks import SINKS
from ops.metrics.metric import origin_of
from ops.metrics.scrape import Samples, gather, gather_recent, increase, quantile, rate
from ops.onboarding.present import Present
from ops.own_topic.readers import sink_of
from ops.settings import Settings
from ops.watch.health import DOWN, OK, STUCK, STUCK_AFTER_SECONDS
from ops.watch.held import why_held
from ops.watch.incidents import IncidentReader
from ops.watch.lag import STREAMS_GROUP, LagReader, TopicLag, delivery_group
from ops.watch.status_report import (
    OFF,
    PAUSED,
    FeedStatus,
    FlowStatus,
    Status,
    SubscriptionStatus,
    TaskStatus,
)
from ops.watch.told.last_told import LastTold
from schemas.agreement.directory import Directory, FeedEntry, GrantEntry
from schemas.agreement.grant import Grant
from schemas.errors import Transient
from schemas.incident import Incident, Kind, key_of
from sinks.kind import is_read_itself

Lags = Callable[[Mapping[str, Iterable[str]]], Mapping[str, Mapping[str, TopicLag]]]
"""Takes topics by consumer group; gives the lag of each group on each topic that exists."""

ONCE_WITHIN_SECONDS = 3.0
"""How long a single look waits for a broker that does not answer: the rest is shown, with a notice."""

_WINDOW = 5
_LATENCY = "mesh_delivery_latency_seconds"


@dataclass(frozen=True, slots=True)
class _Reading:
    samples: Samples
    lags: Mapping[str, Mapping[str, TopicLag]]


class StatusReader:
    """Reads the status again and again; rates and progress are those of the last few readings.

    `path` is the mesh's directory; `directory` gives the present Directory; `lags` is `LagReader(...).read`, `incidents` an
    IncidentReader, or in their place anything that raises Transient when it cannot ask; `clock` gives UTC seconds.
    """

    def __init__(
        self,
        path: Path,
        directory: Callable[[], Directory],
        lags: Lags,
        clock: Callable[[], float] = time.time,
        incidents: Callable[[], Mapping[str, Incident]] = dict,
        lasts: Callable[[Directory], Mapping[str, str]] = lambda _: {},
    ) -> None:
        self._path = path
        self._directory = directory
        self._lags = lags
        self._incidents = incidents
        self._lasts = lasts
        self._clock = clock
        self._readings: deque[_Reading] = deque(maxlen=_WINDOW)

    def read(self) -> Status:
        """The status now. What cannot be asked is left open, with a notice; nothing is raised for it."""
        directory = self._directory()
        notices: list[str] = []
        lags: Mapping[str, Mapping[str, TopicLag]] = {}
        incidents: Mapping[str, Incident] = {}
        lasts: Mapping[str, str] = {}
        with ThreadPoolExecutor(3, thread_name_prefix="status") as pool:
            earlier = None if self._readings else pool.submit(gather_recent, self._path)
            present = pool.submit(gather, self._path)
            standing = pool.submit(self._incidents)
            try:
                lags = self._lags(groups(directory))
            except Transient as error:
                notices.append(str(error))
            try:
                incidents = standing.result()
            except Transient as error:
                notices.append(str(error))
            try:
                lasts = self._lasts(directory)
            except Transient as error:
                notices.append(str(error))
            samples, answered = present.result()
            if earlier is not None:  # the first look: the processes tell what they had counted some seconds ago
                self._readings.append(_Reading(earlier.result(), {}))
        self._readings.append(_Reading(samples, lags))
        now = datetime.fromtimestamp(self._clock(), UTC)
        present = Present.of(directory, now)  # what is gone has no trouble any more, whoever still says so
        incidents = {key: incident for key, incident in incidents.items() if present.has(incident.kind, incident.name)}
        view = _View(self._readings, now, incidents, directory)
        return Status(
            at=view.now,
            feeds=tuple(
                replace(view.feed(entry, origin_of(directory, feed)), last=lasts.get(feed, ""))
                for feed, entry in sorted(directory.feeds.items())
            ),
            subscriptions=tuple(view.subscription(entry) for _, entry in sorted(directory.grants.items())),
            processes=tuple(process_states(self._path, samples, answered, self._clock())),
            p50_seconds=view.latency(0.5),
            p99_seconds=view.latency(0.99),
            flows=tuple(view.flows()),
            tasks=tuple(view.tasks()),
            sources=tuple(sorted(present.names["source"])),
            sinks=tuple(sorted(present.names["sink"])),
            incidents=tuple(incident for _, incident in sorted(incidents.items())),
            notices=tuple(notices),
        )


def status(settings: Settings, directory: Directory) -> Status:
    """The status once: rates are those of the last seconds, as the processes tell them (ops/metrics/recent.py)."""
    incidents = IncidentReader(settings.kafka, within_seconds=ONCE_WITHIN_SECONDS)
    with closing(LagReader(settings.kafka, within_seconds=ONCE_WITHIN_SECONDS)) as lag:
        lasts = LastTold(settings.kafka, within_seconds=ONCE_WITHIN_SECONDS)
        return StatusReader(settings.directory, lambda: directory, lag.read, incidents=incidents, lasts=lasts).read()


def groups(directory: Directory) -> dict[str, list[str]]:
    """The consumer groups that should be reading, with the topics that each should read."""
    wanted: dict[str, list[str]] = {STREAMS_GROUP: list(directory.feeds)}
    for entry in directory.grants.values():
        group = delivery_group(entry.grant.subscriber, entry.grant.sink)
        wanted.setdefault(group, []).append(entry.topic)
    return wanted


class _View:
    """The last few readings, looked at together."""

    def __init__(
        self, readings: Sequence[_Reading], now: datetime, incidents: Mapping[str, Incident], directory: Directory
    ) -> None:
        self.now = now
        self._directory = directory
        self._incidents = incidents
        self._before, self._after = readings[0], readings[-1]
        asked = (reading.lags for reading in islice(readings, len(readings) - 1) if reading.lags)
        self._lags_before = next(asked, {})

    def feed(self, entry: FeedEntry, origin: str) -> FeedStatus:
        samples = self._after.samples
        feed, contract = entry.feed, entry.contract
        source = contract.source_name
        lag = self._after.lags.get(STREAMS_GROUP, {}).get(feed)
        expected = samples.latest("mesh_snapshot_rows_expected", feed=feed)
        done = samples.latest("mesh_snapshot_rows", feed=feed)
        is_connected = samples.latest("mesh_capture_connected", source=source)
        incident = self._incident(("feed", feed), ("source", source))
        if incident is not None and incident.is_standstill:
            health, reason = DOWN, incident.reason
        elif is_connected == 0:
            health, reason = DOWN, f"the change log of {source} is not being read"
        elif self._is_stuck("source", source):
            health, reason = STUCK, f"capture of {source} has lag and does not move"
        else:
            health, reason = self._progress(STREAMS_GROUP, feed, lag, rate_of=("mesh_processed_total", {"feed": feed}))
        if incident is not None and health == OK:
            reason = incident.reason
        return FeedStatus(
            feed=feed,
            origin=origin,
            captured=int(samples.total("mesh_events_total", feed=feed)),
            per_second=self._rate("mesh_events_total", feed=feed),
            rejected=int(samples.total("mesh_rejected_total", feed=feed)),
            lag_records=lag.records if lag else None,
            lag_seconds=lag.seconds if lag else None,
            capture_lag_seconds=samples.latest("mesh_capture_lag_seconds", source=source),
            snapshot=min(1.0, done / expected) if expected and done is not None else None,
            health=health,
            reason=reason,
            **_words(incident),
        )

    def subscription(self, entry: GrantEntry) -> SubscriptionStatus:
        samples, grant = self._after.samples, entry.grant
        group, topic = delivery_group(grant.subscriber, grant.sink), entry.topic
        lag = self._after.lags.get(group, {}).get(topic)
        incident = self._incident(("grant", grant.grant_id), ("sink", f"{grant.subscriber}.{grant.sink}"))
        if not grant.is_active(self.now):
            incident = None
            health, reason = OFF, f"the grant is {grant.status}" if grant.status != "ACTIVE" else "outside its validity"
        elif held := why_held(self._directory, grant, self.now):  # what its lane said before is of no concern meanwhile
            incident, health, reason = None, PAUSED, held
        elif incident is not None and incident.is_standstill:
            health, reason = DOWN, f"{incident.name}: {incident.reason}"
        elif samples.latest("mesh_parked", subscriber=grant.subscriber, sink=grant.sink) == 1:
            health = DOWN
            reason = f"{grant.subscriber}/{grant.sink} is parked: the subscriber is unwell, delivery's log says how"
        else:
            counted = ("mesh_delivered_total", {"grant_id": grant.grant_id})
            health, reason = self._progress(group, topic, lag, rate_of=counted)
        if incident is not None and health == OK:
            reason = incident.reason
        return SubscriptionStatus(
            grant_id=grant.grant_id,
            subscriber=grant.subscriber,
            feed=grant.feed,
            sink=grant.sink,
            delivered=self._delivered(grant, lag),
            per_second=self._rate("mesh_delivered_total", grant_id=grant.grant_id),
            suppressed=int(samples.total("mesh_suppressed_total", grant_id=grant.grant_id)),
            dead=int(samples.total("mesh_dead_total", grant_id=grant.grant_id)),
            lag_records=lag.records if lag else None,
            lag_seconds=lag.seconds if lag else None,
            p50_seconds=self.latency(0.5, subscriber=grant.subscriber),
            p99_seconds=self.latency(0.99, subscriber=grant.subscriber),
            health=health,
            reason=reason,
            **_words(incident),
        )

    def _delivered(self, grant: Grant, lag: TopicLag | None) -> int:
        """As delivery counts it, or what its subscriber's own group confirmed."""
        if is_read_itself(sink_of(self._directory, grant.subscriber, grant.sink), SINKS):
            return lag.confirmed if lag else 0
        return int(self._after.samples.total("mesh_delivered_total", grant_id=grant.grant_id))

    def flows(self) -> Iterator[FlowStatus]:
        """What the flows' process tells of each flow."""
        samples = self._after.samples
        for flow in samples.values("mesh_flow_lag_seconds", "flow"):
            records = int(samples.latest("mesh_flow_lag_records", flow=flow) or 0)
            seconds = samples.latest("mesh_flow_lag_seconds", flow=flow) or 0.0
            per_second = self._rate("mesh_flow_messages_total", flow=flow)
            health, reason = OK, f"{records:,} records behind" if seconds > 5 else ""
            if self._is_stuck("flow", flow):
                health, reason = STUCK, f"flow {flow} has not folded the oldest record for {seconds:.0f} s"
            clock = samples.latest("mesh_flow_clock_seconds", flow=flow)
            yield FlowStatus(
                flow=flow,
                clock=datetime.fromtimestamp(clock, UTC).isoformat(timespec="seconds") if clock else None,
                messages=int(samples.total("mesh_flow_messages_total", flow=flow)),
                per_second=per_second,
                lag_records=records,
                lag_seconds=seconds,
                health=health,
                reason=reason,
            )

    def tasks(self) -> Iterator[TaskStatus]:
        """What the flows' process tells of each task."""
        samples = self._after.samples
        for task in samples.values("mesh_flow_task_lag_seconds", "task"):
            expected = samples.latest("mesh_flow_restored_records_expected", task=task)
            done = samples.latest("mesh_flow_restored_records", task=task)
            yield TaskStatus(
                task=task,
                lag_records=int(samples.latest("mesh_flow_task_lag_records", task=task) or 0),
                lag_seconds=samples.latest("mesh_flow_task_lag_seconds", task=task) or 0.0,
                restored=min(1.0, done / expected) if expected and done is not None else None,
            )

    def latency(self, q: float, **where: str) -> float | None:
        """A quantile of what came between the two readings; of everything, when nothing came."""
        everything = self._after.samples.buckets(_LATENCY, **where)
        recent = increase(self._before.samples.buckets(_LATENCY, **where), everything)
        latest = quantile(recent, q)
        return quantile(everything, q) if latest is None else latest

    def _rate(self, name: str, **where: str) -> float:
        return rate(self._before.samples, self._after.samples, name, **where)

    def _incident(self, *of: tuple[Kind, str]) -> Incident | None:
        """The gravest incident of these: one for which something stands still, or any."""
        found = [incident for kind, name in of if (incident := self._incidents.get(key_of(kind, name))) is not None]
        return next((incident for incident in found if incident.is_standstill), found[0] if found else None)

    def _is_stuck(self, kind: str, entity: str) -> bool:
        return self._after.samples.latest("mesh_entity_health", kind=kind, entity=entity, status=STUCK) == 1

    def _progress(
        self, group: str, topic: str, lag: TopicLag | None, rate_of: tuple[str, Mapping[str, str]]
    ) -> tuple[str, str]:
        if lag is None:
            return OK, ""
        if lag.is_passed:
            return DOWN, "retention removed records that were not read yet"
        before = self._lags_before.get(group, {}).get(topic)
        has_moved = (before is not None and before.confirmed != lag.confirmed) or self._rate(
            rate_of[0], **rate_of[1]
        ) > 0
        if lag.seconds > STUCK_AFTER_SECONDS and not has_moved:
            return STUCK, f"the oldest change waits for {lag.seconds:.0f} s and nothing moves"
        return OK, f"{lag.records} records behind" if lag.seconds > 5 else ""


def _words(incident: Incident | None) -> dict[str, str]:
    return {"state": incident.state, "fix": incident.fix} if incident is not None else {}
