"""Search: every record on `out` topics that is about somebody, found by the keys that feeds have for them and by their identifier.

Feeds are read first, for the rows that name the identifier in an identifying column; then the `out` topics, for records of those
keys and for records that name it themselves, in clear or as the subscriber's HASH mask made it. Records whose bytes hold none of
what is looked for are not decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ops.disclosure.asked import Asked, Key, forms, identifying, key_of
from schemas.agreement.directory import Directory
from schemas.change import Change, Partition, Record
from schemas.contract import Contract
from schemas.errors import Rejected
from schemas.feed import first_edition
from schemas.log.kafka import Kafka
from schemas.log.range import read_ranges
from schemas.wire.codec import Codec
from schemas.wire.schema import SchemaOf

HashKeyOf = Callable[[str], bytes | None]
"""The key of a subscriber's HASH masks; None where it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One record that stands on an `out` topic and is about whom was asked for. `columns` are those that it has a value of."""

    place: Partition
    offset: int
    at_ms: int
    feed: str
    op: str
    columns: tuple[str, ...]
    position: str
    headers: Mapping[str, str]


class Search:
    """One search. `bounds_of` says where every partition of feeds and `out` topics begins and ends."""

    def __init__(
        self,
        kafka: Kafka,
        directory: Directory,
        bounds_of: Mapping[Partition, tuple[int, int]],
        schema_of: SchemaOf,
        hash_key_of: HashKeyOf,
    ) -> None:
        self._kafka = kafka
        self._directory = directory
        self._bounds = bounds_of
        self._schema_of = schema_of
        self._codec = Codec(schema_of)
        self._hash_key_of = hash_key_of
        self._feeds: dict[int, str] = {}

    def keys(self, asked: Asked) -> dict[str, list[Key]]:
        """The keys that feeds have for whom was asked for, by feed."""
        if not asked.identifier:
            return {asked.feed: [asked.key]}
        contracts = {feed: entry.contract for feed, entry in self._directory.feeds.items()}
        columns = {feed: identifying(contract) for feed, contract in contracts.items()}
        needle = asked.identifier.encode()
        found: dict[str, dict[tuple[tuple[str, str], ...], Key]] = {}
        for place, record in self._records(feed for feed, names in columns.items() if names):
            if record.value is None or needle not in record.value:
                continue
            feed = place[0]
            change = self._change(feed, record)
            if change is not None and change.key and _names(change, columns[feed], frozenset({asked.identifier})):
                key = key_of(contracts[feed], change.key)
                found.setdefault(feed, {})[tuple(sorted(key.items()))] = key
        return {feed: list(keys.values()) for feed, keys in found.items()}

    def sent(self, asked: Asked, keys: Mapping[str, list[Key]]) -> Iterator[Sent]:
        """The records on `out` topics about them, in the order of each partition."""
        topics = [topic for topic, _ in self._bounds if topic.startswith("out.")]
        wanted: dict[str, _Wanted] = {}
        for place, record in self._records(dict.fromkeys(topics)):
            if record.value is None:
                continue
            subscriber = first_edition(place[0]).split(".")[1]
            looked_for = wanted.get(subscriber)
            if looked_for is None:
                looked_for = wanted[subscriber] = _Wanted(asked, keys, self._hash_key_of(subscriber))
            if not looked_for.may_be_in(record):
                continue
            feed = self._feed_of(record.value)
            change = self._change(feed, record)
            if change is not None and looked_for.is_met(change, self._contract(feed)):
                yield _sent(place, record, change)

    def _contract(self, feed: str) -> Contract | None:
        entry = self._directory.feeds.get(feed)
        return entry.contract if entry else None

    def _feed_of(self, value: bytes) -> str:
        """The feed of a record on an `out` topic, also where feed and grant are there no more: its schema says so."""
        schema_id = int.from_bytes(value[1:5], "big")
        feed = self._feeds.get(schema_id)
        if feed is None:
            try:
                feed = str(self._schema_of(schema_id).get("namespace", ""))
            except Rejected:
                feed = ""  # of a record that is none: see `_change`
            self._feeds[schema_id] = feed
        return feed

    def _change(self, feed: str, record: Record) -> Change | None:
        try:
            return self._codec.change(feed, record)
        except Rejected:
            return None  # nobody could read it: neither can the subscriber

    def _records(self, topics: Iterable[str]) -> Iterator[tuple[Partition, Record]]:
        named = set(topics)
        bounds_of = {place: both for place, both in self._bounds.items() if place[0] in named}
        for batch in read_ranges(self._kafka, bounds_of):
            for record in batch.records:
                yield (batch.topic, batch.partition), record


class _Wanted:
    """What is looked for on the topics of one subscriber, some of which has the form that its HASH mask gives it."""

    def __init__(self, asked: Asked, keys: Mapping[str, list[Key]], hash_key: bytes | None) -> None:
        self._values = forms(asked.identifier, hash_key) if asked.identifier else frozenset[str]()
        self._keys = {
            feed: [{name: forms(value, hash_key) for name, value in key.items()} for key in each]
            for feed, each in keys.items()
        }
        self._needles = [value.encode() for value in self._values]
        named = [key for each in keys.values() for key in each]
        # Numbers and dates are not in a key as they are read: where there is nothing else in one, every key is decoded.
        self._is_text = all(any(not value.lstrip("-").isdecimal() for value in key.values()) for key in named)
        every = [values for each in self._keys.values() for key in each for values in key.values()]
        self._key_needles = [value.encode() for values in every for value in values]

    def may_be_in(self, record: Record) -> bool:
        """Whether a record is worth decoding."""
        value, key = record.value or b"", record.key or b""
        if any(needle in value for needle in self._needles):
            return True
        return not self._is_text or any(needle in key for needle in self._key_needles)

    def is_met(self, change: Change, contract: Contract | None) -> bool:
        """Whether a change is about whom is looked for."""
        if self._values and _names(change, None, self._values):
            return True
        own = key_of(contract, change.key) if contract else {name: str(value) for name, value in change.key.items()}
        return any(
            all(own.get(name) in values for name, values in key.items()) for key in self._keys.get(change.feed, ())
        )


def _names(change: Change, columns: Iterable[str] | None, values: frozenset[str]) -> bool:
    for row in (change.key, change.before, change.after):
        if row and any(
            row.get(name) in values for name in (row if columns is None else columns) if isinstance(row.get(name), str)
        ):
            return True
    return False


def _sent(place: Partition, record: Record, change: Change) -> Sent:
    row: Mapping[str, Any] = change.after or change.before or change.key
    return Sent(
        place=place,
        offset=record.offset,
        at_ms=record.timestamp_ms,
        feed=change.feed,
        op=change.op.value,
        columns=tuple(name for name, value in row.items() if value is not None),
        position=str(change.position),
        headers=change.headers,
    )
