"""Recording: the example city's feeds as capture would write them, in memory: its opening day, and what happens on the days after.

No database is needed: the city's model says what each department writes, and rows take the forms of their contracts. The same seed
records the same changes, but for their times.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

from ops.city.city import GUANGZHOU, City
from ops.city.events import EVENTS
from ops.city.opening_day import settle
from ops.city.scene import Scene
from ops.lint.folder import load
from schemas.agreement.directory import FeedEntry
from schemas.contract import Contract, Field
from schemas.position import Position
from schemas.wire.envelope import key_schema, value_schema
from streams.engine.derived import DerivedFeed
from streams.engine.effects import RowChange
from streams.engine.inbox.bundle import partition_of
from streams.engine.inbox.intake import feeds_of
from streams.engine.inbox.message import pack
from streams.flows import FLOWS

PARTITIONS = 3
_SEED = 1
_AT_ONCE = 50
_DAY_ZERO, _MICROS_ZERO = date(1970, 1, 1), datetime(1970, 1, 1, tzinfo=UTC)

Record = tuple[str, int, int, bytes, bytes | None, int]
"""Feed, partition, offset, key, value, milliseconds."""


def write_recording(file: Path, living: int, scale: float) -> int:
    """Record the opening day of a city of this scale and about so many changes behind it; how many records there are.

    The file is MessagePack: `feeds` and `agencies` as in control records, `schemas` by id, `records`, and how many are the `past`.
    """
    written = _Written()
    city = City(_SEED, scale)
    settle(city)
    for feed in city.contracts:
        for row in city.rolls[feed]:
            written.say(feed, None, row)
    past = len(written.records)
    scene, rng = _Recorded(city, written), Random(_SEED)  # noqa: S311 -- of events, not of secrets
    kinds, weights = list(EVENTS), list(EVENTS.values())
    while len(written.records) - past < living:
        for event in rng.choices(kinds, weights, k=_AT_ONCE):
            event(scene)
            list(scene.transactions())
    file.write_bytes(pack({**written.directory, "records": written.records, "past": past}))
    return len(written.records)


class _Written:
    """What capture would have written."""

    def __init__(self) -> None:
        agencies = load(GUANGZHOU).agencies
        contracts = sorted((each for agency in agencies for each in agency.contracts), key=lambda each: each.feed)
        self.contracts: Mapping[str, Contract] = {contract.feed: contract for contract in contracts}
        self.records: list[Record] = []
        ids = itertools.count(1)
        entries = [
            FeedEntry(
                contract=each, version=1, key_schema_id=next(ids), value_schema_id=next(ids), partitions=PARTITIONS
            )
            for each in contracts
        ]
        schemas: dict[int, Any] = {}
        for entry in entries:
            schemas[entry.key_schema_id] = key_schema(entry.contract)
            schemas[entry.value_schema_id] = value_schema(entry.contract)
        self.directory = {
            "feeds": [entry.to_json() for entry in entries],
            "agencies": [agency.agency.to_json() for agency in agencies],
            "schemas": list(schemas.items()),
        }
        read = feeds_of(FLOWS)
        self._feeds = {entry.feed: DerivedFeed(entry) for entry in entries if entry.feed in read}
        self._offsets: dict[tuple[str, int], int] = {}
        self._begun_ms = int(time.time() * 1000)
        self._number = 0

    def say(self, feed: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> None:
        """One change of a table."""
        if feed not in self._feeds:
            return
        self._number += 1
        at_ms = self._begun_ms + self._number // 2
        fields = self.contracts[feed].by_name
        former, present = (
            None if row is None else {name: _raw(fields[name], value) for name, value in row.items()}
            for row in (before, after)
        )
        position = Position(1, self._number, 1)
        change = RowChange("bench", feed, str(self._number), former, present, position, at_ms, None)
        for _, key, value, _, _ in self._feeds[feed].records(change):
            assert key is not None, "every record of a feed has a key"
            partition = partition_of(key, PARTITIONS)
            offset = self._offsets.get((feed, partition), 0)
            self._offsets[feed, partition] = offset + 1
            self.records.append((feed, partition, offset, key, value, at_ms))


class _Recorded(Scene):
    """A scene of which every change is written."""

    def __init__(self, city: City, written: _Written) -> None:
        super().__init__(city)
        self._written = written

    def insert(self, feed: str, columns: Mapping[str, Any]) -> dict[str, Any]:
        row = super().insert(feed, columns)
        self._written.say(feed, None, row)
        return row

    def update(self, feed: str, row: dict[str, Any], **changes: Any) -> None:
        before = dict(row)
        super().update(feed, row, **changes)
        if any(before[name] != row[name] for name in self._written.contracts[feed].key):
            self._written.say(feed, before, None)
            self._written.say(feed, None, row)
        else:
            self._written.say(feed, before, row)

    def delete(self, feed: str, row: dict[str, Any]) -> None:
        super().delete(feed, row)
        self._written.say(feed, row, None)


def _raw(field: Field, value: Any) -> Any:
    """A value of the model as it stands in Avro."""
    branch = field.branches[0]
    match value:
        case datetime():
            elapsed = (value if value.tzinfo else value.replace(tzinfo=UTC)) - _MICROS_ZERO
            return (elapsed.days * 86_400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds
        case date():
            return (value - _DAY_ZERO).days
        case None:
            return None
        case _ if isinstance(branch, dict) and branch.get("logicalType") == "decimal":
            number = int(Decimal(str(value)).scaleb(branch.get("scale", 0)))
            return number.to_bytes((number.bit_length() + 8) // 8, "big", signed=True)
        case Decimal():
            return float(value)
        case _:
            return value
