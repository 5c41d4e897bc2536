"""The stream worker: a Faust application that gives groups of batches to a plain function.

Faust keeps the group membership, the assignment and the positions; `streams/worker/transport.py` hands over runs. The worker
gathers everything that waits, across partitions, into one group, gives it to `handle` in a thread, and acknowledges the
group once `handle` has returned: with a hundred partitions of a few records each, one round trip to the broker serves all.

`handle` decides: it returns when all outputs of the group are durable; Transient gives it the same group again;
anything else ends the process before an acknowledgement, by `os._exit`, since an orderly end of Faust acknowledges what
was in work (FA-01, FA-02). Upholds invariants 1, 4 and 7; a group may come again after a crash or a rebalance, never not at all.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, NoReturn, cast

import faust
import uvloop
from faust.tables.manager import TableManager
from faust.types import Message

from schemas.change import Partition
from schemas.errors import Transient
from schemas.log.group.assigned import unassigned
from schemas.log.kafka import Kafka
from schemas.trace import described
from streams.worker.credentials import credentials
from streams.worker.room import Room
from streams.worker.run_thread import Lost, never_accepted
from streams.worker.transport import RunConductor, RunConsumer
from streams.worker.worker import (
    EXIT_CRASHED,
    EXIT_STALLED,
    Attempt,
    Handle,
    HeldUp,
    Idle,
    Watch,
    exit_code,
    join_runs,
    sole_owner,
)

SESSION_TIMEOUT_SECONDS = 10.0
HEARTBEAT_SECONDS = 1.0  # also how soon a member hears of a rebalance
REBALANCE_TIMEOUT_SECONDS = 60.0
SETTLE_SECONDS = 45.0
"""How long a group in work may hold up a rebalance; below the rebalance timeout, or the group is written twice at once."""
COMMIT_SECONDS = 0.3
TICK_SECONDS = 0.1
LAG_LOOK_SECONDS = 5.0
UNCONFIRMED_SECONDS = 120.0
"""How long work may go on of which the broker has taken no position; a restart finds the group's coordinator again."""
IDLE_LOOK_SECONDS = 1.0
CLOSE_SECONDS = 8.0

_logger = logging.getLogger(__name__)


class _NoTables(TableManager):
    """Faust's tables, of which we have none (FA-08), without the second for which their start waits."""

    mundane_level = "debug"

    async def on_start(self) -> None:
        await self._update_channels()
        await self.recovery.start()


def application(kafka: Kafka, group: str, data_dir: Path, instance_id: str | None) -> faust.App:
    """The Faust application of one member of the group, not started."""
    return faust.App(
        group,
        broker=[f"meshrun://{server.strip()}" for server in kafka.bootstrap.split(",")],
        broker_credentials=credentials(kafka),
        broker_client_id=instance_id or group,
        broker_session_timeout=SESSION_TIMEOUT_SECONDS,  # FA-26
        broker_heartbeat_interval=HEARTBEAT_SECONDS,
        broker_rebalance_timeout=REBALANCE_TIMEOUT_SECONDS,
        broker_max_poll_interval=3600.0,  # our own watch looks at progress
        broker_max_poll_records=5000,  # FA-21
        broker_commit_interval=COMMIT_SECONDS,
        consumer_group_instance_id=instance_id or "",
        consumer_metadata_max_age_ms=10_000,  # by then a topic that was not there yet is found
        datadir=str(data_dir / "faust"),
        web_enabled=False,  # FA-11
        topic_disable_leader=True,
        topic_allow_declare=False,
        reply_create_topic=False,
        table_standby_replicas=0,
        stream_wait_empty=False,  # the consumer settles before it gives up partitions
        autodiscover=False,
        TableManager=_NoTables,
    )


class StreamWorker:
    """One member of the consumer group `group`, for the feeds that `topics` names at any time.

    A topic that `topics` names later is taken up within a second or two, from its first record, without a restart.
    `instance_id` makes the membership static: a worker that is killed and started again under the same id has its
    partitions back at once instead of after the session timeout; it must be unique in the group. `data_dir` is the
    worker's own. `idle` is called about once a second between two groups, for work that must go on where no record
    comes; it takes the next offset of each assigned partition, before which everything is durable, and the partitions that
    hold more, or of which nobody knows yet; it may raise what `handle` may raise. `assigned` is called between two groups, in the
    same thread, when the partitions were assigned anew, also if they are the same ones. `lost` is asked about records that
    were removed before they were read (streams/worker/run_thread.py). `held_up` hears of a group that does not get
    through. `room` is how much is held at once. `leave` ends the process at once.
    """

    def __init__(
        self,
        *,
        kafka: Kafka,
        group: str,
        topics: Callable[[], frozenset[str]],
        handle: Handle,
        data_dir: Path,
        instance_id: str | None = None,
        idle: Idle | None = None,
        assigned: Callable[[], None] | None = None,
        lost: Lost = never_accepted,
        held_up: HeldUp = lambda _: None,
        room: Room = Room(),  # noqa: B008 - frozen
        stall_seconds: float = 60.0,
        give_up_seconds: float = 300.0,
        leave: Callable[[int], Any] = os._exit,
    ) -> None:
        self._kafka = kafka
        self._group = group
        self._topics = topics
        self._data_dir = data_dir
        self._instance_id = instance_id
        self._room = room
        self._leave = leave
        self._watch = Watch(stall_seconds, self._stalled)
        self._idle = idle
        self._assigned = assigned
        self._lost = lost
        self._epoch = -1
        self._attempt = Attempt(handle, give_up_seconds=give_up_seconds, alive=self._watch.alive, held_up=held_up)
        self._idle_at = 0.0
        self._in_work: asyncio.Future[None] | None = None

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set, then finish the group in work, commit, and return.

        Ends the process on anything that `handle` raises beside Transient, and when there is no progress although there
        is work. Raises Misconfigured when another living process holds the instance id.
        """
        for name in ("faust", "mode", "aiokafka"):  # they narrate at INFO what operators cannot act on
            logging.getLogger(name).setLevel(logging.WARNING)
        owner = sole_owner(self._data_dir, self._instance_id) if self._instance_id else nullcontext()
        self._data_dir.mkdir(parents=True, exist_ok=True)
        with owner, ThreadPoolExecutor(1, thread_name_prefix="stream-handle") as executor:
            while not self._topics():  # Kafka knows no empty subscription
                if stop.wait(TICK_SECONDS):
                    return
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve(stop, executor))

    def alive(self) -> None:
        """Called by a `handle` that takes its time but gets on, such as one that reads back its state."""
        self._watch.alive()

    async def _serve(self, stop: threading.Event, executor: ThreadPoolExecutor) -> None:
        app = application(self._kafka, self._group, self._data_dir, self._instance_id)
        channel: Any = app.topic(*sorted(self._topics())).clone(is_iterator=True)
        app.topics.add(channel)
        consumer = cast("RunConsumer", app.consumer)
        consumer.settle, consumer.lost = self._settle, self._lost
        consumer.give(self._room)
        self._watch.start()
        starting = asyncio.create_task(app.start())
        tasks = [
            starting,
            asyncio.create_task(self._work(channel.queue, consumer, executor)),
            asyncio.create_task(self._look_for_lag(app, consumer, channel.queue)),
        ]
        is_placed = False
        while not stop.is_set():
            await asyncio.sleep(TICK_SECONDS)
            self._check(app, tasks)
            if not starting.done() or app.rebalancing:
                continue
            if not is_placed and (assigned := consumer.assignment()):
                is_placed = True
                await self._place(channel, {tp.topic for tp in assigned}, consumer)
            else:
                await self._follow(app, channel)
        await self._close(app, consumer, tasks)

    async def _work(self, queue: Any, consumer: RunConsumer, executor: ThreadPoolExecutor) -> None:
        """Group after group: gather, handle, acknowledge in order. Now and then, in between, what needs no records."""
        loop = asyncio.get_running_loop()
        while True:
            messages: Sequence[Message] = ()
            with suppress(TimeoutError):
                messages = self._gather(await asyncio.wait_for(queue.get(), IDLE_LOOK_SECONDS), queue, consumer)
            self._in_work = loop.create_future()
            self._attempt.resume()
            if self._assigned is not None and consumer.epoch != self._epoch:
                self._epoch = consumer.epoch
                await loop.run_in_executor(executor, self._assigned)
            if messages:
                batches = join_runs([cast("Any", message.value) for message in messages])
                if await loop.run_in_executor(executor, self._attempt, batches):
                    for message in messages:
                        message.ack(consumer)  # Invariant 1: all outputs of the group are durable.
                    self._watch.alive()
            await consumer.accept_gaps()
            if self._idle is not None and consumer.flow_active and loop.time() >= self._idle_at:
                epoch, behind = consumer.epoch, await consumer.behind()
                if consumer.flow_active and consumer.epoch == epoch:  # otherwise it speaks of a past assignment
                    await loop.run_in_executor(executor, self._attend, self._idle, dict(consumer.standing), behind)
                self._idle_at = loop.time() + IDLE_LOOK_SECONDS
            self._in_work.set_result(None)

    def _attend(self, idle: Idle, standing: Mapping[Partition, int], behind: Set[Partition]) -> None:
        try:
            idle(standing, behind)
        except Transient as error:
            _logger.warning("what goes on without records is tried again: %s", error)

    def _gather(self, first: Any, queue: Any, consumer: RunConsumer) -> Sequence[Message]:
        """Everything that waits, up to the bounds of a group; nothing of a past assignment."""
        messages: list[Message] = []
        records = size_bytes = 0
        event = first
        while True:
            message = event.message
            if message.generation_id == consumer.epoch and consumer.flow_active:
                consumer.release(message)
                messages.append(message)
                records += len(event.value.records)
                size_bytes += message.serialized_value_size
            if queue.empty() or records >= self._room.group_records or size_bytes >= self._room.group_bytes:
                return messages
            event = queue.get_nowait()

    async def _settle(self) -> None:
        """Return when no group is in work: it ended, or it was given up between two tries and will come again."""
        self._attempt.abandon()
        if self._in_work is not None and not self._in_work.done():
            _, pending = await asyncio.wait([self._in_work], timeout=SETTLE_SECONDS)
            if pending:  # its writes must not go on beside those of the partitions' next owner
                self._end(EXIT_STALLED, f"a group in work held up a rebalance for {SETTLE_SECONDS:g} s")

    async def _place(self, channel: Any, assigned: set[str], consumer: RunConsumer) -> None:
        """Make sure of the first assignment.

        The broker answers a static member that comes back from memory, without looking at what it subscribes to now. A
        topic or a partition that came while it was away is then nobody's; a joining with a changed greeting makes the group
        assign anew.
        """
        if not self._instance_id:
            return
        nobodys = sorted({*channel.topics} - assigned)
        if not nobodys:
            nobodys = await asyncio.to_thread(unassigned, self._kafka, self._group, list(channel.topics))
        if nobodys:
            _logger.info("asking for a fresh assignment: %s", ", ".join(nobodys))
            await consumer.rejoin()

    async def _follow(self, app: faust.App, channel: Any) -> None:
        """Subscribe again when other topics are wanted than so far."""
        wanted = sorted(self._topics())
        if wanted and wanted != sorted(channel.topics):
            _logger.info("%d topics are followed from now on, %d so far", len(wanted), len(channel.topics))
            channel.topics = wanted
            await cast("RunConductor", app.topics).renew()

    async def _look_for_lag(self, app: faust.App, consumer: RunConsumer, queue: Any) -> None:
        """Tell the watch when there is nothing to do. What is done and never confirmed would all be done again one day."""
        while True:
            await asyncio.sleep(LAG_LOOK_SECONDS)
            if consumer.unconfirmed.seconds(time.monotonic()) > UNCONFIRMED_SECONDS:
                self._end(EXIT_STALLED, "the broker takes what is written, and not how far was read")
            if app.rebalancing or not app.started or not consumer.prefix.is_idle:
                continue
            if queue.empty() and not await consumer.lagging():
                self._watch.alive()

    async def _close(self, app: faust.App, consumer: RunConsumer, tasks: Sequence[asyncio.Task[Any]]) -> None:
        if app.started:
            await consumer.give_up()
        for task in tasks[1:]:
            task.cancel()
        try:
            await asyncio.wait_for(app.stop(), CLOSE_SECONDS)
        except TimeoutError:
            _logger.warning("the consumer did not close within %g s; everything finished is committed", CLOSE_SECONDS)
            self._leave(0)
        self._watch.stop()

    def _check(self, app: faust.App, tasks: Sequence[asyncio.Task[Any]]) -> None:
        """End the process when any part of it has failed."""
        for task in tasks:
            if task.done() and (error := task.exception()):
                self._end(exit_code(error), "the stream worker failed", error)
        if app.crashed:
            self._end(EXIT_CRASHED, "Faust failed", app.crash_reason)

    def _stalled(self) -> None:
        self._end(EXIT_STALLED, "no progress although there are records to process, or the broker does not answer")

    def _end(self, code: int, reason: str, error: BaseException | None = None) -> NoReturn:
        _logger.critical(
            "ending before anything is acknowledged: %s%s", reason, f": {described(error)}" if error else ""
        )
        self._leave(code)
        raise SystemExit(code)
