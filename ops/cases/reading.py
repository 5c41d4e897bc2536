"""Reading: the feeds that somebody looks at, read on from where they were, into the index; what each record says is in entries.py."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from ops.cases.board import Board, load_boards
from ops.cases.entries import board_entry, decided_content, item_entry, item_of, waits, with_board
from ops.cases.index import CaseIndex, Entry
from ops.queue.items import Item, told_of
from ops.settings import Connections, Settings
from ops.trust.subject_key import SubjectKey
from schemas.agreement.directory import Directory
from schemas.change import Batch, Partition, Record
from schemas.decision import Decision
from schemas.errors import Rejected
from schemas.feed import DECISIONS
from schemas.log.offsets import bounds_of
from schemas.log.range import read_ranges
from schemas.registry.client import RegistryClient
from schemas.wire.codec import Codec
from streams.flows import FLOWS
from streams.operators.flow import Flow


@dataclass(slots=True)
class Progress:
    """How far the reading of a feed is, by offsets; `unread`: records that could not be."""

    next: dict[Partition, int] = field(default_factory=dict[Partition, int])
    ends: dict[Partition, int] = field(default_factory=dict[Partition, int])
    unread: int = 0
    is_whole: bool = False
    first: int = 0
    last: int = 0

    @property
    def percent(self) -> int:
        """Of the first reading."""
        done = sum(self.next.values()) - self.first
        return 100 if self.is_whole else max(0, min(99, 100 * done // max(1, self.last - self.first)))


Take = Callable[[Codec, Batch], None]


class CaseReader:
    """Reads on when it is asked to, in whatever thread asks; one thread at a time for each feed."""

    def __init__(self, settings: Settings, directory: Callable[[], Directory]) -> None:
        self._settings = settings
        self._directory = directory
        self._registry: RegistryClient | None = None
        self._key: SubjectKey | None = None
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._progress: dict[str, Progress] = {}
        self.index = CaseIndex()

    @property
    def key(self) -> SubjectKey:
        """By which cases and what they are looked for are named. Raises Misconfigured."""
        with self._lock:
            if self._key is None:
                self._key = SubjectKey(Connections(self._settings.directory))
            return self._key

    def progress(self, feed: str) -> Progress:
        """How far it is."""
        return self._progress.get(feed, Progress())

    def read_on(self, feed: str) -> None:
        """Read a queue or a board to where it ends now. Raises Transient; what was read stays."""
        directory = self._directory()
        if feed not in directory.feeds:
            return
        places = [(feed, number) for number in range(directory.feeds[feed].partitions)]
        queue = next((flow for flow in FLOWS if flow.queue == feed), None)
        if queue is not None:
            self._read(DECISIONS, [(DECISIONS, 0)], self._take_decisions)
            self._read(feed, places, partial(self._take_items, queue))
            return
        board = next((each for boards in load_boards().values() for each in boards if each.feed == feed), None)
        if board is not None and with_board(board, directory) is not None:
            self._read(feed, places, partial(self._take_cases, board, directory))

    def _read(self, topic: str, places: list[Partition], take: Take) -> None:
        with self._lock:
            lock = self._locks.setdefault(topic, threading.Lock())
        with lock:
            bounds = bounds_of(self._settings.kafka, places)
            known = self._progress.get(topic)
            if known is None or any(_is_other(known, place, *bounds[place]) for place in places):
                self.index.forget(topic)  # it was made anew, or lost records that were not read yet
                known = Progress(next={place: low for place, (low, _) in bounds.items()})
                known.first = sum(known.next.values())
                known.last = sum(high for _, high in bounds.values())
                self._progress[topic] = known
            ranges = {
                place: (known.next[place], high)
                for place, (_, high) in bounds.items()
                if known.ends.get(place) != high and known.next[place] < high
            }
            codec = Codec(self._schemas().schema)
            for batch in read_ranges(self._settings.kafka, ranges):
                take(codec, batch)
                known.next[batch.topic, batch.partition] = batch.next_offset
            known.ends = {place: high for place, (_, high) in bounds.items()}
            known.is_whole = True

    def _schemas(self) -> RegistryClient:
        with self._lock:
            self._registry = self._registry or RegistryClient(self._settings.registry)
            return self._registry

    def _take_decisions(self, _codec: Codec, batch: Batch) -> None:
        flows = {flow.name: flow for flow in FLOWS}
        for record in batch.records:
            decision = Decision.from_json(json.loads(record.value)) if record.value else None
            if decision is None or (flow := flows.get(decision.flow)) is None:
                continue
            name, told = self.key.hash(decision.flow, decision.item), decided_content(decision)
            self.index.decide(flow.queue, name, told)
            if (entry := self.index.one(flow.queue, name)) is not None:
                state = item_of(flow, entry, told).state
                self.index.restate(flow.queue, name, state, waits=waits(state))

    def _take_items(self, flow: Flow, codec: Codec, batch: Batch) -> None:
        def entry(name: str, record: Record, row: Mapping[str, object]) -> Entry:
            subject, basis = told_of(record.headers)
            told = self.index.decided(flow.queue, name)
            made = None if told is None else Decision(flow=flow.name, subject="", item="", **told)
            return item_entry(
                Item(name=name, flow=flow, subject=subject, basis=basis, row=row, decision=made), self.key
            )

        self._take(codec, batch, lambda key: self.key.hash(flow.name, str(key["conflict_id"])), entry)

    def _take_cases(self, board: Board, directory: Directory, codec: Codec, batch: Batch) -> None:
        contract = directory.feeds[board.feed].contract

        def entry(name: str, _record: Record, row: Mapping[str, object]) -> Entry:
            return board_entry(board, contract, self.key, name, row)

        self._take(codec, batch, lambda key: self.key.hash(board.feed, *map(str, key.values())), entry)

    def _take(
        self,
        codec: Codec,
        batch: Batch,
        name_of: Callable[[Mapping[str, object]], str],
        entry_of: Callable[[str, Record, Mapping[str, object]], Entry],
    ) -> None:
        """The newest of each key within the batch; what cannot be read is counted, and told on the page."""
        newest: dict[bytes, Record] = {record.key: record for record in batch.records if record.key}
        found: list[Entry] = []
        gone: list[str] = []
        for key, record in newest.items():
            try:
                name = name_of(codec.decode(key))
                row = codec.decode(record.value)["after"] if record.value is not None else None
                if row is None:
                    gone.append(name)
                else:
                    found.append(entry_of(name, record, row))
            except (Rejected, KeyError, TypeError):
                self._progress[batch.topic].unread += 1
        self.index.put(batch.topic, found, gone)

    def close(self) -> None:
        """Let go of all of it."""
        self.index.close()
        if self._registry is not None:
            self._registry.close()


def _is_other(known: Progress, place: Partition, low: int, high: int) -> bool:
    """Whether a partition is not the one that was read, or lost what was not read yet."""
    return place not in known.next or high < known.ends.get(place, 0) or low > known.next[place]
