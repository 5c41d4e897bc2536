"""Flows: the process that folds feeds into the city's shared records and cases (streams/operators, streams/flows)."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from schemas.agreement.directory import Directory
from schemas.change import Batch
from schemas.feed import FLOW_INBOX, FLOW_STATE
from schemas.log.kafka import Kafka
from schemas.log.offsets import bounds
from schemas.log.range import read_range
from schemas.log.topics import DAY_MS, TopicSpec
from schemas.log.transaction import TransactionWriter
from schemas.log.writer import Log
from schemas.registry.client import RegistryClient
from streams.engine.runner import Runner, RunnerObserver, RunnerSetting
from streams.engine.state import STATE_MEMORY_BYTES, StateMemory
from streams.engine.task import TaskTopics
from streams.engine.time.past import PastProgress
from streams.operators.flow import Flow
from streams.worker.app import StreamWorker
from streams.worker.room import Room
from streams.worker.run_thread import Lost, never_accepted
from streams.worker.worker import HeldUp

TASKS = "MESH_FLOW_TASKS"
CLOCK = "MESH_FLOW_CLOCK"
MEMORY = "MESH_FLOW_MEMORY_MIB"
BY_COMMITS, BY_DATES = "commits", "dates"
TASKS_DEFAULT = 4
"""Tasks that the flows begin with: so many workers can share their work. `mesh tasks` lets there be more."""
INBOX_RETENTION_MS = 7 * DAY_MS
CYCLES_LOOKED_FOR = 200_000, 20, 100
"""Objects made before Python looks among the young ones, and how many of these looks make the next: flows keep many subjects and
make no cycles; at the rate of other hops (ops/run/hop.py) looking took a seventh of the time."""
ROOM = Room(
    group_records=6_000, group_bytes=24 << 20, held_bytes=32 << 20, fetch_bytes=16 << 20, partition_bytes=4 << 20
)
"""A worker that is behind folds a subject once for all news of it in a group: the larger that is, the less there is to do.
Bounded all the same: a rebalance waits for the group in work. Few records of feeds, so that what they say is folded before more is
taken in."""


@dataclass(frozen=True, slots=True)
class StateChangelog:
    """`streams.engine.state.Changelog` on the mesh's broker."""

    kafka: Kafka
    topic: str = FLOW_STATE

    def bounds(self, partition: int, /) -> tuple[int, int]:
        """See Changelog."""
        return bounds(self.kafka, self.topic, partition)

    def read(self, partition: int, start: int, end: int, /) -> Iterator[Batch]:
        """See Changelog."""
        return read_range(self.kafka, self.topic, partition, start, end)


def topic_specs(partitions: int, *, inbox: str = FLOW_INBOX, state: str = FLOW_STATE) -> Mapping[str, TopicSpec]:
    """What the two topics of the tasks are to be."""
    return {
        inbox: TopicSpec(partitions=partitions, is_compacted=False, retention_ms=INBOX_RETENTION_MS),
        state: TopicSpec(partitions=partitions, compaction_lag_ms=0),
    }


def run_worker(
    flows: Sequence[Flow],
    stop: threading.Event,
    *,
    kafka: Kafka,
    registry: str,
    directory: Callable[[], Directory],
    topics: TaskTopics,
    group: str,
    instance_id: str | None,
    folder: Path,
    progress: PastProgress,
    observer: RunnerObserver,
    is_replay: bool = False,
    state_memory_bytes: int = STATE_MEMORY_BYTES,
    producer: Mapping[str, str] | None = None,
    lost: Lost = never_accepted,
    held_up: HeldUp = lambda _: None,
) -> None:
    """One worker of `group` until `stop`, in a process of its own, whose collector it sets.

    `folder` is its own; `instance_id` and `is_replay` as in StreamWorker and Runner, `producer` as in Settings. The local stores of
    its tasks together hold `state_memory_bytes` in memory.
    """
    gc.set_threshold(*CYCLES_LOOKED_FOR)
    with (
        closing(RegistryClient(registry)) as schemas,
        closing(Log(kafka, client_id=f"mesh-{instance_id or group}", extra=producer)) as log,
        closing(
            Runner(
                RunnerSetting(
                    flows=flows,
                    directory=directory,
                    schema_of=schemas.schema,
                    open_outlet=log.lane,
                    open_writer=partial(TransactionWriter, kafka, extra=producer),
                    changelog=StateChangelog(kafka, topics.state),
                    topics=topics,
                    data_dir=folder / "state",
                    progress=progress,
                    replay=partial(read_range, kafka),
                    observer=observer,
                    is_replay=is_replay,
                    memory=StateMemory(state_memory_bytes),
                )
            )
        ) as runner,
    ):
        worker = StreamWorker(
            kafka=kafka,
            group=group,
            topics=runner.topics,
            handle=runner.handle,
            idle=runner.idle,
            lost=lost,
            held_up=held_up,
            data_dir=folder,
            instance_id=instance_id,
            room=ROOM,
        )
        runner.alive = worker.alive
        worker.run(stop)
