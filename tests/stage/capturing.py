"""Capture for tests: contracts without a registry, a capture in a thread, and what a feed says when it is folded."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg

from producers.capture import Capture
from producers.kind import SourceKind
from producers.postgresql.kind import POSTGRES
from producers.postgresql.slot import slot_name
from producers.source import MemoryProgress, SourceProgress
from schemas.agreement.agency import Agency, SourceConfig
from schemas.agreement.directory import Directory, FeedEntry
from schemas.change import Change, Op, Record
from schemas.contract import Contract
from schemas.feed import dead_letter_topic
from schemas.incident import Incident, Kind, MemoryIncidents, key_of
from schemas.log.kafka import Kafka
from schemas.log.writer import Log
from schemas.position import Position
from schemas.wire.codec import Codec
from schemas.wire.envelope import key_schema, value_schema
from tests.stage import feeds
from tests.stage.until import until

DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}
TIMESTAMPTZ = {"type": "long", "logicalType": "timestamp-micros"}
TIMESTAMP = {"type": "long", "logicalType": "local-timestamp-micros"}
DATE = {"type": "int", "logicalType": "date"}
TIME = {"type": "long", "logicalType": "time-micros"}
UUID = {"type": "string", "logicalType": "uuid"}


def contract(feed: str, fields: Mapping[str, Any], key: Sequence[str] = ("id",), **gov: Any) -> Contract:
    """A contract; a field's type that is no key becomes nullable."""
    listed = [
        {"name": name, "type": kind if name in key or isinstance(kind, list) else ["null", kind]}
        for name, kind in fields.items()
    ]
    return Contract.parse({"type": "record", "name": "Row", "gov": {"key": list(key), **gov}, "fields": listed}, feed)


def copyists(parent: int) -> list[int]:
    """The living processes that copy for a capturing process, or did until it died."""
    found: list[int] = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            command = (process / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
            if command[-2:] == [b"producers.postgresql.snapshot.copyist", b"%d" % parent]:
                found.append(int(process.name))
    return found


class Schemas:
    """Registry ids without a registry."""

    def __init__(self) -> None:
        self._schemas: list[Mapping[str, Any]] = []

    def entry(self, agreed: Contract, *, version: int = 1, partitions: int = 4) -> FeedEntry:
        self._schemas += [key_schema(agreed), value_schema(agreed)]
        count = len(self._schemas)
        return FeedEntry(
            contract=agreed, version=version, key_schema_id=count - 2, value_schema_id=count - 1, partitions=partitions
        )

    def of(self, schema_id: int) -> Mapping[str, Any]:
        return self._schemas[schema_id]


@dataclass
class Seen:
    """An observer that remembers."""

    events: Counter[tuple[str, str]] = field(default_factory=Counter)
    rejections: Counter[tuple[str, str]] = field(default_factory=Counter)
    snapshots: dict[str, tuple[int, int]] = field(default_factory=dict)
    connections: dict[str, bool] = field(default_factory=dict)
    wal_bytes: dict[str, int] = field(default_factory=dict)

    def captured(self, *, feed: str, op: str, count: int, size_bytes: int) -> None:
        self.events[feed, op] += count

    def rejected(self, *, feed: str, reason: str, count: int) -> None:
        self.rejections[feed, reason] += count

    def lag(self, *, source: str, seconds: float) -> None:
        pass

    def snapshot(self, *, feed: str, done_rows: int, total_rows: int) -> None:
        self.snapshots[feed] = (done_rows, total_rows)

    def connected(self, *, source: str, is_connected: bool) -> None:
        self.connections[source] = is_connected

    def retained(self, *, source: str, wal_bytes: int) -> None:
        self.wal_bytes[source] = wal_bytes


class Rig:
    """One agency with one PostgreSQL source, captured into the real broker."""

    kinds: Mapping[str, SourceKind] = {"postgres": POSTGRES}
    state: Path | None = None

    def __init__(self, kafka: Kafka, dsn: str, agency: str, **options: Any) -> None:
        self.kafka, self.dsn, self.agency = kafka, dsn, agency
        self.source = f"{agency}.main"
        self.schemas = Schemas()
        self.codec = Codec(self.schemas.of)
        self.seen = Seen()
        self.progress: SourceProgress = MemoryProgress()
        self.incidents = MemoryIncidents()
        config = SourceConfig(name="main", kind="postgres", options=options)
        self.directory = Directory(agencies={agency: Agency(agency=agency, name=agency, sources=(config,))})

    def set_source(self, name: str = "main", *, kind: str = "postgres", **options: Any) -> None:
        """Onboard a source of the agency, or say something else of it."""
        agency = self.directory.agencies[self.agency]
        others = [config for config in agency.sources if config.name != name]
        sources = (*others, SourceConfig(name=name, kind=kind, options=options))
        agencies = {self.agency: replace(agency, sources=sources)}
        self.directory = replace(self.directory, agencies=agencies)

    def resync(self, name: str) -> None:
        """Ask for a feed, or a source, to be copied anew."""
        resyncs = {**self.directory.resyncs, name: f"request {len(self.directory.resyncs)} {time.monotonic_ns()}"}
        self.directory = replace(self.directory, resyncs=resyncs)

    def incident(self, kind: Kind, name: str) -> Incident | None:
        """What stands still, or is not as it should be."""
        return self.incidents.present().get(key_of(kind, name))

    def until_incident(self, kind: Kind, name: str, state: str, within_seconds: float = 60) -> Incident:
        """The incident, once there is one in this state."""

        def found() -> Incident | None:
            incident = self.incident(kind, name)
            return incident if incident is not None and incident.state == state else None

        return until(found, within_seconds, f"{kind} {name} is {state}")

    def until_well(self, kind: Kind, name: str, within_seconds: float = 60) -> None:
        """Nothing stands still any more."""
        until(lambda: self.incident(kind, name) is None, within_seconds, f"{kind} {name} is well")

    def add(self, agreed: Contract, *, partitions: int = 4) -> FeedEntry:
        """Onboard a feed: its topics, then its entry in the directory."""
        feeds.create(self.kafka, agreed.feed, partitions=partitions)
        feeds.create(self.kafka, dead_letter_topic(agreed.feed), partitions=1)
        return self.enter(agreed, partitions=partitions)

    def enter(self, agreed: Contract, *, partitions: int = 4) -> FeedEntry:
        """Enter a feed, whose topics exist, in the directory."""
        entry = self.schemas.entry(agreed, partitions=partitions)
        self.directory = replace(self.directory, feeds={**self.directory.feeds, agreed.feed: entry})
        return entry

    @contextmanager
    def capturing(self) -> Iterator[Capture]:
        log = Log(self.kafka, client_id="test")
        capture = Capture(
            lambda: self.directory,
            lambda *_: self.dsn,
            log,
            self.progress,
            self.seen,
            self.kinds,
            incidents=self.incidents,
            state=self.state,
        )
        stop, failure = threading.Event(), []

        def work() -> None:
            try:
                capture.run(stop)
            except BaseException as error:  # noqa: BLE001 - raised below, in the test's own thread
                failure.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield capture
        finally:
            stop.set()
            thread.join(60)
            log.close()
            assert not thread.is_alive(), "capture does not stop"
        if failure:
            raise failure[0]

    def until_streaming(self) -> None:
        """From here on a change comes through the stream, no longer through the snapshot.

        A slot is held by a process while it is being created, too: a change made then may still be in the snapshot.
        """
        query = "SELECT FROM pg_replication_slots WHERE slot_name = %s AND active AND confirmed_flush_lsn IS NOT NULL"
        unbound = "-c idle_session_timeout=0"  # whatever the role is set to
        with psycopg.connect(self.dsn, autocommit=True, options=unbound) as db:
            until(lambda: db.execute(query, (slot_name(self.source),)).rowcount, 60, "the source streams")

    def changes(self, feed: str) -> list[Change]:
        """Every change in the feed, partition by partition; tombstones left out."""
        found = feeds.read_all(self.kafka, [feed]).values()
        read = (self.codec.change(feed, record_of(message)) for messages in found for message in messages)
        return [change for change in read if change is not None]

    def fold(self, feed: str) -> dict[tuple[Any, ...], Mapping[str, Any]]:
        """The feed's rows by key: what a sink that is guarded by position would hold."""
        rows: dict[tuple[Any, ...], tuple[Position, Mapping[str, Any] | None]] = {}
        for change in self.changes(feed):
            if change.op is Op.TRUNCATE:
                rows = {key: row for key, row in rows.items() if row[0] > change.position}
                continue
            key = tuple(change.key.values())
            if key not in rows or rows[key][0] < change.position:
                rows[key] = (change.position, change.after)
        return {key: after for key, (_, after) in rows.items() if after is not None}

    def until_rows(self, feed: str, count: int, within_seconds: float = 60) -> dict[tuple[Any, ...], Mapping[str, Any]]:
        rows = until(
            lambda: {"rows": r} if len(r := self.fold(feed)) == count else None, within_seconds, f"{count} rows"
        )
        return rows["rows"]


def record_of(message: Any) -> Record:
    return Record(message.offset(), message.key(), message.value(), message.headers(), message.timestamp()[1])
