"""The run transport for Faust: one event carries a whole fetched run of records of one partition.

Stock Faust 0.15.3 spends its time per record; here a record costs one tuple. Registered under the
entry point `faust.transports` as `meshrun`, so that the broker address `meshrun://host:port` selects it. What differs
from the stock transport, besides the runs:

- Only the contiguous finished prefix of a partition is committed, and a failed commit stays due (FA-03, FA-04).
- Every assignment begins with an explicit rewind: to the committed offset, and to the start of the log where there is
  none. Stock Faust leaves a partition without a committed offset wherever a fetch that was under way has carried it.
- Before partitions are given up, the group in work is waited for and its offsets are committed.
- Reads committed records only, in bounded fetches (FA-21), and never writes: producing is confluent-kafka's work (FA-05).

Threads: aiokafka lives on its own event loop in `RunThread` (streams/worker/run_thread.py), which keeps the heart beating; everything
else here runs on Faust's loop. All of it leans on private methods, hence the check in `streams/worker/pins.py` at import (FA-24).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, cast

import uvloop
from faust.transport.conductor import Conductor
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage, Message

from schemas.change import Batch, Partition
from streams.worker.pins import AIOKAFKA, FAUST, check_pins
from streams.worker.prefix import Prefix, Unconfirmed
from streams.worker.room import Room
from streams.worker.run_thread import Lost, Runs, RunThread, never_accepted

check_pins("faust-streaming", "0.15.3", FAUST)
check_pins("aiokafka", "0.14.0", AIOKAFKA)


async def _nothing() -> None: ...


class RunConsumer(driver.Consumer):
    """Hands runs to Faust's conductor and keeps account of them.

    `settle` is awaited before partitions are given up: it returns when no group is in work any more. Each assignment has
    an `epoch`, which begins with a rewind; a message of an earlier one was read before that and will be read again.
    `standing` is, for each assigned partition, the offset before which everything is durable.
    """

    mundane_level = "debug"
    _thread: RunThread  # pyright: ignore[reportIncompatibleVariableOverride]  set once, by _new_consumer_thread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.prefix = Prefix()
        self.unconfirmed = Unconfirmed()
        self.settle: Callable[[], Awaitable[None]] = _nothing
        self.lost: Lost = never_accepted
        self.epoch = 0
        self.standing: dict[Partition, int] = {}
        self._held_bytes = 0
        self._held_records = 0
        self._has_room = asyncio.Event()
        self._has_room.set()
        super().__init__(*args, **kwargs)

    def _new_consumer_thread(self) -> RunThread:
        thread = RunThread(self, loop=self.loop, thread_loop=uvloop.new_event_loop(), beacon=self.beacon)
        thread._close_thread_loop_on_stop = True
        thread.lost = lambda *gap: self.lost(*gap)  # noqa: PLW0108 - `lost` is set after this
        return thread

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            while not (self.should_stop or fetcher.should_stop):
                await self._has_room.wait()
                if not self.flow_active:
                    await self.wait(cast("Any", self.can_resume_flow))
                elif partitions := frozenset(self._get_active_partitions()):
                    await self._hand_on(*await self._thread.runs(partitions, 1.0))
                else:
                    await self.sleep(0.05)
        except (*self.consumer_stopped_errors, asyncio.CancelledError):
            if not self.app.should_stop:
                raise

    async def _hand_on(self, epoch: int, runs: Runs) -> None:
        for tp, (records, size) in runs.items():
            # A fetch of before the rebalance may bring records of behind the rewind, and before the flow is on again.
            # They come once only, and must wait. Whereas a past epoch's records, here or there, will come again.
            while epoch == self.epoch and not self.flow_active and not self.should_stop:
                await self.wait(cast("Any", self.can_resume_flow))
            if epoch != self.epoch or self.should_stop:
                return
            message = ConsumerMessage(
                tp.topic,
                tp.partition,
                records[-1].offset,
                records[-1].timestamp_ms / 1000,
                0,
                None,
                None,
                cast("Any", Batch(topic=tp.topic, partition=tp.partition, records=records)),
                None,
                serialized_value_size=size,
                tp=tp,
                generation_id=epoch,
            )
            self.prefix.open(tp, message.offset)
            self._hold(size, len(records))
            await self.callback(message)

    def give(self, room: Room) -> None:
        """How much may be held, said before the start."""
        self._thread.room = room

    def _hold(self, size_bytes: int, records: int) -> None:
        self._held_bytes += size_bytes
        self._held_records += records
        room = self._thread.room
        if self._held_bytes > room.held_bytes or self._held_records > room.held_records:
            self._has_room.clear()
        else:
            self._has_room.set()

    def release(self, message: Message) -> None:
        """A message left the queue: there is room for further runs."""
        batch = cast("Any", message.value)
        self._hold(-cast("int", message.serialized_value_size), -len(batch.records))

    def ack(self, message: Message) -> bool:
        """A run is durable downstream. False when its partition was taken away meanwhile."""
        message.acked = True
        if message.generation_id != self.epoch or not self.prefix.finish(message.tp, message.offset):
            return False
        self.standing[message.topic, message.partition] = message.offset + 1
        self.unconfirmed.finished(time.monotonic())
        return True

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:  # noqa: ARG002
        """Commit what is due, of these topics or of all. False when nothing was, or the broker did not take it."""
        due = {tp: end for tp, end in self.prefix.due().items() if topics is None or tp in topics or tp[0] in topics}
        if not due or not await self._commit(cast("Any", due)):
            return False
        self.prefix.committed(due)
        self.unconfirmed.confirmed(time.monotonic())
        return True

    async def perform_seek(self) -> None:
        """Begin an assignment: every partition is read on from its committed offset."""
        self._begin_anew()
        self.epoch += 1
        self.standing.update(await self._thread.rewind(self.epoch))

    async def give_up(self) -> None:
        """Stop handing on, wait for the group in work, and commit what is finished."""
        self.stop_flow()
        self.app.flow_control.suspend()
        self.app.flow_control.clear()
        await self.settle()
        await self.commit()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Partitions are taken away: finish and commit first, then let go of them."""
        if not self.app.should_stop:
            await self.give_up()
        await super().on_partitions_revoked(revoked)
        self._begin_anew()

    def _begin_anew(self) -> None:
        self.prefix.forget()
        self.standing.clear()
        self._held_bytes = self._held_records = 0
        self._has_room.set()

    async def lagging(self) -> bool:
        """Whether the broker holds records that were not yet read."""
        return await self._thread.lagging()

    async def behind(self) -> frozenset[Partition]:
        """Assigned partitions with committed records that are not durable downstream yet, or of which nobody knows yet."""
        unread, read = await self._thread.behind()
        waiting = {partition for partition, offset in read.items() if self.standing.get(partition, 0) < offset}
        return frozenset(unread | waiting)

    async def accept_gaps(self) -> None:
        """Go on with the partitions whose gap a person has accepted, by `lost`."""
        await self._thread.accept_gaps()

    async def rejoin(self) -> None:
        """Ask the group for a fresh assignment."""
        await self.give_up()
        await self._thread.rejoin()

    async def verify_all_partitions_active(self) -> None:
        """Nothing: the worker's own watch looks at progress (FA-13)."""


class RunConductor(Conductor):
    """Routes runs to the channels that want them. A grown channel is covered by `renew`, never by Faust's own timer."""

    mundane_level = "debug"

    def _flag_changes(self) -> None:
        """Nothing: Faust would subscribe again 45 s later, and not at all if the change fell into a rebalance."""

    def _build_handler(self, tp: TP, channels: Any) -> Callable[[Message], Awaitable[None]]:  # noqa: ARG002
        app = self.app
        event_of: Any = app.conf.Event  # looked up once: Faust's settings cost more than all the rest of this

        async def hand_over(message: Message) -> None:
            await app.flow_control.acquire()
            message.incref(len(channels))
            for channel in channels:
                channel.queue.force_put_nowait(event_of(app, None, message.value, None, message))

        return hand_over

    async def renew(self) -> None:
        """Subscribe to what the channels want now. Leads to a rebalance."""
        consumer = cast("RunConsumer", self.app.consumer)
        await consumer.give_up()
        await consumer.subscribe(await self._update_indices())


class SilentProducer(driver.Producer):
    """Faust's producer, never connected: whatever this process writes, it writes through schemas/log/writer.py."""

    mundane_level = "debug"

    async def on_start(self) -> None:
        """Nothing to start."""

    async def on_stop(self) -> None:
        """Nothing to stop."""

    async def flush(self) -> None:
        """Nothing to flush."""


class Transport(driver.Transport):
    """What `meshrun://` addresses stand for."""

    Consumer: ClassVar[Any] = RunConsumer
    Producer: ClassVar[Any] = SilentProducer
    Conductor: ClassVar[Any] = RunConductor

    driver_version = f"{driver.Transport.driver_version} in runs"
