"""A feed, its out topics and the control topic in memory, for tests of the relay."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from schemas.agreement.directory import Directory, FeedEntry, GrantEntry
from schemas.agreement.grant import Grant
from schemas.change import Batch, Record
from schemas.contract import Contract
from schemas.errors import Rejected, Transient
from schemas.wire.codec import Codec
from schemas.wire.envelope import key_schema, out_key_schema, out_value_schema, value_schema
from streams.egress.relay import Relay

NOW = datetime(2016, 10, 31, tzinfo=UTC)


class MemoryOutlet:
    """Takes records into `topics` when flushed; `fails` makes the next flush raise Transient."""

    def __init__(self, mesh: MemoryMesh) -> None:
        self._mesh = mesh
        self._waiting: list[tuple[str, bytes | None, bytes | None, int, Any]] = []
        self._is_dead = False

    def append(self, topic: str, key: bytes | None, value: bytes | None, *, partition: int, headers: Any) -> None:
        assert not self._is_dead
        if value is not None and len(value) > self._mesh.record_bytes_max and not topic.startswith("dlq."):
            raise Rejected("too_large")
        self._waiting.append((topic, key, value, partition, headers))

    def flush(self, within_seconds: float) -> None:
        if self._mesh.flushes_to_fail:
            self._mesh.flushes_to_fail -= 1
            self._is_dead = True
            raise Transient("the broker is away")
        for topic, *record in self._waiting:
            self._mesh.topics[topic].append(tuple(record))
        self._waiting.clear()

    def settle(self, within_seconds: float) -> bool:
        return True


class MemoryMesh:
    """One feed with one or more partitions; `relay()` starts a worker, as often as wanted."""

    def __init__(self, contract: Contract, *, is_keyed_only: bool = False) -> None:
        self.contract = contract
        self.schemas: dict[int, Mapping[str, Any]] = {1: key_schema(contract), 2: value_schema(contract)}
        self.codec = Codec(self.schemas.__getitem__)
        self.feed = FeedEntry(
            contract=contract, version=1, key_schema_id=1, value_schema_id=2, partitions=2, is_keyed_only=is_keyed_only
        )
        self.directory = Directory(feeds={contract.feed: self.feed})
        self.log: dict[int, list[Record]] = defaultdict(list)
        self.topics: dict[str, list[Any]] = defaultdict(list)
        self.progress: dict[str, dict[str, Any]] = {}
        self.flushes_to_fail = 0
        self.record_bytes_max = 1 << 20
        self.now = NOW
        self.told: list[tuple[Any, ...]] = []
        self.read_out_of: list[tuple[str, int]] = []
        self.replays: list[tuple[int, int, int]] = []

    # --- what the relay is given ---

    def load(self) -> Mapping[str, Mapping[str, Any]]:
        return {key: dict(record) for key, record in self.progress.items()}

    def save(self, key: str, record: Mapping[str, Any]) -> None:
        self.progress[key] = dict(record)

    def processed(self, feed: str, count: int, size_bytes: int) -> None:
        self.told.append(("processed", count))

    def rejected(self, feed: str, reason: str, count: int) -> None:
        self.told.append(("rejected", reason, count))

    def routed(self, grant_id: str, delivered: int, suppressed: int, size_bytes: int) -> None:
        self.told.append(("routed", grant_id, delivered, suppressed))

    def backfilled(self, grant_id: str, count: int) -> None:
        self.told.append(("backfilled", grant_id, count))

    def replay(self, topic: str, partition: int, start: int, end: int) -> Iterator[Batch]:
        self.replays.append((partition, start, end))
        records = [record for record in self.log[partition] if start <= record.offset < end]
        for at in range(0, len(records), 3):
            yield Batch(topic=topic, partition=partition, records=records[at : at + 3])

    def read_out(self, topic: str, partition: int) -> Iterator[Batch]:
        """What stands in a partition of an out topic."""
        self.read_out_of.append((topic, partition))
        found = [record for record in self.topics[topic] if record[2] == partition]
        records = [Record(at, key, value, None, 0) for at, (key, value, _, _) in enumerate(found)]
        if records:
            yield Batch(topic=topic, partition=partition, records=records)

    def relay(self, **options: Any) -> Relay:
        return Relay(
            directory=lambda: self.directory,
            schema_of=self._schema_of,
            open_outlet=lambda: MemoryOutlet(self),
            observer=self,
            replay=lambda *place: self.replay(*place),  # noqa: PLW0108  # a test may put another in its place
            progress=self,
            read_out=self.read_out,
            hash_key=lambda subscriber: f"secret of {subscriber}".encode(),
            now=lambda: self.now,
            **options,
        )

    def _schema_of(self, schema_id: int) -> Mapping[str, Any]:
        if schema_id not in self.schemas:
            raise Rejected("unknown_schema")
        return self.schemas[schema_id]

    # --- what a test does ---

    def grant(self, grant: Grant) -> None:
        """Put a grant into the directory, or another version of it."""
        at = 100 + len(self.schemas)
        self.schemas[at] = out_key_schema(self.contract, grant)
        self.schemas[at + 1000] = out_value_schema(self.contract, grant)
        entry = GrantEntry(grant=grant, key_schema_id=at, value_schema_id=at + 1000, version=1)
        self.directory = Directory(feeds=self.directory.feeds, grants={**self.directory.grants, grant.grant_id: entry})

    def put(self, envelope: Mapping[str, Any] | bytes | None, *, partition: int = 0) -> Batch:
        """Append one change (or raw bytes, or a tombstone) to the feed; the batch that a worker would get of it."""
        key = None
        if isinstance(envelope, Mapping):
            row = envelope["after"] or envelope["before"]
            key = self.codec.encode(1, {name: row[name] for name in self.contract.key}) if row else None
            envelope = self.codec.encode(2, envelope)
        record = Record(len(self.log[partition]), key, envelope, None, 0)
        self.log[partition].append(record)
        return Batch(topic=self.contract.feed, partition=partition, records=[record])

    def whole(self, partition: int = 0, start: int = 0) -> Batch:
        """Everything of a partition as one batch."""
        return Batch(topic=self.contract.feed, partition=partition, records=self.log[partition][start:])

    def out(self, grant_id: str) -> Sequence[tuple[Any, Any, str]]:
        """What a grant got: (op, row after or before) with its reason; None for a tombstone."""
        seen: list[tuple[Any, Any, str]] = []
        for _, value, _, headers in self.topics[f"out.{grant_id}"]:
            if value is None:
                seen.append((None, None, ""))
                continue
            envelope = self.codec.decode(bytes(value))
            reason = dict(headers).get("reason", b"").decode()
            seen.append((envelope["op"], envelope["after"] or envelope["before"], reason))
        return seen
