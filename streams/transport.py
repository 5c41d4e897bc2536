"""The run transport for Faust: one event carries a whole fetched run of records of one partition.

Stock Faust 0.15.3 spends its time per record; here a record costs one tuple (FIELD-NOTES §4.6). Registered under the
entry point `faust.transports` as `meshrun`, so that the broker address `meshrun://host:port` selects it. What differs
from the stock transport, besides the runs:

- Only the contiguous finished prefix of a partition is committed, and a failed commit stays due (FA-03, FA-04).
- Every assignment begins with an explicit rewind: to the committed offset, and to the start of the log where there is
  none. Stock Faust leaves a partition without a committed offset wherever a fetch that was under way has carried it.
- Before partitions are given up, the group in work is waited for and its offsets are committed.
- Reads committed records only, in bounded fetches (FA-21), and never writes: producing is confluent-kafka's work (FA-05).

Threads: aiokafka lives on its own event loop in `RunThread`, which keeps the heart beating; everything else here runs on
Faust's loop. All of it leans on private methods, hence the check in `streams/pins.py` at import (FA-24).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, cast

import aiokafka
import uvloop
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from aiokafka.errors import CommitFailedError, ConsumerStoppedError, IllegalStateError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.conductor import Conductor
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage, Message

from schemas.change import Batch, Record
from streams.pins import AIOKAFKA, FAUST, check_pins
from streams.prefix import Partition, Prefix

FETCH_BYTES_MAX = 8 << 20
FETCH_PARTITION_BYTES_MAX = 1 << 20
FETCH_WAIT_MS = 200
"""How long a fetch may lie at the broker. Short, because a partition that was not part of it waits for its return."""
PACE_SECONDS_PER_PARTITION = 0.0008
PACE_MOST_SECONDS = 0.03
PACE_LEAST_SECONDS_PER_PARTITION = 0.0001
"""The least time between two fetches: long enough for runs to gather, yet no longer than a subscriber would notice. aiokafka
names every partition in every fetch, about 25 us each on either side, hence the last bound: with a thousand partitions, anything
shorter would be a core spent on asking."""
HELD_BYTES_MAX = 16 << 20
HELD_RECORDS_MAX = 40_000
"""How much may wait in this process for its turn, beside the group in work and one fetch (FA-21)."""

Runs = Mapping[TP, tuple[Sequence[Record], int]]

check_pins("faust-streaming", "0.15.3", FAUST)
check_pins("aiokafka", "0.14.0", AIOKAFKA)


class RunThread(driver.AIOKafkaConsumerThread):
    """aiokafka's consumer on its own loop. `epoch` is that of the last rewind which was carried out."""

    epoch = 0
    mundane_level = "debug"
    _fetch_at = 0.0

    async def on_start(self) -> None:
        """Start aiokafka's consumer, with paced fetches."""
        await super().on_start()
        fetcher: Any = self._ensure_consumer()._fetcher
        self._fetch_actions = fetcher._get_actions_per_node
        fetcher._get_actions_per_node = self._paced_actions

    def _paced_actions(self, assignment: Any) -> Any:
        now = time.monotonic()
        if now < self._fetch_at:
            return [], {}, self._fetch_at - now, False, []
        actions = self._fetch_actions(assignment)
        if actions[0]:
            count = len(assignment.tps)
            gathering = min(PACE_SECONDS_PER_PARTITION * count, PACE_MOST_SECONDS)
            self._fetch_at = now + max(gathering, PACE_LEAST_SECONDS_PER_PARTITION * count)
        return actions

    def _create_worker_consumer(self, transport: driver.Transport) -> aiokafka.AIOKafkaConsumer:
        conf = self.app.conf
        self.assignor = type("MeshAssignor", (_Assignor,), {})
        return aiokafka.AIOKafkaConsumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            group_instance_id=conf.consumer_group_instance_id or None,
            bootstrap_servers=cast("Any", driver.server_list(transport.url, transport.default_port)),
            partition_assignment_strategy=(self.assignor,),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_max_bytes=FETCH_BYTES_MAX,
            max_partition_fetch_bytes=FETCH_PARTITION_BYTES_MAX,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            max_poll_records=conf.broker_max_poll_records,
            max_poll_interval_ms=int(conf.broker_max_poll_interval * 1000),
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            metadata_max_age_ms=conf.consumer_metadata_max_age_ms,
            check_crcs=conf.broker_check_crcs,
            **driver.credentials_to_aiokafka_auth(conf.broker_credentials, conf.ssl_context),
        )

    async def runs(self, partitions: frozenset[TP], within_seconds: float) -> tuple[int, Runs]:
        """What was fetched for these partitions, with the epoch it was read in."""
        return await self.call_thread(self._runs, partitions, within_seconds)

    async def _runs(self, partitions: frozenset[TP], within_seconds: float) -> tuple[int, Runs]:
        consumer: Any = self._ensure_consumer()  # its fetcher and its coordinator are untyped
        fetcher = consumer._fetcher
        if not self.consumer.flow_active:
            return self.epoch, {}
        if consumer._closed or fetcher._closed:
            raise ConsumerStoppedError
        with fetcher._subscriptions.fetch_context():
            fetched = await fetcher.fetched_records(partitions, within_seconds, self.app.conf.broker_max_poll_records)
        # Nothing is awaited between taking the records and reading the epoch: they were read behind its rewind.
        return self.epoch, {TP(*partition): _run(records) for partition, records in fetched.items()}

    async def rewind(self, epoch: int) -> Mapping[Partition, int]:
        """Set every assigned partition to where its reading must go on, and begin this epoch; return where that is."""
        return await self.call_thread(self._rewind, epoch)

    async def _rewind(self, epoch: int) -> Mapping[Partition, int]:
        consumer: Any = self._ensure_consumer()
        partitions = sorted(consumer.assignment())
        committed = await consumer._coordinator.fetch_committed_offsets(partitions)
        starts = await consumer.beginning_offsets(partitions)
        if epoch != cast("RunConsumer", self.consumer).epoch:
            return {}  # Faust gave up waiting for this rewind when the next rebalance began
        standing: dict[Partition, int] = {}
        for partition in consumer.assignment().intersection(partitions):
            wanted = starts[partition]
            if partition in committed:
                if committed[partition].offset < wanted:
                    # Invariant 9, KF-12: what retention took is gone; going on without a word would hide it.
                    self.log.critical(
                        "%s partition %d: records %d to %d were removed before they were read; request a new snapshot",
                        *(*partition, committed[partition].offset, wanted - 1),
                    )
                wanted = max(wanted, committed[partition].offset)
            state = consumer._subscription.subscription.assignment.state_value(partition)
            if not state.has_valid_position or state.position != wanted:
                consumer.seek(partition, wanted)
            standing[partition.topic, partition.partition] = wanted
        self.epoch = epoch
        return standing

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        consumer: Any = self._ensure_consumer()
        owned = consumer.assignment()
        mine = {TopicPartition(*tp): OffsetAndMetadata(offset, "") for tp, offset in offsets.items() if tp in owned}
        if not mine:
            return False
        try:
            await consumer.commit(mine)
        except (CommitFailedError, IllegalStateError) as error:
            # The group has moved on: whoever owns these partitions now reads them again.
            self.log.info("offsets were not committed, the group is rebalancing: %s", error)
            return False
        return True

    async def lagging(self) -> bool:
        """Whether the broker holds committed records that were not yet read. Asks the broker."""
        return await self.call_thread(self._lagging)

    async def _lagging(self) -> bool:
        consumer: Any = self._ensure_consumer()
        partitions = consumer.assignment()
        ends = await consumer.end_offsets(partitions) if partitions else {}
        subscription = consumer._subscription.subscription
        if subscription is None or subscription.assignment is None:
            return False  # between two assignments nobody can say
        states = [(end, subscription.assignment.state_value(partition)) for partition, end in ends.items()]
        return any(state and (not state.has_valid_position or state.position < end) for end, state in states)

    async def rejoin(self) -> None:
        """Ask for a fresh assignment, with a changed greeting: an unchanged one would be answered from memory."""
        await self.call_thread(self._rejoin)

    async def _rejoin(self) -> None:
        self.assignor.greeting += b"+"
        cast("Any", self._ensure_consumer())._coordinator.request_rejoin()


class _Assignor(RoundRobinPartitionAssignor):
    greeting: ClassVar[bytes] = b""

    @classmethod
    def metadata(cls, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        return ConsumerProtocolMemberMetadata(cls.version, sorted(topics), cls.greeting)


def _run(records: Sequence[Any]) -> tuple[Sequence[Record], int]:
    """Records of aiokafka as ours, and their size in bytes."""
    size = sum([(len(r.value) if r.value else 0) + (len(r.key) if r.key else 0) for r in records])
    return [Record(r.offset, r.key, r.value, r.headers or None, r.timestamp) for r in records], size


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
        self.settle: Callable[[], Awaitable[None]] = _nothing
        self.epoch = 0
        self.standing: dict[Partition, int] = {}
        self._held_bytes = 0
        self._held_records = 0
        self._room = asyncio.Event()
        self._room.set()
        super().__init__(*args, **kwargs)

    def _new_consumer_thread(self) -> RunThread:
        thread = RunThread(self, loop=self.loop, thread_loop=uvloop.new_event_loop(), beacon=self.beacon)
        thread._close_thread_loop_on_stop = True
        return thread

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            while not (self.should_stop or fetcher.should_stop):
                await self._room.wait()
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

    def _hold(self, size_bytes: int, records: int) -> None:
        self._held_bytes += size_bytes
        self._held_records += records
        if self._held_bytes > HELD_BYTES_MAX or self._held_records > HELD_RECORDS_MAX:
            self._room.clear()
        else:
            self._room.set()

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
        return True

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:  # noqa: ARG002
        """Commit what is due, of these topics or of all. False when nothing was, or the broker did not take it."""
        due = {tp: end for tp, end in self.prefix.due().items() if topics is None or tp in topics or tp[0] in topics}
        if not due or not await self._commit(cast("Any", due)):
            return False
        self.prefix.committed(due)
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
        self._room.set()

    async def lagging(self) -> bool:
        """Whether the broker holds records that were not yet read."""
        return await self._thread.lagging()

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
    """Faust's producer, never connected: whatever this process writes, it writes through producers/log.py."""

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
