"""Streams as a process: feeds to what each grant allows."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

from ops.host.instance import instance_of
from ops.ledger.relay_books import RelayBooks
from ops.metrics.hop_metrics import StreamMetrics
from ops.metrics.lag_watch import LagWatch, watching
from ops.metrics.watch_metrics import KafkaMetrics
from ops.objections.corrections import Corrections
from ops.objections.disputes import DisputedFields
from ops.redelivery.gaps import gaps_on
from ops.redelivery.rule import LetterRules
from ops.run.parts import HopProgress, Parts
from ops.settings import Connections
from ops.trust.hash_key import HashKeys
from ops.watch.held_up import HeldUpGroup
from ops.watch.lag import STREAMS_GROUP
from ops.watch.offsets.confirmed import Confirmed
from ops.watch.open_transactions import OpenTransactions
from schemas.feed import EGRESS, is_out_topic
from schemas.ledger.book import REDELIVERY
from schemas.log.range import read_range, read_standing
from schemas.registry.client import RegistryClient
from streams.egress.relay import Relay
from streams.worker.app import StreamWorker


def run_streams(parts: Parts) -> None:
    """Apply grants until the process is to stop."""
    settings, name = parts.settings, parts.name
    directory = parts.directory()
    read, wrote = parts.book("streams", "read", lambda _topic: True), parts.book("streams", "wrote", is_out_topic)
    again = parts.book(REDELIVERY, "wrote", is_out_topic)
    log = parts.log(f"mesh-{name}", wrote)
    metrics, incidents = StreamMetrics(directory=directory), parts.incidents(directory)
    held = OpenTransactions(incidents, name, settings.kafka)
    watch = LagWatch(
        settings.kafka,
        STREAMS_GROUP,
        lambda: directory().feeds,
        metrics.lags,
        held.look,
        brokers=KafkaMetrics(STREAMS_GROUP).show,
    )
    watching(watch, parts.stop)
    parts.follow(directory, metrics.known)
    Corrections(settings).run(parts.stop)
    LetterRules(settings, directory, parts.log(f"mesh-{name}-rules", again), Confirmed(settings.kafka)).run(parts.stop)
    connections, schema_of = Connections(settings.directory), RegistryClient(settings.registry).schema
    relay = Relay(
        directory=directory,
        schema_of=schema_of,
        open_outlet=log.lane,
        observer=metrics,
        replay=partial(read_range, settings.kafka),
        read_out=partial(read_standing, settings.kafka),
        progress=HopProgress(parts.store(EGRESS)),
        hash_key=HashKeys(connections, directory),
        now=lambda: datetime.now(UTC),
        incidents=incidents,
        disputes=DisputedFields(directory, connections, schema_of),
        ledger=RelayBooks(feeds=read, outs=wrote) if read is not None and wrote is not None else None,
    )
    StreamWorker(
        kafka=settings.kafka,
        group=STREAMS_GROUP,
        topics=lambda: frozenset(directory().feeds),
        handle=relay.handle,
        idle=relay.idle,
        assigned=relay.assigned,
        lost=gaps_on(settings.kafka, STREAMS_GROUP, directory, incidents),
        held_up=HeldUpGroup(incidents, name),
        data_dir=settings.directory / "streams" / name,
        instance_id=instance_of(name, settings.directory),
    ).run(parts.stop)
