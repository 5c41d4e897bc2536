"""Setup: what a lane is built from, and what it has from its first session to its last. Frozen values."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from schemas.dead_letter import DeadLetter
from schemas.log.kafka import Kafka
from schemas.log.reader import NoReaderLedger, ReaderLedger
from sinks.ending import Endings
from sinks.kind import SinkKind
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

    `now` gives Unix seconds; `pause_seconds` is how long a few records wait for company.
    """

    sink: SinkSetup
    kind: SinkKind
    kafka: Kafka
    dead_letter: Callable[[DeadLetter], None]
    config: LaneConfig
    now: Callable[[], float]
    pause_seconds: Callable[[], float]
    ledger: ReaderLedger = field(default_factory=NoReaderLedger)

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
    refusals: Refusals = field(default_factory=Refusals)
    stop: threading.Event = field(default_factory=threading.Event)
