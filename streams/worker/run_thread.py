"""The thread of the run transport (streams/worker/transport.py): aiokafka's consumer on an event loop of its own.

Fetches are paced, and what was fetched is handed over as runs of records of one partition. Every assignment begins with a
rewind, carried out here; all else that Faust asks of the driver's thread is as the driver has it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, ClassVar, cast

import aiokafka
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from aiokafka.errors import (
    CommitFailedError,
    ConsumerStoppedError,
    IllegalStateError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from schemas.change import Partition, Record
from schemas.errors import ContractBroken
from streams.worker.connection import break_what_is_closed
from streams.worker.room import Room

FETCH_WAIT_MS = 200
"""How long a fetch may lie at the broker. Short, because a partition that was not part of it waits for its return."""
PACE_SECONDS_PER_PARTITION = 0.0008
PACE_MOST_SECONDS = 0.08
PACE_LEAST_SECONDS_PER_PARTITION = 0.0001
"""The least time between two fetches: long enough for runs to gather, yet no longer than a subscriber would notice. aiokafka
names every partition in every fetch, about 25 us each on either side, hence the last bound: with a thousand partitions, anything
shorter would be a core spent on asking."""

Runs = Mapping[TP, tuple[Sequence[Record], int]]

Lost = Callable[[str, int, int, int], bool]
"""Told of topic, partition, the first record that was removed before it was read and the first that is left; asked again about once
a second. Whether a person has accepted the gap: until then nothing of the partition is read."""


def never_accepted(_topic: str, _partition: int, _first: int, _left: int) -> bool:
    """A `Lost` for whoever has nobody to ask."""
    return False


break_what_is_closed()


class RunThread(driver.AIOKafkaConsumerThread):
    """aiokafka's consumer on its own loop. `epoch` is that of the last rewind which was carried out."""

    epoch = 0
    mundane_level = "debug"
    _crashing: asyncio.Future[None] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._read: dict[Partition, int] = {}
        self._gaps: dict[TopicPartition, tuple[int, int]] = {}
        self.lost: Lost = never_accepted
        self.room = Room()
        super().__init__(*args, **kwargs)

    async def on_start(self) -> None:
        """Start aiokafka's consumer, with paced fetches."""
        await super().on_start()
        consumer: Any = self._ensure_consumer()
        consumer._fetcher._get_actions_per_node = _FetchPace(consumer._fetcher._get_actions_per_node)
        self._take_assignment = consumer._subscription.assign_from_subscribed
        consumer._subscription.assign_from_subscribed = self._assign_wanted
        consumer._client._sync_task.add_done_callback(self._metadata_ended)

    def _assign_wanted(self, assigned: Collection[Any]) -> None:
        """Take what is assigned of the topics that are read now.

        The broker hands a static member that comes back what it had, of topics that left meanwhile too (KIP-345). aiokafka's
        coordinator dies of those; here they are passed over, and the group assigns anew.
        """
        consumer: Any = self._ensure_consumer()
        taken = [tp for tp in assigned if tp.topic in consumer._subscription.subscription.topics]
        self._take_assignment(taken)
        if len(taken) < len(assigned):
            self._ask_anew(consumer)

    def _metadata_ended(self, task: asyncio.Task[None]) -> None:
        """Without fresh metadata no coordinator is found again: the process ends, and begins anew."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._crashing = asyncio.ensure_future(self.crash(error))

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
            auto_offset_reset="none",  # invariant 9: every position is set by a rewind, and one that is gone is a gap
            isolation_level="read_committed",
            fetch_max_bytes=self.room.fetch_bytes,
            max_partition_fetch_bytes=self.room.partition_bytes,
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
            wanted = partitions - self._gaps.keys() if self._gaps else partitions
            if not wanted:  # to the fetcher that would mean all of them
                await asyncio.sleep(within_seconds)
                return self.epoch, {}
            try:
                fetched = await fetcher.fetched_records(wanted, within_seconds, self.app.conf.broker_max_poll_records)
            except NoOffsetForPartitionError:
                return self.epoch, {}  # assigned just now: its rewind says where to begin
            except OffsetOutOfRangeError as error:
                await self._gone(error.args[0])
                return self.epoch, {}
        # Nothing is awaited between taking the records and reading the epoch: they were read behind its rewind.
        self._read.update({(tp.topic, tp.partition): records[-1].offset + 1 for tp, records in fetched.items()})
        return self.epoch, {TP(*partition): _run(records) for partition, records in fetched.items()}

    async def _gone(self, positions: Mapping[TopicPartition, int]) -> None:
        """What was to be read next is not there any more."""
        consumer = self._ensure_consumer()
        for partition, first in positions.items():
            start = (await consumer.beginning_offsets([partition]))[partition]
            if partition not in consumer.assignment():
                continue
            if first > start:
                raise ContractBroken(
                    f"{partition.topic} [{partition.partition}]",
                    f"read up to {first}, and the topic ends before: it was made anew",
                    fix="restore the topic, or remove its group's offsets to read it from the beginning",
                )
            if not self.lost(partition.topic, partition.partition, first, start):
                self._stand_still(partition, first, start)
            consumer.seek(partition, start)

    def _stand_still(self, partition: TopicPartition, first: int, left: int) -> None:
        """Invariant 9, KF-12: what retention took is gone; going on would hide it. The others flow (invariant 8)."""
        self._gaps[partition] = (first, left)
        self.log.critical(
            "%s partition %d stands still: records %d to %d were removed before they were read",
            *(*partition, first, left - 1),
        )

    async def rewind(self, epoch: int) -> Mapping[Partition, int]:
        """Set every assigned partition to where its reading must go on, and begin this epoch; return where that is."""
        return await self.call_thread(self._rewind, epoch)

    async def _rewind(self, epoch: int) -> Mapping[Partition, int]:
        consumer: Any = self._ensure_consumer()
        partitions = sorted(consumer.assignment())
        committed = await consumer._coordinator.fetch_committed_offsets(partitions)
        starts = await consumer.beginning_offsets(partitions)
        if epoch != cast("Any", self.consumer).epoch:
            return {}  # Faust gave up waiting for this rewind when the next rebalance began
        standing: dict[Partition, int] = {}
        self._gaps.clear()
        for partition in consumer.assignment().intersection(partitions):
            wanted = starts[partition]
            if partition in committed:
                first = committed[partition].offset
                if first < wanted and not self.lost(partition.topic, partition.partition, first, wanted):
                    self._stand_still(partition, first, wanted)
                wanted = max(wanted, first)
            state = consumer._subscription.subscription.assignment.state_value(partition)
            if not state.has_valid_position or state.position != wanted:
                consumer.seek(partition, wanted)
            standing[partition.topic, partition.partition] = self._gaps.get(partition, (wanted, 0))[0]
        self.epoch = epoch
        self._read.clear()
        return standing

    async def accept_gaps(self) -> None:
        """Go on with the partitions whose gap a person has accepted."""
        if self._gaps:
            await self.call_thread(self._accept_gaps)

    async def _accept_gaps(self) -> None:
        for partition, (first, left) in list(self._gaps.items()):
            if self.lost(partition.topic, partition.partition, first, left):
                self.log.warning("%s partition %d goes on at record %d", *partition, left)
                self._gaps.pop(partition, None)

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
        partitions = consumer.assignment() - self._gaps.keys()  # what waits for a person is no work of ours
        ends = await consumer.end_offsets(partitions) if partitions else {}
        subscription = consumer._subscription.subscription
        if subscription is None or subscription.assignment is None:
            return False  # between two assignments nobody can say
        states = [(end, subscription.assignment.state_value(partition)) for partition, end in ends.items()]
        return any(state and (not state.has_valid_position or state.position < end) for end, state in states)

    async def behind(self) -> tuple[set[Partition], Mapping[Partition, int]]:
        """The partitions that hold more than was read, by the last fetch, and up to where the others' records were read."""
        return await self.call_thread(self._behind)

    async def _behind(self) -> tuple[set[Partition], Mapping[Partition, int]]:
        subscription = cast("Any", self._ensure_consumer())._subscription.subscription
        assignment = subscription and subscription.assignment
        behind: set[Partition] = set()
        for tp in assignment.tps if assignment else ():
            state = assignment.state_value(tp)
            is_known = state.has_valid_position and state.highwater is not None
            if not is_known or state.position < state.highwater:
                behind.add((tp.topic, tp.partition))
        return behind, dict(self._read)

    async def rejoin(self) -> None:
        """Ask for a fresh assignment."""
        await self.call_thread(self._rejoin)

    async def _rejoin(self) -> None:
        self._ask_anew(self._ensure_consumer())

    def _ask_anew(self, consumer: Any) -> None:
        self.assignor.greeting += b"+"  # the same greeting again would be answered from memory
        consumer._coordinator.request_rejoin()


class _FetchPace:
    """Between a fetcher and what it would fetch next: nothing, until enough has gathered."""

    def __init__(self, actions: Callable[[Any], Any]) -> None:
        self._actions = actions
        self._fetch_at = 0.0

    def __call__(self, assignment: Any) -> Any:
        now = time.monotonic()
        if now < self._fetch_at:
            return [], {}, self._fetch_at - now, False, []
        actions = self._actions(assignment)
        if actions[0]:
            count = len(assignment.tps)
            gathering = min(PACE_SECONDS_PER_PARTITION * count, PACE_MOST_SECONDS)
            self._fetch_at = now + max(gathering, PACE_LEAST_SECONDS_PER_PARTITION * count)
        return actions


class _Assignor(RoundRobinPartitionAssignor):
    greeting: ClassVar[bytes] = b""

    @classmethod
    def metadata(cls, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        return ConsumerProtocolMemberMetadata(cls.version, sorted(topics), cls.greeting)


def _run(records: Sequence[Any]) -> tuple[Sequence[Record], int]:
    """Records of aiokafka as ours, and their size in bytes."""
    size = sum([(len(r.value) if r.value else 0) + (len(r.key) if r.key else 0) for r in records])
    return [Record(r.offset, r.key, r.value, r.headers or None, r.timestamp) for r in records], size
