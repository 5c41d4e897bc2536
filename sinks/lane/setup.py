"""Setup: what a lane is built from, and what it has from its first session to its last. Frozen values."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from schemas.agreement.delivery_policy import DeliveryPolicy
from schemas.dead_letter import DeadLetter
from schemas.log.kafka import Kafka
from schemas.log.reader import NoReaderLedger, ReaderLedger
from sinks.ending import Endings
from sinks.kind import SinkKind
from sinks.lane.patience import Patience
from sinks.lane.refusals import Refusals
from sinks.lane.report import LaneReport
from sinks.lane.retry import RetryPolicy
from sinks.lane.rewind import Rewinds
from sinks.lane.standstill import Standstill
from sinks.sink import BatchingPolicy, SinkSetup


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneConfig:
    """How the lanes of a delivery work.

    `check_every_seconds`: how often a target is asked whether it is where it was left. `deferred_seconds_max`: the most that a
    change may wait for others, whatever it waits for. `reader_settings` are librdkafka's, beside our own.
    """

    retry: RetryPolicy = field(default_factory=RetryPolicy)
    poll_seconds: float = 0.2
    check_every_seconds: float = 5.0
    deferred_seconds_max: float = 600.0
    reader_settings: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneSetup:
    """One lane's. `dead_letter` returns once the letter is durable and raises Transient otherwise.

    `now` gives Unix seconds, which may jump; `clock` those by which everything waits, which only go forward. `policy` is what the
    subscriber asks of its delivery; `pause_seconds` is how long a few records wait for company.
    """

    sink: SinkSetup
    kind: SinkKind
    kafka: Kafka
    dead_letter: Callable[[DeadLetter], None]
    config: LaneConfig
    now: Callable[[], float]
    pause_seconds: Callable[[], float]
    ledger: ReaderLedger = field(default_factory=NoReaderLedger)
    policy: DeliveryPolicy = field(default_factory=DeliveryPolicy)
    clock: Callable[[], float] = time.monotonic

    @property
    def retry(self) -> RetryPolicy:
        """How its target is tried again: as all are, or less often or more often as its subscriber asks."""
        longest = self.policy.retry_wait_seconds
        if longest is None:
            return self.config.retry
        retry = self.config.retry
        return replace(retry, backoff=retry.backoff.up_to(longest), parked=retry.parked.up_to(longest))

    @property
    def batching(self) -> BatchingPolicy:
        """How much is read before it is written, as the sink's options say."""
        return self.kind.batching(self.sink)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneParts:
    """What one session of a lane leaves to the next. `stop` is set once the lane is to end."""

    report: LaneReport
    rewinds: Rewinds
    endings: Endings
    standstill: Standstill
    patience: Patience
    refusals: Refusals = field(default_factory=Refusals)
    stop: threading.Event = field(default_factory=threading.Event)
