"""Delivery as a process: to the subscribers' sinks."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from functools import partial

from ops.audit.attempts import RefusedAttempts
from ops.audit.windows import DeliveryWindows
from ops.grants.overdue import Overdue, OverdueLog, watching
from ops.kinds.sinks import SINKS
from ops.metrics.directory_metrics import DirectoryMetrics
from ops.metrics.hop_metrics import DeliveryMetrics
from ops.offboarding.endings import EndingLog
from ops.offboarding.offboarded import Finished, Leaving
from ops.own_topic.ends import EndsTold
from ops.own_topic.logins import Lapsed
from ops.redelivery.dead_letter_log import DeadLetterLog
from ops.redelivery.replay import ReplayRequests
from ops.run.parts import Parts
from ops.settings import Connections
from ops.trust.access import keep_access
from ops.watch.incidents import IncidentReader
from ops.watch.standstills import StandstillLog
from schemas.feed import REPLAYS, STANDSTILLS
from schemas.log.control.follower import read_directory
from schemas.log.reader import NoReaderLedger
from schemas.registry.client import RegistryClient
from sinks.deliver import Delivery, DeliveryPorts, SinkSources


def run_delivery(parts: Parts) -> None:
    """Deliver until the process is to stop."""
    settings = parts.settings
    directory = parts.directory()
    log = parts.log("mesh-delivery")
    audited = parts.audited("mesh-delivery-audit")
    keep_access(settings.kafka, directory, parts.stop)
    windows = DeliveryWindows(settings.kafka, directory, audited)
    windows.run(parts.stop)
    Leaving(settings.kafka, directory, Finished(settings, audited), windows.look).run(parts.stop)
    Lapsed(settings.kafka, directory, audited).run(parts.stop)
    schema_of, acknowledge = RegistryClient(settings.registry).schema, EndingLog(audited)
    EndsTold(settings.kafka, directory, log, schema_of, acknowledge).run(parts.stop)
    sinks = SinkSources(
        kinds=SINKS,
        address_of=Connections(settings.directory).sinks.address_of,
        schema_of=schema_of,
        networks=settings.webhook_networks,
        refused=parts.enter(closing(RefusedAttempts(parts.audited("mesh-delivery-attempts")))),
        guard=parts.doorkeeper.guard(),
    )
    metrics, agreed = DeliveryMetrics(directory=directory), DirectoryMetrics()
    parts.follow(directory, metrics.known)
    parts.look(lambda: agreed.look(directory(), datetime.now(UTC)), "agreed")
    ports = DeliveryPorts(
        dead_letter=DeadLetterLog(log),
        observer=metrics,
        acknowledge=acknowledge,
        incidents=parts.incidents(directory),
        standstills=parts.enter(closing(StandstillLog(parts.store(STANDSTILLS)))),
        replays=parts.enter(closing(ReplayRequests(parts.store(REPLAYS), metrics.replayed))),
        ledger=parts.book("delivery", "read", lambda _topic: True) or NoReaderLedger(),
    )
    overdue = Overdue(directory, ports.incidents, IncidentReader(settings.kafka), OverdueLog(audited))
    watching(overdue, parts.stop)
    present = partial(read_directory, settings.kafka)
    Delivery(directory=directory, present=present, kafka=settings.kafka, sinks=sinks, ports=ports).run(parts.stop)
