"""Flows as a process: feeds to derived feeds."""

from __future__ import annotations

import os

from ops.host.instance import instance_of
from ops.metrics.flow_metrics import FlowMetrics
from ops.metrics.lag_watch import LagWatch, flow_report, flow_topics, watching
from ops.metrics.watch_metrics import KafkaMetrics
from ops.redelivery.gaps import gaps_on
from ops.run.flow_tasks import FlowTasks
from ops.run.flow_worker import BY_COMMITS, BY_DATES, CLOCK, MEMORY, TASKS, TASKS_DEFAULT, run_worker
from ops.run.parts import HopProgress, Parts
from ops.watch.held_up import HeldUpGroup
from ops.watch.lag import FLOWS_GROUP
from ops.watch.open_transactions import OpenTransactions
from schemas.errors import Misconfigured
from schemas.feed import DECISIONS, FLOW_INTAKE
from streams.engine.state import STATE_MEMORY_BYTES
from streams.engine.task import TaskTopics
from streams.flows import FLOWS


def run_flows(parts: Parts) -> None:
    """Fold until the process is to stop: all flows, for the workers of the group share every one of them."""
    settings, name = parts.settings, parts.name
    asked = _number(TASKS, TASKS_DEFAULT, fix="leave it unset, or say how many tasks share the work")
    memory = _number(MEMORY, STATE_MEMORY_BYTES >> 20, fix="leave it unset, or say how many MiB the stores may hold")
    clock = os.environ.get(CLOCK, BY_COMMITS)
    if clock not in {BY_COMMITS, BY_DATES}:
        raise Misconfigured(
            CLOCK, f"is {clock!r}", fix=f"set it to {BY_COMMITS} or {BY_DATES}: `mesh run --help` says which"
        )
    store = parts.store(FLOW_INTAKE)
    tasks = FlowTasks.at_start(settings.kafka, store, asked)
    directory = parts.directory()
    incidents = parts.incidents(directory)
    metrics = FlowMetrics()
    metrics.known(flow.name for flow in FLOWS)
    report = flow_report(FLOWS, metrics.lag, metrics.task_lag)
    held = OpenTransactions(incidents, name, settings.kafka)
    watch = LagWatch(
        settings.kafka,
        FLOWS_GROUP,
        lambda: flow_topics(FLOWS, directory()),
        report,
        held.look,
        brokers=KafkaMetrics(FLOWS_GROUP).show,
    )
    watching(watch, parts.stop)
    run_worker(
        FLOWS,
        parts.stop,
        kafka=settings.kafka,
        producer=settings.producer,
        registry=settings.registry,
        directory=directory,
        topics=TaskTopics(tasks.routed, begun=tasks.begun, decisions=DECISIONS),
        group=FLOWS_GROUP,
        instance_id=instance_of(name, settings.directory),
        folder=settings.directory / "flows" / name,
        progress=HopProgress(store),
        observer=metrics,
        is_replay=clock == BY_DATES,
        state_memory_bytes=memory << 20,
        lost=gaps_on(settings.kafka, FLOWS_GROUP, directory, incidents),
        held_up=HeldUpGroup(incidents, name),
    )


def _number(setting: str, default: int, *, fix: str) -> int:
    """A setting that is a whole number above 0."""
    try:
        number = int(os.environ.get(setting, default))
    except ValueError:
        number = 0
    if number < 1:
        raise Misconfigured(setting, "is no number above 0", fix=fix)
    return number
