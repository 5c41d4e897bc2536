"""The engine of the rounds: trouble against a random workload on two databases; then all is quiet, and everything is compared.

A round's draws come from its seed and number alone. What is compared, once nothing moves any more: each feed, folded by key, with its
table, value for value as the contract writes it; each subscriber's table with the feed; the ledger; and what stands still.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from random import Random
from typing import Any

from confluent_kafka import KafkaException

from ops.ledger.view import LedgerReader
from ops.watch.incidents import read as read_incidents
from schemas.change import Change, Op
from schemas.errors import MeshError
from schemas.log.control.follower import read_directory
from schemas.log.offsets import bounds_of, partitions_of
from schemas.log.range import read_ranges
from schemas.registry.client import RegistryClient
from schemas.wire.codec import Codec
from tests.chaos.rounds.checker import Past, Told, compare
from tests.chaos.rounds.columns import COMPARED, KEY
from tests.chaos.rounds.town import Town
from tests.chaos.rounds.trouble import MENDED, TROUBLES
from tests.chaos.rounds.workload import ERRORS, TABLES
from tests.stage.until import until, until_none

TRANSACTIONS = (60, 160)
SECOND_TROUBLE = 0.35
QUIET_WITHIN_SECONDS = 240.0
AGAIN_SECONDS = 10.0
SHOWN = 5
_COMMAND = re.compile(r"`mesh ([^`<]+)`")
_PASSING = (MeshError, KafkaException, OSError, *ERRORS)


@dataclass(frozen=True)
class Outcome:
    """One round that ended well."""

    number: int
    troubles: tuple[str, ...]
    committed: int
    rows: int
    quiet_seconds: float
    told: tuple[str, ...]
    """The mesh's own commands that were run because it said so."""

    def __str__(self) -> str:
        told = f"; as told: {', '.join(self.told)}" if self.told else ""
        return (
            f"round {self.number}: {' + '.join(self.troubles)}; {self.committed} transactions, {self.rows} rows, "
            f"equal and quiet after {self.quiet_seconds:.1f} s{told}"
        )


class Engine:
    """Runs rounds on one town."""

    def __init__(self, town: Town, seed: int) -> None:
        self._town = town
        self._seed = seed
        self._feeds = {feed: _Feed(town, feed) for feed in town.feeds}
        self._ledger = LedgerReader(town.settings)
        self._obeyed: dict[tuple[str, str], float] = {}

    def past(self, feed: str) -> Past:
        """What a feed said, as far as it was read."""
        return self._feeds[feed].past

    def become_quiet(self) -> None:
        """Wait until all is equal and quiet by itself."""
        until_none(lambda: self._left(None), QUIET_WITHIN_SECONDS, "all is equal and quiet")

    def run(self, number: int) -> Outcome:
        """One round. Raises AssertionError with how to run it again."""
        chance = Random(f"{self._seed}/{number}")
        troubles = drawn(self._seed, number)
        size = chance.randint(*TRANSACTIONS)
        told: list[str] = []
        try:
            with ExitStack() as under_way:
                begun: list[tuple[Iterator[None], int]] = []
                for name in troubles:
                    steps = TROUBLES[name](self._town, Random(chance.random()), size)
                    begins = chance.randrange(size // 2)
                    if name in MENDED:
                        next(steps)  # what is altered, and between which transactions, is said before the first of them
                    else:
                        begun.append((steps, begins))
                for kind, department in self._town.departments.items():
                    own = Random(f"{self._seed}/{number}/{kind}")
                    under_way.enter_context(department.workload.running(own, size))
                self._trouble(sorted(begun, key=lambda each: each[1]))
            started = time.monotonic()
            is_mended = not MENDED.isdisjoint(troubles)
            until_none(lambda: self._left(told if is_mended else None), QUIET_WITHIN_SECONDS, "all is equal and quiet")
        except Exception as error:
            raise AssertionError(
                f"round {number} ({' + '.join(troubles)}) of seed {self._seed}: {error}\n"
                f"again: make chaos ROUNDS={number} SEED={self._seed}; "
                f"alone: make chaos ROUNDS=1 FROM={number} SEED={self._seed}\n"
                f"logs: {self._town.mesh.directory / 'log'}"
            ) from error
        return Outcome(
            number=number,
            troubles=tuple(troubles),
            committed=sum(each.workload.committed for each in self._town.departments.values()),
            rows=sum(len(each.past.rows()) for each in self._feeds.values()),
            quiet_seconds=time.monotonic() - started,
            told=tuple(told),
        )

    def _trouble(self, begun: list[tuple[Iterator[None], int]]) -> None:
        loads = [each.workload for each in self._town.departments.values()]
        for steps, begins in begun:
            until(lambda begins=begins: max(load.done for load in loads) >= begins, 120, "the workload comes so far")
            next(steps)
        for steps, _ in reversed(begun):
            next(steps, None)

    # ── what is left ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _left(self, told: list[str] | None) -> list[str]:
        """What is not yet as it should be, a few lines of it. With `told`, the mesh's own commands are run and noted there."""
        try:
            if told is not None:
                self._obey(told)
            found = self._different() or self._standing() or self._unbalanced()
        except _PASSING as error:
            return [f"{type(error).__name__}: {error}"]
        return found[:SHOWN]

    def _different(self) -> list[str]:
        found: list[str] = []
        for department in self._town.departments.values():
            for table in TABLES:
                feed = self._feeds[department.feed(table)]
                feed.read()
                rows = feed.past.rows()
                wrong = [*feed.past.faults, *compare(department.rows(table), list(rows.items()), feed.past)]
                found += [f"feed {feed.name} against its table: {each}" for each in wrong]
                if wrong:
                    continue
                for subscriber in self._town.subscribers.values():
                    wrong = compare(rows, subscriber.rows(feed.name), feed.past)
                    found += [f"{subscriber.code} against feed {feed.name}: {each}" for each in wrong]
        if found:
            found.insert(0, f"{len(found)} differences")
        return found

    def _standing(self) -> list[str]:
        standing = [each for each in read_incidents(self._town.settings.kafka).values() if each.state != "notice"]
        return [f"{each.kind} {each.name} {each.state}: {each.reason} fix: {each.fix}" for each in standing]

    def _obey(self, told: list[str]) -> None:
        """Run what incidents of our own say is to be run, to the letter; again after a while, should they still say so."""
        for incident in read_incidents(self._town.settings.kafka).values():
            found = _COMMAND.search(incident.fix)
            if found is None or not incident.is_standstill:
                continue
            asked = incident.name, found[1]
            if time.monotonic() - self._obeyed.get(asked, -AGAIN_SECONDS) >= AGAIN_SECONDS:
                self._obeyed[asked] = time.monotonic()
                ran = self._town.mesh.run(*shlex.split(found[1]))
                told.append(f"mesh {found[1]}" + (f" ({ran.status}: {ran.err.strip()})" if ran.status else ""))

    def _unbalanced(self) -> list[str]:
        balance = self._ledger.balance(read_directory(self._town.settings.kafka))
        lines = [line for line in balance.lines() if line.standing != "balanced"]
        return [f"ledger of {line.name}: {line.standing} {line.differences}" for line in lines]


def drawn(seed: int, number: int) -> list[str]:
    """A round's trouble, and often a second one beside it. Each kind comes once before any comes again."""
    deck: list[str] = []
    found: list[str] = []
    for each in range(1, number + 1):
        chance = Random(f"{seed}/{each}/troubles")
        found = []
        for _ in range(1 + (chance.random() < SECOND_TROUBLE)):
            if not deck:
                deck = chance.sample(list(TROUBLES), len(TROUBLES))
            found.append(deck.pop())
    return list(dict.fromkeys(found))


class _Feed:
    """A feed as it is read so far, each record once."""

    def __init__(self, town: Town, name: str) -> None:
        self.name = name
        self.past = Past()
        self._kafka = town.settings.kafka
        self._registry = town.settings.registry
        self._next: dict[int, int] = {}
        self._schemas: dict[int, Any] = {}
        self._codec = Codec(self._schema)

    def read(self) -> None:
        """Read on, to where the feed ends now."""
        places = [(self.name, number) for number in range(partitions_of(self._kafka, self.name))]
        ranges = {
            place: (max(start, self._next.get(place[1], start)), end)
            for place, (start, end) in bounds_of(self._kafka, places).items()
        }
        for batch in read_ranges(self._kafka, ranges):
            changes = [self._codec.change(self.name, record) for record in batch.records]
            self.past.take(told(change) for change in changes if change is not None)
            self._next[batch.partition] = batch.next_offset

    def _schema(self, schema_id: int) -> Any:
        if schema_id not in self._schemas:
            with closing(RegistryClient(self._registry)) as registry:
                self._schemas[schema_id] = registry.schema(schema_id)
        return self._schemas[schema_id]


def told(change: Change) -> Told:
    """A change in the checker's own words. What the source did not send is not there."""
    names = [column.name for column in COMPARED]
    after = (
        None if change.after is None else {name: change.after[name] for name in names if name not in change.unchanged}
    )
    key = tuple(change.key[name] for name in KEY) if change.key else ()
    return Told(key, str(change.position), after, is_copy=change.op is Op.READ)
