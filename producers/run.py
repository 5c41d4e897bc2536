"""A run: one open source into one lane of the log, until the source ends or is to be closed."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from producers.oversize import append_or_point
from producers.setting import CaptureObserver
from producers.source import Source, SourceBatch
from schemas.log.lane import Lane

SETTLE_SECONDS = 10.0

_logger = logging.getLogger(__name__)


class CaptureRun:
    """Used by the source's own thread. `begun` is called once the first batch has been read, before it is written."""

    def __init__(
        self, name: str, source: Source, lane: Lane, observer: CaptureObserver, begun: Callable[[], None]
    ) -> None:
        self._name = name
        self._source = source
        self._lane = lane
        self._observer = observer
        self._begun = begun
        self._marks: deque[tuple[int, Any]] = deque()

    def run(self, goes_on: Callable[[], bool]) -> None:
        """Append what the source reads and confirm what is durable, as long as `goes_on`. Raises whatever the source fails of."""
        lane, is_first = self._lane, True
        try:
            for batch in self._source.batches():
                if is_first:
                    is_first = False
                    self._begun()
                self._append(batch)
                self._confirm()
                if not goes_on():
                    break
            lane.flush(SETTLE_SECONDS)
            self._confirm()
        finally:
            lane.seal()
            if not lane.settle(SETTLE_SECONDS):
                _logger.warning("%s: records are still under way to the broker", self._name)
            self._source.close()

    def _confirm(self) -> None:
        marks, acknowledged = self._marks, self._lane.acknowledged()
        while marks and marks[0][0] <= acknowledged:  # invariant 1: the broker has it, and all before it
            self._source.confirm(marks.popleft()[1])

    def _append(self, batch: SourceBatch) -> None:
        lane, observer = self._lane, self._observer
        if lane.failure is not None:  # KF-04: nothing after a lost record may be confirmed
            raise lane.failure
        start = lane.appended
        if batch.records:
            for feed, reason in append_or_point(lane, batch.records):
                observer.rejected(feed=feed, reason=reason, count=1)
            lane.seal()
        self._marks.extend((start + count, mark) for count, mark in batch.marks)
        for (feed, op), tally in batch.tallies.items():
            observer.captured(feed=feed, op=op, count=tally.count, size_bytes=tally.size_bytes)
        for (feed, reason), count in batch.rejected.items():
            observer.rejected(feed=feed, reason=reason, count=count)
        if batch.committed_at_ms is not None:
            observer.lag(source=self._name, seconds=max(0.0, time.time() - batch.committed_at_ms / 1000))
        elif not batch.records:
            observer.lag(source=self._name, seconds=0.0)
