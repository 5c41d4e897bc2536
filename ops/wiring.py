"""Wiring: which parts a process is made of. A flat table of small builders; nothing is found by magic.

A new kind of sink is one file in `sinks/`, one line in `SINKS` and one test; a new kind of source the same in `SOURCES`.
"""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import click

from ops import tail as tail_lines
from ops.access import keep_access
from ops.board import Boards, following
from ops.console.server import Console as StatusPage
from ops.control import ControlStore, Follower, read_directory
from ops.dead_letter_log import DeadLetterLog
from ops.deafness import Deafness
from ops.endings import EndingLog
from ops.flow_metrics import BoardMetrics
from ops.flows import run_flows
from ops.former_connections import settle
from ops.gaps import gaps_on
from ops.hash_key import HashKeys
from ops.held_subjects import held_by
from ops.held_up import HeldUpGroup
from ops.incident_metrics import CountedIncidents
from ops.incidents import IncidentLog, IncidentReader
from ops.instance import instance_of
from ops.kafka_away import wait_for_kafka
from ops.lag import STREAMS_GROUP, LagReader
from ops.lag_watch import LagWatch, watching
from ops.measure import CaptureMetrics, DeliveryMetrics, StreamMetrics, serve
from ops.offboarded import Finished, Leaving
from ops.opendata.service import run_opendata
from ops.present import Tidy, tidying
from ops.private import keep_private
from ops.prometheus.configuration import write_prometheus_config
from ops.replay import ReplayRequests
from ops.settings import Connections, Settings, load
from ops.standstills import StandstillLog
from ops.status import StatusReader
from ops.tail_dead import PREFIX, dead_letters
from ops.topics import bounds
from ops.up import mesh_command
from producers.capture import Capture
from producers.log import Log
from producers.peer import PeerSource
from producers.postgres import PostgresSource
from producers.postgres_release import POSTGRES_HOLDING
from producers.release import Holding
from producers.source import OpenSource
from schemas.change import Batch
from schemas.codec import Codec
from schemas.errors import Misconfigured
from schemas.feed import CAPTURE, EGRESS, FLOW_INTAKE, INCIDENTS, REPLAYS, STANDSTILLS, first_edition
from schemas.incident import Incidents
from schemas.registry.client import RegistryClient
from schemas.registry.server import RegistryServer
from sinks.deliver import Delivery
from sinks.files import FILES
from sinks.postgres import POSTGRES
from sinks.reader import read_range, tail
from sinks.sink import SinkKind
from sinks.webhook import WEBHOOK
from streams.app import StreamWorker
from streams.relay import Relay

SOURCES: Mapping[str, OpenSource] = {"postgres": PostgresSource, "mesh": PeerSource}
HOLDINGS: Mapping[str, Holding] = {"postgres": POSTGRES_HOLDING}
"""What kinds of source give back once they have no feed any more; the others hold nothing."""
SINKS: Mapping[str, SinkKind] = {"postgres": POSTGRES, "webhook": WEBHOOK, "files": FILES}

_YIELDING = ("nice", "-n", "10")
"""On one machine, what is derived from changes must not delay the changes: it works on when the other hops have had theirs."""


def processes(directory: Path, ports: Mapping[str, int]) -> Mapping[str, Sequence[str]]:
    """What `mesh up` runs beside the servers, in the order of starting."""
    write_prometheus_config(directory)
    where = ("--dir", str(directory))
    return {
        "registry": mesh_command("run", "registry", *where, "--port", str(ports["registry"])),
        "streams": mesh_command("run", "streams", *where),
        "flows": (*_YIELDING, *mesh_command("run", "flows", *where)),
        "delivery": mesh_command("run", "delivery", *where),
        "capture": mesh_command("run", "capture", *where),
        "console": mesh_command("run", "console", *where, "--port", str(ports["console"])),
        "opendata": (*_YIELDING, *mesh_command("run", "opendata", *where, "--port", str(ports["opendata"]))),
    }


def run(hop: str, directory: Path, stop: threading.Event, *, port: int, only: frozenset[str], name: str) -> None:
    """Run one hop until `stop`; serve its metrics meanwhile."""
    calm_collector()
    keep_private(directory)
    settings = load(directory)
    with ExitStack() as parts:
        parts.enter_context(closing(serve(directory, name)))
        if not wait_for_kafka(settings.kafka, stop):
            return
        if hop == "registry":
            follower = parts.enter_context(closing(Follower(settings.kafka)))
            RegistryServer(settings.kafka, port=port, held_by=partial(held_by, follower)).run(stop)
            return
        settle(settings.directory, read_directory(settings.kafka))
        if hop == "console":
            _run_console(settings, port, stop)
            return
        if hop == "opendata":
            run_opendata(settings, parts, stop, port, name)
            return
        _HOPS[hop](settings, parts, stop, only, name)


def calm_collector() -> None:
    """Look for reference cycles seldom: hot loops make tuples by the million and no cycles; looking took a tenth of capture."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _run_capture(settings: Settings, parts: ExitStack, stop: threading.Event, only: frozenset[str], name: str) -> None:
    directory = parts.enter_context(closing(Follower(settings.kafka)))
    log = parts.enter_context(closing(Log(settings.kafka, client_id="mesh-capture", extra=settings.producer)))
    store = _store(settings, parts, CAPTURE)
    address_of = Connections(settings.directory).sources.address_of
    incidents = _incidents(settings, parts, directory, stop, name)
    released = Finished(settings, log).slot
    Capture(
        directory, address_of, log, store, CaptureMetrics(), SOURCES, only or None, incidents, HOLDINGS, released
    ).run(stop)


def _run_streams(settings: Settings, parts: ExitStack, stop: threading.Event, _only: frozenset[str], name: str) -> None:
    directory = parts.enter_context(closing(Follower(settings.kafka)))
    log = parts.enter_context(closing(Log(settings.kafka, client_id=f"mesh-{name}", extra=settings.producer)))
    metrics, incidents = StreamMetrics(directory=directory), _incidents(settings, parts, directory, stop, name)
    watching(LagWatch(settings.kafka, STREAMS_GROUP, lambda: directory().feeds, metrics.lags), stop)
    relay = Relay(
        directory=directory,
        schema_of=RegistryClient(settings.registry).schema,
        open_outlet=log.lane,
        observer=metrics,
        replay=partial(read_range, settings.kafka),
        read_out=partial(_standing, settings.kafka),
        progress=_HopProgress(_store(settings, parts, EGRESS)),
        hash_key=HashKeys(Connections(settings.directory), directory),
        now=lambda: datetime.now(UTC),
        incidents=incidents,
    )
    StreamWorker(
        bootstrap=settings.kafka,
        group=STREAMS_GROUP,
        topics=lambda: frozenset(directory().feeds),
        handle=relay.handle,
        idle=relay.idle,
        assigned=relay.assigned,
        lost=gaps_on(settings.kafka, STREAMS_GROUP, directory, incidents),
        held_up=HeldUpGroup(incidents, name),
        data_dir=settings.directory / "streams" / name,
        instance_id=instance_of(name, settings.directory),
    ).run(stop)


def _standing(bootstrap: str, topic: str, partition: int) -> Iterator[Batch]:
    """What stands in a partition at this moment."""
    yield from read_range(bootstrap, topic, partition, *bounds(bootstrap, topic, partition))


def _run_delivery(
    settings: Settings, parts: ExitStack, stop: threading.Event, _only: frozenset[str], name: str
) -> None:
    directory = parts.enter_context(closing(Follower(settings.kafka)))
    log = parts.enter_context(closing(Log(settings.kafka, client_id="mesh-delivery", extra=settings.producer)))
    keep_access(settings.kafka, directory, stop)
    Leaving(settings.kafka, directory, Finished(settings, log)).run(stop)
    Delivery(
        directory=directory,
        present=partial(read_directory, settings.kafka),
        address_of=Connections(settings.directory).sinks.address_of,
        schema_of=RegistryClient(settings.registry).schema,
        dead_letter=DeadLetterLog(log),
        acknowledge=EndingLog(log),
        observer=DeliveryMetrics(directory=directory),
        bootstrap=settings.kafka,
        kinds=SINKS,
        incidents=_incidents(settings, parts, directory, stop, name),
        networks=settings.webhook_networks,
        replays=parts.enter_context(closing(ReplayRequests(settings.kafka, _store(settings, parts, REPLAYS)))),
        standstills=parts.enter_context(closing(StandstillLog(_store(settings, parts, STANDSTILLS)))),
    ).run(stop)


def _run_flows(settings: Settings, parts: ExitStack, stop: threading.Event, _only: frozenset[str], name: str) -> None:
    progress = _HopProgress(_store(settings, parts, FLOW_INTAKE))
    run_flows(
        settings, parts, stop, name, progress, lambda directory: _incidents(settings, parts, directory, stop, name)
    )


_HOPS = {"capture": _run_capture, "streams": _run_streams, "flows": _run_flows, "delivery": _run_delivery}


def _store(settings: Settings, parts: ExitStack, topic: str) -> ControlStore:
    log = parts.enter_context(
        closing(Log(settings.kafka, client_id=f"{topic}-progress", linger_ms=0, extra=settings.producer))
    )
    return ControlStore(settings.kafka, topic, log)


def _incidents(
    settings: Settings, parts: ExitStack, directory: Follower, stop: threading.Event, name: str
) -> Incidents:
    """Where a hop says what stands still; of what ended, nothing is said any more, and its gauges go (ops/present.py)."""
    written = parts.enter_context(closing(IncidentLog(settings.kafka, _store(settings, parts, INCIDENTS))))
    incidents = CountedIncidents(written)
    tidying(Tidy(directory, incidents), stop)
    directory.tell_deafness(Deafness(incidents, name))
    return incidents


@dataclass(frozen=True, slots=True)
class _HopProgress:
    """`streams.liveness.Progress`, and that of the flows' past, on a control topic."""

    store: ControlStore

    def load(self) -> Mapping[str, Mapping[str, Any]]:
        return self.store.all()

    def save(self, key: str, record: Mapping[str, Any]) -> None:
        self.store.save(key, record)


def _run_console(settings: Settings, port: int, stop: threading.Event) -> None:
    with closing(Follower(settings.kafka)) as directory, closing(LagReader(settings.kafka)) as lags:
        reader = StatusReader(settings.directory, directory, lags.read, incidents=IncidentReader(settings.kafka))
        tidying(Tidy(directory), stop)
        following(Boards(settings.kafka, directory, RegistryClient(settings.registry).schema, BoardMetrics()), stop)
        StatusPage(reader.read, port).run(stop, lambda url: logging.getLogger(__name__).info("console: %s", url))


def show_tail(
    settings: Settings, topic: str, *, from_start: bool, count: int | None, reveal: bool, as_json: bool
) -> None:
    """Print the changes of a topic as they come, until Ctrl-C or `count` of them."""
    directory = read_directory(settings.kafka)
    about = topic.removeprefix(PREFIX)
    entry = directory.feeds.get(about)
    if entry is None and (grant := directory.grants.get(first_edition(about.removeprefix("out.")))):
        entry = directory.feeds.get(grant.grant.feed)
    if entry is None:
        problem = "is no feed, no `out.` topic of a grant, and no `dlq.` topic of either"
        raise Misconfigured(topic, problem, fix="`mesh status` lists feeds and grants")
    view = tail_lines.View(contract=entry.contract, is_revealed=reveal)
    batches = (
        batch
        for several in tail(settings.kafka, [topic], threading.Event(), from_beginning=from_start)
        for batch in several
    )
    follow = dead_letters if topic.startswith(PREFIX) else tail_lines.tail
    with suppress(KeyboardInterrupt), closing(RegistryClient(settings.registry)) as registry:
        lines = follow(topic, batches, Codec(registry.schema), view, as_json=as_json)
        if count is not None:
            lines = islice(lines, count + (not as_json))
        for line in lines:
            click.echo(line)
