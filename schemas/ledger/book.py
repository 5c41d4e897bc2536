"""LedgerBook: one side of a hop, with an account for each partition: what this process wrote, or what it read.

A keeper's thread opens accounts and writes down every few seconds what they say, on `mesh.ledger` under
`<hop>/<wrote or read>/<topic>/<partition>`, and that the process did so under `<hop>/<wrote or read>/<process>`. Nobody waits for
it, and nothing stops where it cannot: what was not written down is read from the topics when there is time (account.py).
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Literal
from uuid import uuid4

from schemas.change import Batch, Partition
from schemas.errors import MeshError
from schemas.feed import LEDGER
from schemas.ledger.account import Account
from schemas.ledger.prefix import PrefixSum
from schemas.log.control.store import ControlReader
from schemas.log.kafka import Kafka
from schemas.log.offsets import bounds_of
from schemas.log.range import read_ranges
from schemas.log.writer import Log

TICK_SECONDS = 0.5
SAY_EVERY_SECONDS = 2.0
AGAIN_SECONDS = 5.0
WITHIN_SECONDS = 10.0

REDELIVERY = "redelivery"
"""The hop of whoever appends to `out` topics what was there before (ops/redelivery/again.py), beside the stream workers."""
Side = Literal["wrote", "read"]

_logger = logging.getLogger(__name__)


def key_of(hop: str, side: str, place: Partition) -> str:
    """Under which a statement stands."""
    return f"{hop}/{side}/{place[0]}/{place[1]}"


def heartbeat_of(hop: str, side: str, by: str) -> str:
    """Under which a process says that it has said all until now."""
    return f"{hop}/{side}/{by}"


class _Unstated(Account):
    """For topics that nobody accounts for."""

    def wrote(self, offset: int, digests: Sequence[int]) -> None:
        """Nothing."""

    def failed(self) -> None:
        """Nothing."""


class LedgerBook:
    """`by` is the process' name, `log` a writer of the book's own; `is_stated` says which topics are accounted for.

    Any thread may look an account up; see `Account` for who adds to it.
    """

    def __init__(
        self, hop: str, side: Side, *, by: str, kafka: Kafka, log: Log, is_stated: Callable[[str], bool]
    ) -> None:
        self._hop = hop
        self._name = by
        self._by = f"{by}@{uuid4()}"
        self._has_spoken = False
        self._side: Side = side
        self._kafka = kafka
        self._formers = ControlReader(kafka, LEDGER)
        self._log = log
        self._is_stated = is_stated
        self._accounts: dict[Partition, Account] = {}
        self._lock = threading.Lock()
        self._saying = threading.Lock()
        self._said: dict[Partition, Any] = {}
        self._moved: dict[Partition, tuple[Any, int]] = {}
        """The end of each account, and since when (Unix milliseconds) it is there, also in what another process said."""
        self._shared: set[str] = set()

    def __getitem__(self, place: Partition) -> Account:
        """The account of a partition, from now on if there was none."""
        return self._accounts.get(place) or self._begun(place)

    def _begun(self, place: Partition) -> Account:
        with self._lock:
            if place not in self._accounts:
                is_stated = self._is_stated(place[0])
                account = (Account if is_stated else _Unstated)(place, is_sole=self._hop != REDELIVERY)
                if place[0] in self._shared:
                    account.share()
                self._accounts[place] = account
            return self._accounts[place]

    def read(self, batches: Iterable[Batch]) -> None:
        """These were read, each once and in order; what comes again is passed over."""
        for batch in batches:
            self[batch.topic, batch.partition].read(batch)

    def goes_on(self, place: Partition, offset: int) -> None:
        """We read it from here on, and all below was read before, by whomever; nothing new where we read it already."""
        if place not in self._accounts:
            self[place].goes_on(offset)

    def settled(self, place: Partition, next_offset: int) -> None:
        """Everything below the offset is at the subscriber, or among the dead letters."""
        self[place].settled(next_offset)

    def delivered(self, batches: Iterable[Batch]) -> None:
        """These are at the subscriber."""
        for batch in batches:
            rows = [None for record in batch.records if record.value is not None]
            self[batch.topic, batch.partition].count("delivered", len(rows))

    def dead(self, batch: Batch) -> None:
        """These are among the dead letters."""
        self[batch.topic, batch.partition].count("dead", len(batch.records))

    def expect(self, places: Iterable[Partition]) -> None:
        """We write there from now on: what was left unsaid is adopted, also where nothing comes."""
        for place in places:
            if place not in self._accounts:
                self[place].is_expected = True

    def failed(self, topic: str | None) -> None:
        """A record for the topic may have arrived or not."""
        for account in list(self._accounts.values()):
            if topic in {None, account.place[0]}:
                account.failed()

    def share(self, topic: str) -> None:
        """Others write to the topic for us, see `Account.share`."""
        with self._lock:
            self._shared.add(topic)
            for account in self._accounts.values():
                if account.place[0] == topic:
                    account.share()

    def unshare(self, topic: str, partitions: int) -> None:
        """They have written it all."""
        with self._lock:
            self._shared.discard(topic)
        for number in range(partitions):
            self[topic, number].unshare()

    def forget(self, places: Iterable[Partition] | None = None) -> None:
        """Another process may have these partitions now, or all: the last is said of them, and they begin anew."""
        leaving = list(self._accounts) if places is None else list(places)
        self._tried(partial(self._say, leaving, is_open=False))
        with self._lock:
            for place in leaving:
                self._accounts.pop(place, None)
                self._said.pop(place, None)
                self._moved.pop(place, None)

    def renew(self, places: Iterable[Partition]) -> None:
        """We write to these partitions from now on, and nobody else."""
        ours = list(places)
        with self._lock:
            self._shared.difference_update(topic for topic, _ in ours)
        self.forget(ours)
        self.expect(ours)

    # -- the keeper ----------------------------------------------------------------------------------------------------

    def keep(self, stop: threading.Event) -> None:
        """Open accounts and write down what they say, until `stop`, and once more then."""
        say_at = time.monotonic()
        while not stop.wait(TICK_SECONDS):
            is_well = self._tried(self._open)
            if time.monotonic() >= say_at:
                say_at = time.monotonic() + SAY_EVERY_SECONDS
                is_well = self._tried(self._say) and is_well
            if not is_well and stop.wait(AGAIN_SECONDS):
                return

    def close(self) -> None:
        """Say the last of it."""
        self._tried(self._open)
        self._tried(self._say)

    def _tried(self, act: Callable[[], None]) -> bool:
        try:
            act()
        except MeshError as error:
            _logger.warning("ledger: what %s %s is said later: %s", self._hop, self._side, error)
            return False
        return True

    def _open(self) -> None:
        waiting = {place: account for place, account in list(self._accounts.items()) if account.waits}
        if not waiting:
            return
        formers = self._formers.all()
        bounds = bounds_of(self._kafka, waiting)
        gaps: dict[Partition, tuple[int, int]] = {}
        for place, account in waiting.items():
            said = formers.get(key_of(self._hop, self._side, place))
            if said and place not in self._moved:
                self._moved[place] = said["end"], said["moved"]
            former = PrefixSum.from_json(said) if said else None
            counts, adopts = (said["counts"], not said["is_left"]) if said else (None, True)
            gap = account.begin(former, *bounds[place], counts=counts, adopts=adopts)
            if gap is not None:
                gaps[place] = gap
        for batch in read_ranges(self._kafka, gaps):
            waiting[batch.topic, batch.partition].adopt(batch.records)
        for account in waiting.values():
            account.open()

    def _say(self, places: Iterable[Partition] | None = None, *, is_open: bool = True) -> None:
        with self._saying:
            self._say_of(list(self._accounts) if places is None else places, is_open=is_open)

    def _say_of(self, places: Iterable[Partition], *, is_open: bool) -> None:
        news: dict[Partition, dict[str, Any]] = {}
        for place in places:
            account = self._accounts.get(place)
            statement = account.statement() if account is not None else None
            if statement is not None:
                statement["is_left"] = statement["is_open"] and not is_open
                statement["is_open"] = statement["is_open"] and is_open
                if statement != self._said.get(place):
                    news[place] = statement
        at = round(time.time() * 1000)
        told = {"by": self._by, "at": at}
        for place, said in news.items():
            end, _ = self._moved.get(place, (None, 0))
            if end != said["end"]:
                self._moved[place] = said["end"], at
        records: dict[str, Any] = {
            key_of(self._hop, self._side, place): {**said, **told, "moved": self._moved[place][1]}
            for place, said in news.items()
        }
        records[heartbeat_of(self._hop, self._side, self._by)] = told
        if not self._has_spoken:
            former = heartbeat_of(self._hop, self._side, f"{self._name}@")
            records |= {key: None for key in self._formers.all() if key.startswith(former)}
        self._log.write(
            [
                (LEDGER, key.encode(), json.dumps(record).encode() if record else None, -1, None)
                for key, record in records.items()
            ],
            WITHIN_SECONDS,
        )
        self._has_spoken = True
        self._said.update(news)
