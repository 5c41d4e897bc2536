"""What the flows have still to do: records to fold, and items that wait for a person."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing

from ops.demo.rest import Rest
from ops.metrics.lag_watch import flow_topics
from ops.settings import Settings
from ops.watch.kafka_away import KafkaAway
from ops.watch.lag import FLOWS_GROUP, LagReader
from schemas.agreement.directory import Directory
from schemas.errors import Transient
from schemas.log.control.follower import read_directory
from schemas.log.kafka import Kafka
from schemas.log.range import read_standing
from streams.flows import FLOWS
from streams.operators.flow import Flow

LOOK_SECONDS = 0.3
REST_SECONDS = 4.0
MOVES_WITHIN_SECONDS = 300.0
"""A worker that no longer moves ends after a minute (streams/worker/app.py), and the one after it gets its chance."""


def open_items(settings: Settings, flow: Flow) -> int:
    """How many items wait on a flow's queue for a person, by the queue's own records."""
    entry = read_directory(settings.kafka).feeds.get(flow.queue)
    waiting: dict[bytes, bool] = {}
    for partition in range(entry.partitions if entry else 0):
        for batch in read_standing(settings.kafka, flow.queue, partition):
            waiting.update((record.key or b"", record.value is not None) for record in batch.records)
    return sum(waiting.values())


class Backlog:
    """What the flows have still to fold, as of the last `look`.

    `records` is None while nobody can say; `has_moved`: they took some since the look before.
    """

    def __init__(self, lags: LagReader, directory: Directory) -> None:
        self._lags = lags
        self._topics = flow_topics(FLOWS, directory)
        self._confirmed = 0
        self.records: int | None = None
        self.has_moved = False

    def look(self) -> None:
        """Ask the broker."""
        try:
            topics = self._lags.read({FLOWS_GROUP: self._topics})[FLOWS_GROUP].values()
        except Transient:  # too busy to answer, so not through
            self.records, self.has_moved = None, False
            return
        # What has no age is no record: the mark of a transaction, or what compaction left.
        self.records = sum(topic.records for topic in topics if topic.seconds)
        confirmed = sum(topic.confirmed for topic in topics)
        self._confirmed, self.has_moved = confirmed, confirmed > self._confirmed


def until_folded(
    kafka: Kafka,
    folded: Callable[[], float],
    say: Callable[[str], None],
    show: Callable[[float, int], None] = lambda _folded, _left: None,
    *,
    moves_within_seconds: float = MOVES_WITHIN_SECONDS,
) -> bool:
    """Wait until the flows have nothing left to fold: their figures are then of all that happened. False: they stand still.

    `folded` counts messages folded so far; `show` is told these, and how many records are left as far as is known. While Kafka is
    away they cannot move, which `say` is told.
    """
    rest, away = Rest(REST_SECONDS, moves_within_seconds), KafkaAway(kafka, say)
    with closing(LagReader(kafka)) as lags:
        backlog = Backlog(lags, read_directory(kafka))
        while not rest.is_stuck:
            count = folded()
            backlog.look()
            if backlog.records is None and away.waited():
                rest.hold()
                continue
            show(count, backlog.records or 0)
            has_moved = rest.has_moved(count)
            if rest.is_reached(is_through=not has_moved and backlog.records == 0):
                return True
            time.sleep(LOOK_SECONDS)
    return False
