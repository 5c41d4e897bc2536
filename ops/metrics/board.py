"""Boards: the figures that flows publish as rows, as metrics, so that Grafana shows them beside the volume.

A derived feed whose contract names number or boolean columns under `gov.board` is a board: rules with their precision, topics
with their balance, checks by district and kind. Its rows are few and their keys are codes; a contract that names a board
promises that no key of it is a person (OP-01). The newest row of each key counts, a deleted one is shown no more.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Protocol

from schemas.agreement.directory import Directory, FeedEntry
from schemas.errors import Rejected, Transient
from schemas.log.kafka import Kafka
from schemas.log.range import tail
from schemas.wire.codec import Codec
from schemas.wire.schema import SchemaOf

LOOK_SECONDS = 2.0
ROWS_MAX = 2_000
"""Rows of one board. What grows beyond is no board: Prometheus keeps a series for each of them."""

_logger = logging.getLogger(__name__)


class Gauge(Protocol):
    """Where figures go."""

    def figure(self, feed: str, row: str, column: str, value: float | None) -> None:
        """A board's figure; None takes it away."""
        ...


def boards(directory: Directory) -> Mapping[str, FeedEntry]:
    """The feeds that are boards, by name."""
    return {name: entry for name, entry in directory.feeds.items() if entry.contract.gov.get("board")}


class Boards:
    """Follows every board of the mesh until stopped."""

    def __init__(self, kafka: Kafka, directory: Callable[[], Directory], schema_of: SchemaOf, gauge: Gauge) -> None:
        self._kafka = kafka
        self._directory = directory
        self._codec = Codec(schema_of)
        self._gauge = gauge
        self._rows: dict[str, set[str]] = {}

    def run(self, stop: threading.Event) -> None:
        """Follow; a broker that is away is asked again."""
        while not stop.is_set():
            present = boards(self._directory())
            if not present:
                stop.wait(LOOK_SECONDS)
                continue
            ending = threading.Event()
            watch = threading.Thread(target=self._watch, args=(present, ending, stop), name="boards-watch", daemon=True)
            watch.start()
            try:
                for batches in tail(self._kafka, sorted(present), ending, from_beginning=True):
                    for batch in batches:
                        for record in batch.records:
                            if record.value is not None:
                                self._show(present[batch.topic], record.value)
            except Transient as error:
                _logger.warning("boards: tried again: %s", error)
                stop.wait(LOOK_SECONDS)
            finally:
                ending.set()
                watch.join()

    def _watch(self, present: Mapping[str, FeedEntry], ending: threading.Event, stop: threading.Event) -> None:
        """End the reading when the mesh has other boards than these, or is to stop."""
        while not ending.is_set():
            if stop.wait(0.2) or boards(self._directory()).keys() != present.keys():
                ending.set()

    def _show(self, entry: FeedEntry, value: bytes) -> None:
        try:
            envelope = self._codec.decode(value)
        except Rejected as error:
            _logger.warning("board %s: a record cannot be read: %s", entry.feed, error)
            return
        row = envelope["after"] or envelope["before"]
        if row is None:
            return
        identity = "|".join(str(row[name]) for name in entry.contract.key)
        known = self._rows.setdefault(entry.feed, set())
        if identity not in known and len(known) >= ROWS_MAX:
            return
        known.add(identity)
        for column in entry.contract.gov["board"]:
            figure = row.get(column) if envelope["after"] is not None else None
            self._gauge.figure(entry.feed, identity, column, None if figure is None else float(figure))


def following(boards_: Boards, stop: threading.Event) -> threading.Thread:
    """Follow in a thread of its own, which ends soon after `stop`."""
    thread = threading.Thread(target=boards_.run, args=(stop,), name="boards", daemon=True)
    thread.start()
    return thread
